"""Connections of strangers are bounded: in number, in silence, and in the size of their headers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from turnout.web import listener

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
PATIENCE = 30
"""Seconds within which a connection that must be closed has been closed, on any machine."""


async def _answer(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("well")


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """Listen as `turnout serve` does, with less patience and fewer connections."""
    monkeypatch.setattr(listener, "REQUEST_SECONDS", 0.2)
    monkeypatch.setattr(listener, "MOST_CONNECTIONS", 4)
    service = Starlette(routes=[Route("/", _answer)])
    server = uvicorn.Server(listener.configuration(service, host="127.0.0.1", port=0))
    with contextlib.ExitStack() as signals:
        monkeypatch.setattr(server, "capture_signals", signals.pop_all)
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
        server.should_exit = True
        await serving


async def _status(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(4)
    return head.split(b" ")[1]


@pytest.mark.parametrize(
    "start",
    [b"", b"GET / HTTP/1.1\r\nhost:", GET + b"GET /again HTTP/1.1\r\n"],
    ids=["silence", "half a request", "half a second request"],
)
async def test_a_request_that_does_not_come_is_not_waited_for(port: int, start: bytes) -> None:
    """Neither the first, nor one after an answered one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(start)
    await writer.drain()
    async with asyncio.timeout(PATIENCE):
        await reader.read()
    writer.close()


async def test_headers_without_an_end_are_cut(port: int) -> None:
    """They are not collected until the memory is used up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\n")
    async with asyncio.timeout(PATIENCE):
        with contextlib.suppress(ConnectionError):
            for number in range(100):
                writer.write(b"x-%d: %s\r\n" % (number, b"a" * 4_096))
                await writer.drain()
            assert await reader.read() == b""
    writer.close()


async def test_a_connection_is_used_again(port: int) -> None:
    """What comes in time is answered, on one connection as on many."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(3):
        writer.write(GET)
        assert await _status(reader) == b"200"
    writer.close()


async def test_one_connection_too_many_is_refused(port: int) -> None:
    """By 503, so that a caller comes again; the others are served."""
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
    reader, writer = connections[-1]
    writer.write(GET)
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"503" in head
    for _, other in connections:
        other.close()

"""A server that answers anything: every answer is bounded, and every error is one of Turnout's."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

import orjson
import pytest
from turnout_restate import api
from turnout_restate.caller import RestateCaller
from turnout_restate.settings import read_settings

import turnout
from turnout import Schedule
from turnout.errors import TurnoutError
from turnout.model.protocol import Call
from turnout.model.runs import Delivery, Wake
from turnout.ports.caller import Surroundings
from turnout.service.clock import SystemClock

AnswerT = TypeVar("AnswerT")
APP = turnout.app("hostile")
DELIVERY = Delivery(
    run_id="run-1", number=1, provider="restate", task="task", provider_run_id="inv_1", token="t_1"
)


class _NoWorker:
    """Is never called: the server answers, and does not call."""

    async def answer(self, call: Call[AnswerT]) -> AnswerT:
        """Refuse."""
        raise AssertionError(call)


Write = Callable[[asyncio.StreamWriter], Awaitable[None]]


def body(content: bytes, status: str = "200 OK") -> Write:
    """Answer with a body."""

    async def write(writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status}\r\ncontent-length: {len(content)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + content)

    return write


async def endless(writer: asyncio.StreamWriter) -> None:
    """Answer without an end."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n")
    for _ in itertools.count():
        writer.write(b" " * 65_536)
        await writer.drain()


async def trickle(writer: asyncio.StreamWriter) -> None:
    """Answer a byte at a time, each before a client would give up."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    for _ in itertools.count():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def silence(writer: asyncio.StreamWriter) -> None:
    """Close without an answer."""
    writer.close()


ANSWERS: Mapping[str, Write] = {
    "endless": endless,
    "trickle": trickle,
    "silence": silence,
    "no JSON": body(b"<html>"),
    "nothing": body(b""),
    "deep": body(b"[" * 100_000),
    "another type": body(b"[1]"),
    "null": body(b"null"),
    "lists of others": body(b'{"rows": [1], "deployments": [1], "invocationId": 1, "id": 1}'),
    "rows without columns": body(b'{"rows": [{}], "deployments": [{}], "id": ""}'),
    "rows of others": body(
        orjson.dumps(
            {
                "rows": [{"id": 5, "status": [], "service_key": {}, "value_utf8": "{"}],
                "id": "dp_1",
                "deployments": [{"id": "dp_1", "services": "all"}],
            }
        )
    ),
    "an unknown word": body(b'{"rows": [{"id": "inv_1", "status": "dreaming"}]}'),
    "no time": body(b'{"rows": [{"id": "inv_1", "status": "running", "running_at": "noon"}]}'),
    "redirect": body(b"", "302 Found"),
    "refusal": body(b'{"message": {"a": 1}}', "400 Bad Request"),
    "failure": body(b"\xff", "503 Service Unavailable"),
    "unknown": body(b"", "404 Not Found"),
    "status of no class": body(b"", "799 What"),
}


@asynccontextmanager
async def hostile(write: Write) -> AsyncIterator[RestateCaller]:
    """A caller of a server that answers every request in this way."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await write(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    environ = {"RESTATE_INGRESS_URL": address, "RESTATE_ADMIN_URL": address}
    surroundings = Surroundings(settings={}, app=APP, worker=_NoWorker(), clock=SystemClock())
    caller = RestateCaller(surroundings, read_settings(environ, "http://127.0.0.1:1"))
    try:
        yield caller
    finally:
        await caller.close()
        server.close()


async def _no_run(_run_id: str) -> bool:
    return False


@pytest.mark.parametrize("name", ANSWERS)
async def test_whatever_the_server_answers_the_error_is_ours(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call of the port ends in a bounded time: by itself, or with an error of the tree."""
    monkeypatch.setattr(api, "LONGEST_REQUEST", 0.2)
    monkeypatch.setattr(api, "LARGEST_ANSWER", 1_000_000)
    schedule = Schedule(id="daily", task="task", cron="0 6 * * *")
    async with hostile(ANSWERS[name]) as caller:
        calls: Mapping[str, Callable[[], Awaitable[object]]] = {
            "deliver": lambda: caller.deliver([DELIVERY]),
            "wake": lambda: caller.wake(
                [Wake(run_id="run-1", seq=1, due_at=0, delivery=DELIVERY)] * 2
            ),
            "stop": lambda: caller.stop(DELIVERY),
            "look": lambda: caller.look(DELIVERY),
            "list_runs": caller.list_runs,
            "notices": lambda: caller.notices(_no_run),
            "define": lambda: caller.define(APP),
            "defined": caller.defined,
            "arm": lambda: caller.arm([schedule]),
            "armed": caller.armed,
        }
        for call in calls.values():
            try:
                await call()
            except TurnoutError as error:
                assert len(str(error)) < 2_000  # noqa: PT017 - some answers are no errors
        (delivered,) = await caller.deliver([DELIVERY])
        assert delivered.error is not None


@pytest.mark.parametrize(
    "ids",
    [["inv_2", "inv_1"], ["inv_1", "inv_1"], ["inv_0"]],
    ids=["another order", "one twice", "before the cursor"],
)
async def test_a_page_that_is_not_in_order_is_refused(ids: list[str]) -> None:
    """Its last id would be a cursor that leads back."""
    rows = [{"id": name, "status": "running"} for name in ids]
    async with hostile(body(orjson.dumps({"rows": rows}))) as caller:
        with pytest.raises(TurnoutError, match="order"):
            await caller.list_runs(cursor="inv_0")

"""A small HTTP/1.1 client for calls to applications.

The server spends most of its time in these calls, thousands a second on one core, and needs nothing
but POST and PUT with a body and a pool of kept connections; a general client costs several times
as much per call.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

MAX_HEADERS = 64 * 1024
MAX_BODY = 64 * 1024 * 1024
IDLE_S = 3.0
"""Connections unused for longer are not reused: servers close theirs after a few seconds."""

Origin = tuple[str, str, int]
_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class NoAnswer(Exception):
    """The other side could not be reached, or broke off."""


class _Stale(Exception):
    """A kept connection was closed by the other side before it answered."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """Sends requests; keeps connections open between them."""

    def __init__(self) -> None:
        self._idle: dict[Origin, list[tuple[float, _Connection]]] = {}

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> Reply:
        """The reply to one request; NoAnswer when there is none in time."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._send(method, urlsplit(url), headers, body)
        except TimeoutError as error:
            raise NoAnswer(f"no answer within {timeout_s:g} s") from error
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            raise NoAnswer(str(error) or type(error).__name__) from error

    def close(self) -> None:
        """Close the connections that are kept."""
        for kept in self._idle.values():
            for _, (_, writer) in kept:
                writer.close()
        self._idle.clear()

    async def _send(
        self, method: str, url: SplitResult, headers: Mapping[str, str], body: bytes
    ) -> Reply:
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise NoAnswer(f"not an HTTP address: {url.geturl()!r}")
        port = url.port or (443 if url.scheme == "https" else 80)
        origin = (url.scheme, url.hostname, port)
        request = _request(method, url, headers, body)
        while (connection := self._kept(origin)) is not None:
            try:
                return await self._exchange(origin, connection, request, is_fresh=False)
            except _Stale:
                continue
        connection = await _connect(origin)
        return await self._exchange(origin, connection, request, is_fresh=True)

    def _kept(self, origin: Origin) -> _Connection | None:
        kept = self._idle.get(origin)
        oldest = asyncio.get_running_loop().time() - IDLE_S
        while kept:
            since, connection = kept.pop()
            if since >= oldest and not connection[0].at_eof():
                return connection
            connection[1].close()
        return None

    async def _exchange(
        self, origin: Origin, connection: _Connection, request: bytes, *, is_fresh: bool
    ) -> Reply:
        reader, writer = connection
        keep = False
        try:
            head = await _head(reader, writer, request, is_fresh=is_fresh)
            reply, keep = await _reply(reader, head)
            return reply
        finally:
            if keep:
                now = asyncio.get_running_loop().time()
                self._idle.setdefault(origin, []).append((now, connection))
            else:
                writer.close()


async def _connect(origin: Origin) -> _Connection:
    scheme, host, port = origin
    context = ssl.create_default_context() if scheme == "https" else None
    return await asyncio.open_connection(host, port, ssl=context, limit=MAX_HEADERS)


def _request(method: str, url: SplitResult, headers: Mapping[str, str], body: bytes) -> bytes:
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {url.netloc.rpartition('@')[2]}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header or the address contains a line break")
    return "\r\n".join(lines).encode() + body


async def _head(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, *, is_fresh: bool
) -> bytes:
    try:
        writer.write(request)
        await writer.drain()
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not is_fresh and not error.partial:
            raise _Stale from error
        raise
    except asyncio.LimitOverrunError as error:
        raise ValueError("the reply's headers are too large") from error
    except ConnectionError as error:
        if not is_fresh:
            raise _Stale from error
        raise


async def _reply(reader: asyncio.StreamReader, head: bytes) -> tuple[Reply, bool]:
    status_line, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = status_line.partition(" ")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    length = headers.get("content-length")
    # HTTP/1.0 knows no chunks, whatever a proxy copied into the headers.
    if version == "HTTP/1.1" and "chunked" in headers.get("transfer-encoding", "").lower():
        body, has_end = await _chunks(reader), True
    elif length is not None:
        body, has_end = await reader.readexactly(_bounded(int(length))), True
    else:
        body, has_end = await _until_closed(reader), False
    closes = headers.get("connection", "").lower() == "close" or version != "HTTP/1.1"
    return Reply(status=int(rest[:3]), headers=headers, body=body), has_end and not closes


def _bounded(length: int) -> int:
    if not 0 <= length <= MAX_BODY:
        raise ValueError(f"the reply is larger than {MAX_BODY} bytes")
    return length


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readline()).partition(b";")[0], 16):
        body += await reader.readexactly(_bounded(size))
        _bounded(len(body))
        await reader.readexactly(2)
    while (await reader.readline()).strip():
        pass
    return bytes(body)


async def _until_closed(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while piece := await reader.read(65_536):
        body += piece
        _bounded(len(body))
    return bytes(body)

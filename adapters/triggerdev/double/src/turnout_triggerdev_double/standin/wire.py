"""A small HTTP/1.1 client over kept-alive connections: fast, because a run makes many calls.

It knows JSON requests with a length, answers with a length or chunked, and nothing else. Streams
are read elsewhere.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httptools
import orjson

IDLE = 2.0
"""Seconds after which an idle connection is not trusted any more."""
LARGEST = 64 * 1024 * 1024
KEPT = frozenset({b"date", b"retry-after", b"x-ratelimit-remaining", b"x-ratelimit-reset"})
"""Headers of answers that anyone asks for."""


class NoAnswer(Exception):
    """The other side cannot be reached, hung up, or took too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A status, a body, and the few headers that are kept, in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> object:
        """The body as JSON; None when it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None

    def fields(self) -> dict[str, object]:
        """The body as a JSON object; empty when it is none."""
        value = self.json()
        return value if isinstance(value, dict) else {}


class _Connection(asyncio.Protocol):
    """One connection; at most one request at a time."""

    def __init__(self) -> None:
        self._parser: httptools.HttpResponseParser | None = None
        self._parts: list[bytes] = []
        self._headers: dict[str, str] = {}
        self._size = 0
        self._answer: asyncio.Future[Answer] | None = None
        self.transport: asyncio.Transport | None = None
        self.usable = True
        self.since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(NoAnswer(f"the connection was closed: {exc or 'by peer'}"))

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if self._answer is not None and not self._answer.done():
                self._answer.set_exception(NoAnswer(f"not HTTP: {error}"))
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        if (lower := name.lower()) in KEPT:
            self._headers[lower.decode()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._size += len(body)
        if self._size > LARGEST:
            self.close()
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        parser = self._parser
        assert parser is not None
        self.usable = self.usable and parser.should_keep_alive()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(
                Answer(
                    status=parser.get_status_code(),
                    body=b"".join(self._parts),
                    headers=self._headers,
                )
            )

    async def ask(self, request: bytes) -> Answer:
        """Send a whole request and return its answer. Raises NoAnswer."""
        assert self.transport is not None
        self._parser = httptools.HttpResponseParser(self)
        self._parts, self._headers, self._size = [], {}, 0
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        try:
            return await self._answer
        finally:
            self._answer = None
            self._parser = None

    def close(self) -> None:
        """Hang up."""
        self.usable = False
        if self.transport is not None:
            self.transport.close()


class Wire:
    """Connections to one origin, with headers that every request carries."""

    def __init__(self, origin: str, headers: dict[str, str] | None = None) -> None:
        parts = urlsplit(origin)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"not an http or https address: {origin!r}")
        self._host = parts.hostname
        self._secure = parts.scheme == "https"
        self._port = parts.port or (443 if self._secure else 80)
        self._base = parts.path.rstrip("/")
        lines = {"host": parts.netloc, "content-type": "application/json", **(headers or {})}
        self._headers = _lines(lines)
        self._idle: deque[_Connection] = deque()
        self._tls = ssl.create_default_context() if self._secure else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        while self._idle:
            self._idle.pop().close()

    async def get(self, path: str, *, seconds: float = 30.0) -> Answer:
        """GET. Raises NoAnswer."""
        return await self.request("GET", path, b"", seconds=seconds)

    async def post(self, path: str, value: object, *, seconds: float = 30.0) -> Answer:
        """POST the value as JSON. Raises NoAnswer."""
        return await self.request("POST", path, orjson.dumps(value), seconds=seconds)

    async def request(
        self,
        method: str,
        path: str,
        body: bytes,
        *,
        headers: dict[str, str] | None = None,
        seconds: float = 30.0,
    ) -> Answer:
        """One request and its answer; a cancelled one closes its connection. Raises NoAnswer."""
        head = f"{method} {self._base}{path} HTTP/1.1\r\ncontent-length: {len(body)}\r\n"
        request = head.encode() + self._headers + _lines(headers or {}) + b"\r\n" + body
        connection = None
        try:
            async with asyncio.timeout(seconds):
                connection = await self._connection()
                answer = await connection.ask(request)
        except (TimeoutError, OSError, NoAnswer) as error:
            _close(connection)
            raise NoAnswer(f"{method} {path}: {error or 'took too long'}") from error
        except BaseException:
            _close(connection)
            raise
        self._keep(connection)
        return answer

    async def _connection(self) -> _Connection:
        loop = asyncio.get_running_loop()
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and loop.time() - connection.since < IDLE:
                return connection
            connection.close()
        _, made = await loop.create_connection(_Connection, self._host, self._port, ssl=self._tls)
        return made

    def _keep(self, connection: _Connection) -> None:
        if connection.usable:
            connection.since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.close()


def _close(connection: _Connection | None) -> None:
    if connection is not None:
        connection.close()


def _lines(headers: dict[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()

"""HTTP to one origin: JSON in, JSON out, over kept-alive connections.

By aiohttp: a run makes about a dozen calls, and each costs 0.1 ms of processor time here.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

IDLE = 2.0
"""Seconds after which an idle connection is not trusted any more."""


class NoResponse(Exception):
    """The other side cannot be reached, hung up, or took too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """A status, a body, and the headers."""

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


class HttpClient:
    """Connections to one origin, with headers that every request carries."""

    def __init__(self, origin: str, headers: Mapping[str, str] | None = None) -> None:
        self._base = origin.rstrip("/")
        self._headers = {"content-type": "application/json", **(headers or {})}
        self._opened: ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            await self._opened.close()

    async def get(self, path: str, *, seconds: float = 30.0) -> HttpAnswer:
        """GET. Raises NoResponse."""
        return await self.request("GET", path, None, seconds=seconds)

    async def post(self, path: str, value: object, *, seconds: float = 30.0) -> HttpAnswer:
        """POST the value as JSON. Raises NoResponse."""
        return await self.request("POST", path, orjson.dumps(value), seconds=seconds)

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | None,
        *,
        headers: Mapping[str, str] | None = None,
        seconds: float = 30.0,
    ) -> HttpAnswer:
        """One request and its answer; a cancelled one closes its connection. Raises NoResponse."""
        options: dict[str, Any] = {"data": body, "headers": headers, "allow_redirects": False}
        timeout = ClientTimeout(total=seconds)
        try:
            async with self._session.request(
                method, self._base + path, timeout=timeout, **options
            ) as response:
                content = await response.read()
        except (ClientError, OSError) as error:
            raise NoResponse(f"{method} {path}: {error or 'took too long'}") from error
        return HttpAnswer(status=response.status, body=content, headers=response.headers)

    @asynccontextmanager
    async def lines(self, path: str, *, silence: float) -> AsyncIterator[AsyncIterator[bytes]]:
        """The lines of an endless answer, as they come.

        silence: seconds without a byte, after which it raises NoResponse.
        """
        timeout = ClientTimeout(total=None, sock_connect=silence, sock_read=silence)
        try:
            async with self._session.get(self._base + path, timeout=timeout) as response:
                response.raise_for_status()
                yield aiter(response.content)
        except (ClientError, OSError) as error:
            raise NoResponse(f"GET {path}: {error or 'fell silent'}") from error

    @property
    def _session(self) -> ClientSession:
        """Opened by the first request, since it belongs to the loop that runs then."""
        if self._opened is None:
            self._opened = ClientSession(
                connector=TCPConnector(limit=0, keepalive_timeout=IDLE),
                cookie_jar=DummyCookieJar(),
                headers=self._headers,
            )
        return self._opened

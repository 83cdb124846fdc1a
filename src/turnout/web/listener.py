"""How `turnout serve` listens: a bounded number of connections, none of which may stay silent."""

import asyncio
import resource
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

REQUEST_SECONDS: Final = 10
"""How long the headers of a request may take, and the rest of a body that was refused unread."""
LARGEST_HEAD: Final = 64 * 1024
"""Bytes of a request's line and headers."""
MOST_CONNECTIONS: Final = 1_000
"""Connections at the same time; one more is answered 503."""
STOP_SECONDS: Final = 15
"""How long open requests may take once the service is stopped."""


def configuration(service: Any, *, host: str, port: int) -> uvicorn.Config:
    """Return what uvicorn is started with."""
    return uvicorn.Config(
        service,
        host=host,
        port=port,
        log_level="warning",
        http=PromptRequests,
        limit_concurrency=most_connections(),
        timeout_graceful_shutdown=STOP_SECONDS,
    )


def most_connections() -> int:
    """Return how many connections to take: files must be left for the run store and the vendors."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(MOST_CONNECTIONS, files // 2) if files > 0 else MOST_CONNECTIONS


class PromptRequests(AutoHTTPProtocol):  # type: ignore[misc, valid-type, unused-ignore]
    """Closes a connection whose next request does not begin in time.

    uvicorn bounds the silence between two requests, and neither that before the first nor headers
    that never end.
    """

    _silence: asyncio.TimerHandle | None = None
    _head: int | None = None
    """Bytes that have come of a request whose headers are not complete; None outside of them."""

    def connection_made(self, transport: Any) -> None:
        """Expect the first request."""
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request; expect the rest of its headers."""
        if self._head is not None:
            self._head += len(data)
            if self._head > LARGEST_HEAD:
                self.transport.close()
                return
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._expect()
        elif self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def on_message_begin(self) -> None:
        """Begin to count the headers."""
        self._head = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop to count."""
        self._head = None
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        if self._silence is not None:
            self._silence.cancel()
        super().connection_lost(exc)

    def _expect(self) -> None:
        if self._silence is None:
            self._silence = self.loop.call_later(REQUEST_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self._silence = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

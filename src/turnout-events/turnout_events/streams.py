"""`GET /turnout/runs/{run_id}/events`: what happens to a run, as server-sent events.

Read from the run store, so any replica answers for any run. Whoever may read one run may read all:
the token is the service's, for a backend or an operator, never for a browser.
"""

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from typing import Final
from weakref import WeakSet

import orjson
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from turnout.errors import Overloaded, TurnoutError, Unauthorised, WrongUse
from turnout.model.ids import is_segment
from turnout.ports.run_store import JournalStore
from turnout.service.process import Turnout
from turnout.web.steps import refusal
from turnout_events.run_events import (
    POLL_INTERVAL,
    RunEvent,
    RunReader,
    follow,
    read_position,
)

log = logging.getLogger(__name__)

READER_LIMIT: Final = 100
"""Readers at once, in one process."""
KEEP_ALIVE: Final = 15.0
"""Seconds after which a comment says that the connection is alive."""

_HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}


def routes(turnout: Turnout) -> Sequence[BaseRoute]:
    """Return the route of event streams, where the service has a token for their readers."""
    token = turnout.settings.events_token
    if token is None:
        return ()
    streams = EventStreams(turnout.store.journals, token, stopping=lambda: turnout.stopping)
    return [Route("/turnout/runs/{run_id}/events", streams.answer)]


class EventStreams:
    """Checks the token, then sends the events of one run until it has ended."""

    def __init__(
        self,
        journals: JournalStore,
        token: SecretStr,
        *,
        look_every: float = POLL_INTERVAL,
        keep_alive: float = KEEP_ALIVE,
        limit: int = READER_LIMIT,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """stopping: whether the service stops; streams then end, so that the server can."""
        self._stopping = stopping
        self._journals = journals
        self._token = token.get_secret_value().encode()
        self._look_every = look_every
        self._keep_alive = keep_alive
        self._limit = limit
        # Weak: a response that is never sent frees its place.
        self._places: WeakSet[_ReaderPlace] = WeakSet()

    async def answer(self, request: Request) -> Response:
        """Answer one reader; 204 where the run has ended and the reader has all its events."""
        try:
            self._check(request.headers.get("authorization", ""))
            reader = self._reader(request)
            place = self._take_place()
        except TurnoutError as error:
            return refusal(error)
        with ExitStack() as cleanup:
            cleanup.callback(place.leave)
            try:
                first = await reader.look()
            except TurnoutError as error:
                return refusal(error)
            if reader.over and not first:
                return Response(status_code=204, headers=_HEADERS)
            cleanup.pop_all()  # from here on the response frees the place
        return _Stream(self._events(reader, first), place)

    def _check(self, header: str) -> None:
        kind, _, token = header.partition(" ")
        good = hmac.compare_digest(token.strip().encode(), self._token)
        if kind.lower() != "bearer" or not good:
            raise Unauthorised("send the header Authorization: Bearer <TURNOUT_EVENTS_TOKEN>")

    def _take_place(self) -> "_ReaderPlace":
        """Take a place before anything is awaited, so that no two readers take the last one."""
        if len(self._places) >= self._limit:
            raise Overloaded(f"{self._limit} readers follow runs here already; come again later")
        return _ReaderPlace(self._places)

    def _reader(self, request: Request) -> RunReader:
        run_id = request.path_params["run_id"]
        if not is_segment(run_id):
            raise WrongUse("this is not a run's id")
        last = request.headers.get("last-event-id")
        return RunReader(self._journals, run_id, read_position(last, run_id) if last else None)

    async def _events(self, reader: RunReader, first: Sequence[RunEvent]) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        wrote_at = loop.time()
        yield b"retry: 2000\n\n" + b"".join(map(_sse_bytes, first))
        if reader.over:
            return
        try:
            async for events in follow(reader, lambda: asyncio.sleep(self._look_every)):
                if events or loop.time() - wrote_at >= self._keep_alive:
                    wrote_at = loop.time()
                    yield b"".join(map(_sse_bytes, events)) or b": still here\n\n"
                if self._stopping():
                    return  # the reader comes back, to another replica
        except TurnoutError as error:
            # The reader comes back with the last id that it has.
            log.warning("a reader was cut off", extra={"action": "events", "error": str(error)})


class _ReaderPlace:
    """A reader's place among the others, until it leaves."""

    def __init__(self, places: "WeakSet[_ReaderPlace]") -> None:
        self._places = places
        places.add(self)

    def leave(self) -> None:
        """Free the place."""
        self._places.discard(self)


class _Stream(StreamingResponse):
    """Streams the events, and frees the reader's place when they end or the reader has gone."""

    def __init__(self, events: AsyncIterator[bytes], place: _ReaderPlace) -> None:
        super().__init__(events, media_type="text/event-stream", headers=_HEADERS)
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._place.leave()


def _sse_bytes(event: RunEvent) -> bytes:
    # JSON has no line break in it, so one line of data is enough.
    head = f"id: {event.id}\nevent: {event.event}\ndata: ".encode()
    return head + orjson.dumps(event.data) + b"\n\n"

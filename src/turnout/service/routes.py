"""The routes that this replica uses: read every half second, so a change takes effect soon."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from turnout.errors import TurnoutError
from turnout.model.routing import Route
from turnout.model.time import Millis
from turnout.ports.run_store import RouteStore

log = logging.getLogger(__name__)

INTERVAL = 0.5
"""Seconds between readings: a change is effective within a second on every replica."""

FRESH = 1.0
"""Seconds for which routes that were read are used without reading them again."""


class RouteBoard:
    """Caches the routes; while the store is down, those that were read last stay in force."""

    def __init__(self, store: RouteStore, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._routes: Mapping[str, Route] = {}
        self._read_at: float | None = None
        self._changed = asyncio.Event()

    def __call__(self) -> Mapping[str, Route]:
        """Return the routes, by task id."""
        return self._routes

    @property
    def generation(self) -> int:
        """The number of the newest change that was read; 0: none was."""
        return max((route.generation for route in self._routes.values()), default=0)

    @property
    def age(self) -> Millis | None:
        """How long ago the routes were read; None: never."""
        return None if self._read_at is None else int(1_000 * (self._monotonic() - self._read_at))

    async def changed(self, patience: float) -> None:
        """Wait until a reading brings other routes, at most `patience` seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), patience)

    async def read(self) -> None:
        """Read the routes once."""
        began, before = self._monotonic(), self.generation
        self._routes = await self._store.read()
        self._read_at = began
        if self.generation != before:
            self._changed.set()
            self._changed = asyncio.Event()

    async def refresh(self) -> None:
        """Read the routes unless that was done within FRESH; StoreUnavailable if it never was.

        A process that emits without being started has nothing else that reads them.
        """
        if self._read_at is None:
            await self.read()
        elif self._monotonic() - self._read_at > FRESH:
            await self._read_again()

    async def keep_reading(self) -> None:
        """Read the routes at every interval, for ever."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self._read_again()

    async def _read_again(self) -> None:
        try:
            await self.read()
        except TurnoutError as error:
            log.warning(
                "the routes could not be read; those read last stay in force",
                extra={"action": "routes", "error": str(error)},
            )

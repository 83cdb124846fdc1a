"""The routes as this replica knows them: read again all the time, so a change is seen at once."""

import asyncio
import logging
from collections.abc import Mapping

from turnout.errors import TurnoutError
from turnout.model.routing import Route
from turnout.ports.run_store import RouteStore

log = logging.getLogger(__name__)

EVERY = 0.5
"""Seconds between readings: a change is effective within a second on every replica."""


class RouteBoard:
    """Holds the routes last read; while the store is down, what was read last stays in force."""

    def __init__(self, store: RouteStore) -> None:
        self._store = store
        self._routes: Mapping[str, Route] = {}
        self._task: asyncio.Task[None] | None = None

    def __call__(self) -> Mapping[str, Route]:
        """Give the routes."""
        return self._routes

    async def start(self) -> None:
        """Read the routes, and go on reading them."""
        self._routes = await self._store.read()
        self._task = asyncio.create_task(self._read_on())

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _read_on(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            try:
                self._routes = await self._store.read()
            except TurnoutError as error:
                log.warning("routes not read", extra={"action": "routes", "error": str(error)})

"""The routes that this replica uses: read every half second, so a change takes effect soon."""

import asyncio
import logging
from collections.abc import Mapping

from turnout.errors import TurnoutError
from turnout.model.routing import Route
from turnout.ports.run_store import RouteStore

log = logging.getLogger(__name__)

INTERVAL = 0.5
"""Seconds between readings: a change is effective within a second on every replica."""


class RouteBoard:
    """Caches the routes; while the store is down, those that were read last stay in force."""

    def __init__(self, store: RouteStore) -> None:
        self._store = store
        self._routes: Mapping[str, Route] = {}

    def __call__(self) -> Mapping[str, Route]:
        """Return the routes, by task id."""
        return self._routes

    async def read(self) -> None:
        """Read the routes once."""
        self._routes = await self._store.read()

    async def keep_reading(self) -> None:
        """Read the routes at every interval, for ever."""
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                await self.read()
            except TurnoutError as error:
                log.warning(
                    "the routes could not be read; those read last stay in force",
                    extra={"action": "routes", "error": str(error)},
                )

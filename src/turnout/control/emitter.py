"""Recording events: what `Orchestrator.emit` does, and what adapters use for incoming events."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from turnout.control.emissions import Emissions
from turnout.model.events import Emitted, Event
from turnout.model.routing import DUAL
from turnout.ports.clock import Clock
from turnout.ports.run_store import EventStore


class Emitter:
    """Records events and the runs that they start; needs no provider."""

    def __init__(
        self,
        *,
        events: EventStore,
        emissions: Emissions,
        clock: Clock,
        refresh_routes: Callable[[], Awaitable[None]],
    ) -> None:
        """refresh_routes: reads the routes again, where they may have changed meanwhile."""
        self.emissions = emissions
        self._events = events
        self._clock = clock
        self._refresh_routes = refresh_routes

    async def emit(self, *events: Event, connection: Any = None) -> Sequence[Emitted]:
        """Record the events and their runs, all or none; see `Emits.emit`."""
        if self.emissions.selection.provider == DUAL:
            await self._refresh_routes()
        now = self._clock.now()
        emissions = [self.emissions.of_event(event, now) for event in events]
        return await self._events.emit(emissions, connection=connection)

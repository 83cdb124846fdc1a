"""Recording events: what `Orchestrator.emit` does, and what adapters use for incoming events."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from turnout.control.emissions import Emissions
from turnout.model.events import Emitted, Event
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
        refresh_clock: Callable[[], Awaitable[None]],
    ) -> None:
        """refresh_clock: reads the clock, where nothing does so regularly."""
        self._refresh_clock = refresh_clock
        self.emissions = emissions
        self._events = events
        self._clock = clock

    async def emit(self, *events: Event, connection: Any = None) -> Sequence[Emitted]:
        """Record the events and their runs, all or none; see `Emits.emit`."""
        await self._refresh_clock()
        await self.emissions.refresh_routes()
        now = self._clock.now()
        emissions = [self.emissions.of_event(event, now) for event in events]
        return await self._events.emit(emissions, connection=connection)

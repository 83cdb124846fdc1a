"""The worker that serves both sides: a run's id says whose it is."""

from turnout.dualrun.recordings import Recordings
from turnout.model.ids import is_shadow
from turnout.model.protocol import (
    Advance,
    Call,
    Execute,
    Executed,
    Follow,
    Followed,
    Next,
    Park,
    Parked,
    Probe,
    Probed,
    Report,
    Tick,
    Ticked,
)
from turnout.model.runs import Run
from turnout.ports.worker import Worker


class DualWorker:
    """Hands each call to the primary's worker or to the shadow's; the sides share nothing."""

    def __init__(self, *, primary: Worker, shadow: Worker, recordings: Recordings) -> None:
        self._primary = primary
        self._shadow = shadow
        self._recordings = recordings

    async def advance(self, call: Advance) -> Next:
        """Advance the run on its side."""
        return await (await self._side(call)).advance(call)

    async def execute(self, call: Execute) -> Executed:
        """Run the attempt on its side."""
        return await (await self._side(call)).execute(call)

    async def run_on(self, call: Advance | Execute, *, known: Run | None = None) -> Next:
        """Run on, on the run's side."""
        return await (await self._side(call)).run_on(call, known=known)

    async def park(self, call: Park) -> Parked:
        """Park the run on its side."""
        return await (await self._side(call)).park(call)

    async def follow(self, call: Follow) -> Followed:
        """Read the run's streams on its side."""
        return await (await self._side(call)).follow(call)

    async def report(self, call: Report) -> None:
        """Take the hint on its side."""
        await (await self._side(call)).report(call)

    async def tick(self, call: Tick) -> Ticked:
        """Claim the slot: schedules are the primary's."""
        return await self._primary.tick(call)

    async def probe(self, call: Probe) -> Probed:
        """Answer for both sides: they are of one app."""
        return await self._primary.probe(call)

    async def _side(self, call: Call) -> Worker:
        if not is_shadow(call.run_id):
            return self._primary
        await self._recordings.fetch(call.run_id)
        return self._shadow

"""The worker of a dual run: it serves both sides, and a run's id says which side the run is on."""

from typing import TypeVar

from turnout.model.ids import is_shadow
from turnout.model.protocol import Advance, Call, Execute, Next, RunCall
from turnout.model.runs import Run
from turnout.ports.worker import WorkerInProcess
from turnout_dualrun.recordings import Recordings

AnswerT = TypeVar("AnswerT")


class DualWorker:
    """Hands each call to the primary's worker or to the shadow's; the sides share nothing."""

    def __init__(
        self, *, primary: WorkerInProcess, shadow: WorkerInProcess, recordings: Recordings
    ) -> None:
        self._primary = primary
        self._shadow = shadow
        self._recordings = recordings

    async def answer(self, call: Call[AnswerT]) -> AnswerT:
        """Answer on the run's side; a call without a run (tick, probe) goes to the primary's."""
        side = await self._side(call.run_id) if isinstance(call, RunCall) else self._primary
        return await side.answer(call)

    async def run_on(self, call: Advance | Execute, *, delivered: Run | None = None) -> Next:
        """Call `run_on` of the worker on the run's side."""
        return await (await self._side(call.run_id)).run_on(call, delivered=delivered)

    async def _side(self, run_id: str) -> WorkerInProcess:
        if not is_shadow(run_id):
            return self._primary
        await self._recordings.fetch(run_id)
        return self._shadow

"""Back-off: a run on which an action failed is skipped for a while, and blocks no other run."""

from collections.abc import Awaitable, Callable, Sequence

from turnout.model.time import Millis
from turnout.ports.clock import Clock
from turnout.pump.failures import logged

WIDEST = 64
"""How many batches are read at most to get past runs that are skipped."""


class Backoff:
    """Does an action on runs, one by one, and skips runs on which it failed a short time ago.

    If a read returned only skipped runs, the next read takes more rows, so that others are reached.
    """

    def __init__(self, clock: Clock, *, batch: int, wait: Millis) -> None:
        self._clock = clock
        self._batch = batch
        self._wait = wait
        self._skipped_until: dict[str, Millis] = {}
        self._batches = 1

    @property
    def limit(self) -> int:
        """How many rows to read next."""
        return self._batch * self._batches

    async def move(
        self, action: str, run_ids: Sequence[str], move: Callable[[str], Awaitable[None]]
    ) -> int:
        """Do the action on each run that is not skipped; return on how many it succeeded."""
        moved = 0
        for run_id in self._without_skipped(run_ids):
            self._skipped_until[run_id] = self._clock.now() + self._wait
            with logged(action, run_id):
                await move(run_id)
                del self._skipped_until[run_id]
                moved += 1
        return moved

    def _without_skipped(self, run_ids: Sequence[str]) -> list[str]:
        now = self._clock.now()
        self._skipped_until = {
            run_id: until for run_id, until in self._skipped_until.items() if until > now
        }
        movable = [run_id for run_id in run_ids if run_id not in self._skipped_until]
        if movable:
            return movable
        self._batches = min(self._batches * 2, WIDEST) if run_ids else 1
        return movable

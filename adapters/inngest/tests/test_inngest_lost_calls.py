"""A call that is lost takes with it the wait that it was to register."""

from types import SimpleNamespace
from typing import Any

import pytest
from turnout_inngest.memos import memo_of
from turnout_inngest.run_loop import Opening, RunLoop
from turnout_testing.clock import TurnableClock

from turnout.errors import Superseded
from turnout.model.protocol import Next, Parking, Progress
from turnout.model.status import ParkReason, RunStatus


def parked(seq: int) -> Next:
    """Answer that the run waits for an event."""
    park, progress = Parking(reasons=[ParkReason.EVENT]), Progress(completed=0, current=[])
    return Next(seq=seq, state=RunStatus.RUNNING, park=park, progress=progress)


PARKED, WOKEN = parked(3), parked(4)


class Planned(BaseException):
    """The pass has come to a vendor step that is not recorded."""


class Steps:
    """The vendor's steps, of which none is recorded."""

    async def run(self, name: str, _call: Any) -> Any:
        """Plan a step."""
        raise Planned(f"run {name}")

    async def wait_for_event(self, name: str, **_options: Any) -> Any:
        """Plan a wait."""
        raise Planned(f"wait {name}")


class Worker:
    """Says how the run is now, and counts how often it was asked."""

    def __init__(self, answer: Next | Exception) -> None:
        self._answer = answer
        self.calls = 0

    async def answer(self, _call: Any) -> Any:
        """Answer an advance."""
        self.calls += 1
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


@pytest.mark.parametrize(
    ("attempt", "now", "planned"),
    [
        (0, WOKEN, "wait park 3"),
        (1, PARKED, "wait park 3"),
        (1, WOKEN, "run advance 3"),
        (1, Superseded(), "run advance 3"),
    ],
)
async def test_a_call_that_is_made_again_asks_whether_its_wait_is_over(
    attempt: int, now: Next | Exception, planned: str
) -> None:
    """Its wakes may have been sent before there was a wait; a first call does not ask."""
    worker = Worker(now)
    data = {"run_id": "r1", "task": "t", "delivery": 1}
    ctx = SimpleNamespace(
        event=SimpleNamespace(data=data), run_id="v1", attempt=attempt, step=Steps()
    )
    loop = RunLoop(
        ctx,  # type: ignore[arg-type]
        worker=worker,
        clock=TurnableClock(),
        definition="d",
        opening=Opening(is_first=False, first_answer=memo_of(PARKED, 1_000)),
    )
    with pytest.raises(Planned, match=planned):
        await loop.run()
    assert worker.calls == attempt

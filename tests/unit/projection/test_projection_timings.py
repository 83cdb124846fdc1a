"""Durations of runs whose clock was stepped back."""

from itertools import product

import pytest
from turnout_testing.conformance.run_store_values import T0, new_attempt, new_run, new_step

from turnout.model.runs import Journal
from turnout.model.status import AttemptState, RunStatus, StepKind
from turnout.projection.timings import timings

MOMENTS = (T0 - 3_000, T0, T0 + 700)


@pytest.mark.parametrize(("started", "claimed", "ended"), product(MOMENTS, repeat=3))
def test_no_duration_is_negative(started: int, claimed: int, ended: int) -> None:
    """Wherever the clock is stepped back, the durations can be written, and add up."""
    run = new_run(state=RunStatus.COMPLETED, started_at=started, ended_at=ended)
    for settled, finished in product(MOMENTS, repeat=2):
        attempt = new_attempt(
            state=AttemptState.COMPLETED, claimed_at=claimed, ended_at=finished, retry_at=settled
        )
        sleep = new_step("z", StepKind.SLEEP, asked_at=claimed, due_at=settled, ended_at=settled)
        steps = {"s": new_step(ended_at=finished), "z": sleep}
        split = timings(Journal(run=run, steps=steps, attempts={"s": (attempt,)}))
        assert split.execution_ms == max(0, finished - claimed)
        assert split.total_ms == max(0, ended - T0)
        assert split.waiting_ms + (split.overhead_ms or 0) <= split.total_ms

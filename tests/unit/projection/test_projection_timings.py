"""Durations of runs whose clock was stepped back."""

from itertools import product

import pytest
from turnout_testing.conformance.run_store_values import T0, new_attempt, new_run, new_step

from turnout.model.runs import Delivery, Journal
from turnout.model.status import AttemptState, DeliveryReason, RunStatus, StepKind
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


@pytest.mark.parametrize(
    ("reason", "overhead"), [(DeliveryReason.RELEASED, 100), (DeliveryReason.LOST, 600)]
)
def test_the_queue_after_a_release_is_no_overhead(reason: DeliveryReason, overhead: int) -> None:
    """Only some providers release runs, so that time would tell pairs apart for nothing."""
    run = new_run(state=RunStatus.COMPLETED, started_at=T0, ended_at=T0 + 600)
    times = {"sent_at": T0 + 100, "claimed_at": T0 + 600}
    again = Delivery(run_id="r1", number=2, provider="p", task="t", reason=reason, **times)
    assert timings(Journal(run=run), [again]).overhead_ms == overhead

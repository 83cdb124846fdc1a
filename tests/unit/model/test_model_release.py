"""When a parked run is released."""

import pytest
from turnout_testing.conformance.run_store_values import T0, new_run

from turnout.model.runs import Run
from turnout.model.status import ParkReason
from turnout.model.transitions import release_time

AFTER = 10_000
SLEEP, BACKOFF, EVENT = ParkReason.SLEEP, ParkReason.BACKOFF, ParkReason.EVENT
CHILD, SLOT, STEP = ParkReason.CHILD, ParkReason.SLOT, ParkReason.STEP


def parked(until: int | None, *reasons: ParkReason) -> Run:
    """Make a run that waits."""
    left = None if until is None else T0 + until
    return new_run(parked=True, parked_until=left, parked_for=reasons)


@pytest.mark.parametrize(
    ("run", "release_at"),
    [
        # Longer for certain: at once.
        (parked(AFTER + 1, SLEEP), T0),
        (parked(3_600_000, BACKOFF), T0),
        (parked(3_600_000, SLEEP, BACKOFF), T0),
        # Over before: never.
        (parked(AFTER, SLEEP), None),
        (parked(AFTER, EVENT), None),
        (parked(0, BACKOFF), None),
        # It may be woken at any time: only once it has waited.
        (parked(None, CHILD), T0 + AFTER),
        (parked(None, SLOT), T0 + AFTER),
        (parked(3_600_000, EVENT), T0 + AFTER),
        (parked(3_600_000, EVENT, SLEEP), T0 + AFTER),
        # Its step is at work.
        (parked(None, STEP), None),
        (parked(3_600_000, STEP, SLEEP), None),
    ],
)
def test_when_a_parked_run_is_released(run: Run, release_at: int | None) -> None:
    """By what it waits for, and for how long at most."""
    assert release_time(run, AFTER, T0) == release_at

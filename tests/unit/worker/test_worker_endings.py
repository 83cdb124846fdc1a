"""Whose outcome may be committed: only that of the claim that stands in the journal."""

from typing import Any

import pytest
from turnout_testing.conformance.run_store_values import new_attempt, new_run

from turnout.model.runs import Journal
from turnout.model.status import AttemptState, RunStatus
from turnout.worker.endings import is_held

CLAIM = new_attempt("charge", number=2, fence=3, worker="worker-1")
RUN = new_run(state=RunStatus.RUNNING, fence=3)


def journal(run: dict[str, Any], attempt: dict[str, Any]) -> Journal:
    """Make a journal in which the claim stands, but for these values."""
    last = CLAIM._replace(**attempt)
    first = CLAIM._replace(number=1, state=AttemptState.FAILED)
    return Journal(run=RUN._replace(**run), attempts={"charge": (first, last)})


def test_a_claim_that_stands_is_held() -> None:
    """Its process commits the outcome."""
    assert is_held(journal({}, {}), CLAIM)
    assert is_held(journal({}, {"lease_until": CLAIM.lease_until + 50}), CLAIM)


@pytest.mark.parametrize(
    ("run", "attempt"),
    [
        ({"fence": 4}, {}),
        ({"fence": 2}, {}),
        ({"state": RunStatus.CANCELLED}, {}),
        ({"state": RunStatus.TIMED_OUT}, {}),
        ({}, {"state": AttemptState.LOST}),
        ({}, {"state": AttemptState.COMPLETED}),
        ({}, {"state": AttemptState.INTERRUPTED}),
        ({}, {"worker": "worker-2"}),
        ({}, {"number": 3}),
    ],
)
def test_an_outcome_without_its_fence_and_claim_is_dropped(
    run: dict[str, Any], attempt: dict[str, Any]
) -> None:
    """A fence that was raised, an end, a lost lease or another worker: it commits nothing."""
    assert not is_held(journal(run, attempt), CLAIM)


def test_an_outcome_of_a_step_that_is_not_recorded_is_dropped() -> None:
    """There is no claim at all."""
    assert not is_held(Journal(run=RUN), CLAIM)

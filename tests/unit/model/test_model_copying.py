"""Copies of frozen values with a few fields changed."""

from dataclasses import FrozenInstanceError, replace

import pytest

from turnout.model.copying import changed
from turnout.model.runs import Attempt, Run
from turnout.model.status import AttemptState, RunStatus

RUN = Run(
    run_id="r",
    task="t",
    provider="local",
    payload=b"{}",
    event="go",
    event_id="e",
    emitted_at=1,
    due_at=1,
)
ATTEMPT = Attempt(
    step="s",
    number=1,
    state=AttemptState.CLAIMED,
    fence=0,
    worker="w",
    claimed_at=1,
    lease_until=2,
)


def test_a_changed_value_is_what_replace_gives() -> None:
    """Field by field, of the same class, and with the same hash; the first is as it was."""
    for value, values in ((RUN, {"seq": 2, "state": RunStatus.RUNNING}), (ATTEMPT, {"number": 3})):
        made = changed(value, **values)
        assert made == replace(value, **values)
        assert type(made) is type(value)
        assert hash(made) == hash(replace(value, **values))
    assert RUN.seq == 0


def test_a_changed_value_is_frozen() -> None:
    """As one that was made."""
    with pytest.raises(FrozenInstanceError):
        changed(RUN, seq=2).seq = 3  # type: ignore[misc]


def test_a_field_that_there_is_not_cannot_be_changed() -> None:
    """A slip of the pen is an error, not a field."""
    with pytest.raises(AttributeError):
        changed(RUN, sequel=2)

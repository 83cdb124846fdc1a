"""How patient the suite is, and what its results are read with."""

import pytest
from turnout_testing.backends import conditions, patience

from turnout.errors import InvalidSettings


@pytest.mark.parametrize(("text", "found"), [("", 1.0), ("1", 1.0), ("2.5", 2.5), ("20", 20.0)])
def test_patience_is_a_number_from_one(text: str, found: float) -> None:
    """Nothing said means the usual times."""
    assert patience({"TURNOUT_PATIENCE": text}) == found


@pytest.mark.parametrize("text", ["0.5", "21", "nan", "inf", "long"])
def test_another_patience_is_refused_by_name(text: str) -> None:
    """Less than usual, endless and nonsense are no patience."""
    with pytest.raises(InvalidSettings, match="TURNOUT_PATIENCE is a number from 1 to 20"):
        patience({"TURNOUT_PATIENCE": text})


def test_results_say_whose_worker_ran_the_tasks_and_how_patiently() -> None:
    """A promise kept with patience is a weaker sight than one kept without."""
    assert conditions({}) == {"real_worker": False, "patience": 1.0}
    given = {"TURNOUT_REAL_WORKER": "1", "TURNOUT_PATIENCE": "4"}
    assert conditions(given) == {"real_worker": True, "patience": 4.0}

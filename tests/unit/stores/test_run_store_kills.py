"""SIGKILL at every commit point: before it nothing is left, after it everything."""

import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from turnout_testing.failpoints import COMMITS, POINTS, Failpoints

from turnout.errors import WrongUse
from turnout.stores.sql import upgrade

SCRIPT = Path(__file__).with_name("run_store_history.py")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """Run a history once undisturbed, and once for every place, killed there."""
    folder = tmp_path_factory.mktemp("kills")
    upgrade(f"sqlite:///{folder / 'template.db'}")
    told = subprocess.run(
        [sys.executable, SCRIPT, folder], capture_output=True, text=True, timeout=110, check=True
    )
    found: dict[str, dict[str, object]] = json.loads(told.stdout)
    return found


@pytest.mark.parametrize("name", COMMITS)
@pytest.mark.parametrize("when", ["before_commit", "after_commit"])
def test_a_kill_leaves_all_of_a_commit_or_nothing(
    name: str, when: str, outcomes: dict[str, dict[str, object]]
) -> None:
    """What is in the file is exactly what it was before the operation, or after it."""
    killed = outcomes[f"store.{name}.{when}"]
    assert killed["signal"] == signal.SIGKILL
    assert killed["tables"] == outcomes["undisturbed"][f"{when.removesuffix('_commit')} {name}"]


def test_every_place_is_reached(outcomes: dict[str, dict[str, object]]) -> None:
    """The table of places names no place that nothing passes."""
    assert set(outcomes) == POINTS | {"undisturbed"}


def test_a_place_that_does_not_exist_is_named() -> None:
    """A misspelt failpoint would test nothing."""
    with pytest.raises(WrongUse, match=r"before_comit.*store\.emit\.before_commit"):
        Failpoints("store.emit.before_comit")
    with pytest.raises(WrongUse, match="number of passes"):
        Failpoints("store.emit.before_commit:x")


def test_a_killed_file_is_sound(outcomes: dict[str, dict[str, object]]) -> None:
    """SQLite finds nothing wrong with any of them."""
    for place in sorted(POINTS):
        connection = sqlite3.connect(str(outcomes[place]["path"]))
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()

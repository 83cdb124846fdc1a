"""SIGKILL at every commit point of emit, deliver, claim, commit and wake, on both databases.

How the places are enumerated: an undisturbed playing of the script counts how often each failpoint
is passed; then each failpoint kills a process at its n-th pass, each time over a store of its own.
`store.apply` commits claims, outcomes, parks, wakes, ends, children and emitted events, so its
passes are many. `TURNOUT_FAULTS_PASSES=1000` kills at every pass of every place, which takes some
minutes; by default at most five passes of a place are taken, evenly, and others before a commit
than after it and on one database than on the other.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import copy
from typing import Any
from zlib import crc32

import pytest
from turnout_testing.failpoints import POINTS

from tests.acceptance.faults_ledger import (
    doubled,
    effects_of,
    ended,
    overlapping,
    repeated,
    torn,
    unwritten,
)
from tests.acceptance.faults_rows import own_table, rows
from tests.acceptance.faults_script import EXPECTED
from tests.postgres import PostgresServer
from turnout.stores.sql import upgrade

ROOT = Path(__file__).resolve().parents[2]
LIMITS = {"run": 1, "step": 2}
MOST = int(os.environ.get("TURNOUT_FAULTS_PASSES", "5"))
"""Passes of one place that are killed at."""
PATIENCE = 400 if MOST < 10 else 7_200
"""Seconds for all of it, on a busy machine."""

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(PATIENCE)]

Result = Mapping[str, Any]


class Plays:
    """Cases over one kind of database."""

    def __init__(self, folder: Path, server: PostgresServer | None) -> None:
        self.name = "sqlite" if server is None else "postgresql"
        self._folder = folder
        self._server = server
        self._template = folder / "template.db"
        if server is None:
            upgrade(f"sqlite:///{self._template}")
            own_table(f"sqlite:///{self._template}")

    def case(self, name: str, place: str | None, slow: float = 0.0) -> dict[str, Any]:
        """Draw up a case with a store of its own."""
        folder = self._folder / name
        folder.mkdir()
        if self._server is None:
            url = f"sqlite:///{copy(self._template, folder / 'run-store.db')}"
        else:
            url = self._server.kept_database()
            own_table(url)
        return {
            "name": name,
            "url": url,
            "folder": str(folder),
            "place": place,
            "slow": slow,
        }


def played(cases: Sequence[Mapping[str, Any]]) -> list[Result]:
    """Play cases in one go."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.acceptance.faults_kills"],
        input=json.dumps(cases).encode(),
        stdout=subprocess.PIPE,
        cwd=ROOT,
        timeout=PATIENCE - 20,
        check=True,
    )
    found: list[Result] = json.loads(told.stdout)
    return found


def chosen(passes: int, place: str) -> list[int]:
    """The passes to be killed at: all, or evenly as many as may be."""
    if passes <= MOST:
        return list(range(1, passes + 1))
    shift = crc32(place.encode()) % (passes // MOST)
    return sorted({1 + shift + at * passes // MOST for at in range(MOST)})


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def plays(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Plays:
    """Cases over each database."""
    server: PostgresServer | None = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres_server")
    return Plays(tmp_path_factory.mktemp(f"kills-{request.param}"), server)


@pytest.fixture(scope="module")
def undisturbed(plays: Plays) -> Mapping[str, int]:
    """How often each place is passed when nobody is killed."""
    (result,) = played([plays.case("undisturbed", None, slow=3.0)])
    assert result["error"] == ""
    wrong = faults_of(result)
    assert not wrong, "\n".join(wrong)[-3000:]
    passes: dict[str, int] = json.loads(Path(result["folder"], "passes").read_text())
    return passes


def faults_of(result: Result) -> list[str]:
    """All that is wrong after a case."""
    if result["error"]:
        return [result["error"]]
    url, folder = result["url"], Path(result["folder"])
    effects = effects_of(folder / "effects")
    counted = dict(rows(url, _COUNTED))
    return [
        *result["torn"],
        *torn(url),
        *([] if counted == EXPECTED else [f"runs: {counted}"]),
        *ended(url),
        *doubled(url),
        *repeated(url, effects),
        *overlapping(effects, LIMITS),
        *unwritten(url, folder / "artifacts"),
    ]


_COUNTED = "SELECT task, COUNT(*) FROM {runs} GROUP BY task"


def test_every_place_is_passed(undisturbed: Mapping[str, int]) -> None:
    """The script leaves no commit point out, so each can be killed at."""
    assert set(undisturbed) >= POINTS


def test_a_kill_at_any_commit_loses_and_doubles_nothing(
    plays: Plays, undisturbed: Mapping[str, int]
) -> None:
    """No committed step runs again, every run ends, none is doubled, an emit is all or nothing."""
    cases = [
        plays.case(f"{place}.{at}", f"{place}:{at}", slow=3.0 if ".renew." in place else 0.0)
        for place in sorted(POINTS)
        for at in chosen(undisturbed[place], f"{place} {plays.name}")
    ]
    results = played(cases)
    killed = {result["place"] for result in results if result["killed"]}
    # How often a pump passes depends on the hour; but each place has killed.
    assert {place.partition(":")[0] for place in killed} == POINTS
    assert len(killed) > 0.7 * len(cases)
    wrong = {result["name"]: faults for result in results if (faults := faults_of(result))}
    told = [
        f"{name}: {faults[0][-1500:]} (and {len(faults) - 1} more)"
        for name, faults in wrong.items()
    ]
    assert not told, f"{len(told)} of {len(cases)}:\n" + "\n".join(told[:8])

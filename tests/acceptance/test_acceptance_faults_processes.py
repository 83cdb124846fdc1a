"""Three worker processes on one run store, while one is killed and one is told to stop."""

import asyncio
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.faults_app import faults
from tests.acceptance.faults_commands import clean
from tests.acceptance.faults_ledger import doubled, effects_of, ended, overlapping, repeated
from tests.acceptance.faults_rows import rows
from turnout import Event, open_turnout

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(200)]

ROOT = Path(__file__).resolve().parents[2]
RUNS = 200
LANES = 8


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A run store that processes share."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'run-store.db'}"
    found: str = request.getfixturevalue("postgres_url")
    return found


def settings(url: str, folder: Path) -> dict[str, str]:
    """What each process is told."""
    return {
        "ORCHESTRATOR_PROVIDER": "local",
        "TURNOUT_DATABASE_URL": url,
        "TURNOUT_ARTIFACTS": str(folder / "artifacts"),
        "TURNOUT_LEASE": "4s",
        "FAULTS_EFFECTS": str(folder / "effects"),
    }


@contextmanager
def workers(number: int, environ: Mapping[str, str]) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Run `turnout work` processes; end those that are left."""
    command = [
        str(Path(sys.executable).with_name("turnout")),
        "work",
        "tests.acceptance.faults_app:faults",
    ]
    started = [subprocess.Popen(command, cwd=ROOT, env=clean(environ)) for _ in range(number)]
    try:
        yield started
    finally:
        for each in started:
            each.kill()
            each.wait()


async def emit(url: str, folder: Path) -> None:
    """Emit all runs, as a process that takes no part in the work."""
    at_runs, at_steps = RUNS * 3 // 5, RUNS * 2 // 5
    lanes = [{"lane": str(number % LANES)} for number in range(at_runs)]
    events = [
        Event(name="faults/unhurried", key="unhurried"),
        *(Event(name="faults/limited", payload=each) for each in lanes),
        *(Event(name="faults/stepwise", payload=each) for each in lanes[: at_steps - 1]),
    ]
    async with open_turnout(faults, settings(url, folder), serve=False) as live:
        await live.orchestrator.emit(*events)


def wait_for(seconds: float, until: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.2)


def test_processes_share_the_work_and_survive_each_other(url: str, tmp_path: Path) -> None:
    """Nothing is doubled and limits are kept while one is killed and one is told to stop."""
    asyncio.run(emit(url, tmp_path))
    effects = tmp_path / "effects"

    def begun() -> list[int]:
        found = effects_of(effects) if effects.exists() else []
        return [each["pid"] for each in found if each["what"] == "begin" and "lane" not in each]

    def ended_runs() -> int:
        return int(rows(url, "SELECT COUNT(*) FROM {runs} WHERE ended_at IS NOT NULL")[0][0])

    with workers(3, settings(url, tmp_path)) as started:
        wait_for(90, lambda: bool(begun()) and ended_runs() > RUNS // 10)
        (unhurried,) = begun()
        stopped = next(each for each in started if each.pid == unhurried)
        killed = next(each for each in started if each is not stopped)
        killed.send_signal(signal.SIGKILL)
        stopped.send_signal(signal.SIGTERM)
        assert stopped.wait(40) == 0
        wait_for(90, lambda: ended_runs() == RUNS)
        assert killed.wait(5) == -signal.SIGKILL
    found = effects_of(effects)
    assert ended(url) == []
    assert doubled(url) == []
    assert repeated(url, found) == []
    assert overlapping(found, {"run": 1, "step": 2}) == []
    tries = [row[0] for row in rows(url, _TRIES)]
    assert tries == ["interrupted", "completed"], "an interruption is not one of its one try"
    assert len({each["pid"] for each in found}) > 1, "they share the work"
    states = Counter(row[0] for row in rows(url, "SELECT state FROM {attempts}"))
    assert set(states) <= {"completed", "lost", "interrupted"}


_TRIES = (
    "SELECT state FROM {attempts} WHERE run_id IN"
    " (SELECT run_id FROM {runs} WHERE task = 'unhurried') ORDER BY number"
)

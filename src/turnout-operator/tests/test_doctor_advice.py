"""The doctor names the worst, says where it is, and asks only for what is needed."""

from pathlib import Path
from typing import Any

import pytest
from turnout_operator.doctor.check import Check, Health
from turnout_operator.doctor.examine import advice, examine, is_remote, worst_first

OK = Check(name="app", health=Health.OK, text="well")
WARN = Check(name="replicas", health=Health.WARN, text="none", fix="start the service")
FAIL = Check(name="run store", health=Health.FAIL, text="away", fix="start the database")
UNFIXED = Check(name="through x", health=Health.FAIL, text="no answer in 45 s")


@pytest.mark.parametrize(
    ("checks", "first", "next_step"),
    [
        ([OK, WARN, FAIL], FAIL, "start the database"),
        ([OK, WARN], WARN, "start the service"),
        ([WARN, UNFIXED], UNFIXED, "see to through x: no answer in 45 s"),
        ([OK], OK, "turnout emit NAME"),
    ],
)
def test_the_worst_comes_first(checks: list[Check], first: Check, next_step: str) -> None:
    """In the table, and in the line below it."""
    assert worst_first(checks)[0] is first
    assert advice(checks).startswith(next_step)


class Remote:
    """A caller whose vendor calls the step endpoint, and nothing else."""

    name = "remote"


class InProcess:
    """A caller that serves what its vendor calls."""

    name = "in-process"
    mount = "/vendor"

    def asgi(self) -> None:
        """Serve it."""


class WithWorker(InProcess):
    """A caller that serves something, and whose vendor runs a worker."""

    name = "with-worker"

    async def probe(self, _patience: float) -> list[str]:
        """Have the worker look."""
        return []


class Embedded(Remote):
    """The provider in our own process."""

    name = "local"


@pytest.mark.parametrize(
    ("caller", "remote"),
    [(Remote(), True), (InProcess(), False), (WithWorker(), True), (Embedded(), False)],
)
def test_who_calls_the_step_endpoint(caller: Any, *, remote: bool) -> None:
    """Only for such a provider are signing keys asked for."""
    assert is_remote(caller) is remote


async def test_a_store_that_refuses_is_a_check_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of the adapters, whose settings have nothing to do with it."""
    lines = ["from turnout import app", "first = app('first')", "second = app('second')"]
    (tmp_path / "two_apps_here.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    environ = {
        "ORCHESTRATOR_PROVIDER": "local",
        "TURNOUT_DATABASE_URL": f"sqlite:///{tmp_path}/runs.db",
        "TURNOUT_ARTIFACTS": "none",
    }
    await examine(environ, "two_apps_here:first")
    checks = await examine(environ, "two_apps_here:second")
    (failed,) = [check for check in checks if check.health is Health.FAIL]
    assert failed.name == "run store"
    assert "belongs to the app" in failed.text
    assert "TURNOUT_DATABASE_URL" in failed.fix

"""Outages in mid-run: of the service, of its clock, of the server, of the server's memory."""

import asyncio
from pathlib import Path
from typing import Any

import inngest_tasks
import pytest
from inngest_lab import serving
from inngest_stage import Stage, ended, kill, start, stop, until

import turnout
from turnout import Turnout
from turnout.model.reports import RunReport
from turnout.model.status import ParkReason, RunStatus, StepKind
from turnout.model.time import Millis
from turnout.service.clock import SystemClock

PATIENCE = 240.0


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A stage without anything on it, and a folder for what steps note."""
    notes = tmp_path / "notes"
    notes.mkdir()
    monkeypatch.setenv("NOTES", str(notes))
    return Stage(tmp_path)


def noted(stage: Stage, name: str) -> int:
    """How often a step's body was begun."""
    path = stage.folder / "notes" / name
    return len(path.read_text()) if path.exists() else 0


async def begun(stage: Stage, *names: str) -> bool | None:
    """Whether those bodies have been begun."""
    await asyncio.sleep(0)
    return all(noted(stage, each) for each in names) or None


async def parked(live: Turnout, run_id: str) -> bool | None:
    """Whether the run sleeps, or waits for its event: it is parked for its steps, too."""
    run = (await live.orchestrator.status(run_id)).journal.run
    return any(reason in run.parked_for for reason in (ParkReason.SLEEP, ParkReason.EVENT)) or None


async def go_on(live: Turnout, who: str) -> None:
    """Emit what runs at rest wait for, behind their sleep."""
    await live.orchestrator.emit(turnout.Event(name="said/go-on", payload={"who": who}))


def good(report: RunReport) -> dict[str, list[str]]:
    """What became of the attempts of a run that ended well."""
    assert report.journal.run.state is RunStatus.COMPLETED, report.journal.run
    attempts = report.journal.attempts
    return {step: [each.state.value for each in tries] for step, tries in attempts.items()}


async def test_a_gap_between_two_deployments(stage: Stage) -> None:
    """For half a minute nobody answers: no declared try is spent, and nothing ended runs again."""
    gap = 32.0 if stage.real else 4.0
    live = turnout.open_turnout(inngest_tasks.everything, stage.environ, serve=False)
    async with stage.server(), live:
        old = await stage.start_service()
        work = await start(live, "do/at-work", {"who": "w"})
        rest = await start(live, "do/at-rest", {"who": "r"})
        await until(lambda: begun(stage, "w-second", "r-first"), PATIENCE)
        await stop(old)
        meanwhile = await start(live, "do/at-work", {"who": "m"})
        await asyncio.sleep(gap)
        new = await stage.start_service()
        await until(lambda: _waiting(live, rest), PATIENCE)
        await go_on(live, "r")
        found = [await ended(live, each, PATIENCE) for each in (work, rest, meanwhile)]
        await kill(new)
    once = {"first": ["completed"], "third": ["completed"]}
    for report in (found[0], found[2]):
        tries = good(report)
        assert {"interrupted"} >= set(tries.pop("second")[:-1]), "an end of the process counts not"
        assert tries == once
    assert good(found[1]) == {"first": ["completed"], "second": ["completed"]}
    names = ("w-first", "w-third", "r-first", "r-second", "m-first", "m-second", "m-third")
    assert [noted(stage, each) for each in names] == [1] * len(names)


class TurnedClock:
    """The system's clock, until somebody turns it."""

    def __init__(self) -> None:
        self.turned: Millis = 0
        self._clock = SystemClock()

    def now(self) -> Millis:
        """Tell the time."""
        return self._clock.now() + self.turned

    async def sleep(self, duration: Millis) -> None:
        """Sleep as long as it is."""
        await self._clock.sleep(duration)


@pytest.mark.parametrize("way", [1, -1], ids=["on", "back"])
async def test_the_services_clock_is_turned_in_mid_run(stage: Stage, way: int) -> None:
    """By a minute: steps under way are not lost, nothing runs twice, and everything ends."""
    minute = 60_000 if stage.real else 10_000
    clock = TurnedClock()
    live = turnout.open_turnout(inngest_tasks.everything, stage.environ, clock=clock)
    async with stage.server(), serving(turnout.asgi(live), stage.service_port):
        await until(lambda: _ready(live))
        work = await start(live, "do/at-work", {"who": "w"})
        rest = await start(live, "do/at-rest", {"who": "r"})
        await until(lambda: begun(stage, "w-second", "r-first"), PATIENCE)
        clock.turned = way * minute
        await until(lambda: _waiting(live, rest), PATIENCE)
        await go_on(live, "r")
        after = await start(live, "do/at-work", {"who": "a"})
        for run_id in (work, rest, after):
            tries = good(await ended(live, run_id, PATIENCE))
            assert set(map(tuple, tries.values())) == {("completed",)}
        names = [path.name for path in (stage.folder / "notes").iterdir()]
        assert {noted(stage, each) for each in names} == {1}


async def test_the_server_is_killed_in_mid_step(stage: Stage) -> None:
    """Its call ends in nothing, and comes again after its restart: the step has run once."""
    async with stage.server(), stage.service(inngest_tasks.everything) as live:
        work = await start(live, "do/at-work", {"who": "w"})
        rest = await start(live, "do/at-rest", {"who": "r"})
        await until(lambda: begun(stage, "w-second", "r-first"), PATIENCE)
        await until(lambda: parked(live, rest), PATIENCE)
        await stage.kill_server()
        await asyncio.sleep(5.0)
        await go_on(live, "too early")
        await stage.start_server()
        await until(lambda: _waiting(live, rest), PATIENCE)
        await go_on(live, "r")
        for run_id in (work, rest):
            tries = good(await ended(live, run_id, PATIENCE))
            assert set(map(tuple, tries.values())) == {("completed",)}
        names = ("w-first", "w-second", "w-third", "r-first", "r-second")
        assert [noted(stage, each) for each in names] == [1] * len(names)


async def test_a_server_that_forgets_its_queue(stage: Stage) -> None:
    """It calls the runs running for ever, and never calls: they are delivered again, and stopped.

    That is what a self-hosted server does that loses its Redis, or has none.
    """
    if stage.real is None:
        pytest.skip("the double's queue and its runs are one")
    quick = {"TURNOUT_SILENCE": "5s"}
    async with stage.server(), stage.service(inngest_tasks.everything, **quick) as live:
        work = await start(live, "do/at-work", {"who": "w"})
        rest = await start(live, "do/at-rest", {"who": "r"})
        await until(lambda: begun(stage, "w-second", "r-first"), PATIENCE)
        await until(lambda: parked(live, rest), PATIENCE)
        await stage.kill_server()
        await stage.make_forget()
        await stage.start_server()
        await until(lambda: _waiting(live, rest), PATIENCE)
        await go_on(live, "r")
        for run_id in (work, rest):
            report = await ended(live, run_id, PATIENCE)
            tries = good(report)
            assert set(map(tuple, tries.values())) == {("completed",)}
            assert len(report.deliveries) > 1
            await until(lambda old=report.deliveries[0]: _stopped(live, old), PATIENCE)
        names = ("w-first", "w-second", "w-third", "r-first", "r-second")
        assert [noted(stage, each) for each in names] == [1] * len(names)


async def _waiting(live: Turnout, run_id: str) -> bool | None:
    """Whether a run at rest has come behind its sleep."""
    steps = (await live.orchestrator.status(run_id)).journal.steps
    return any(each.kind is StepKind.EVENT for each in steps.values()) or None


async def _stopped(live: Turnout, delivery: Any) -> bool | None:
    state = (await live.callers["inngest"].look(delivery)).state
    return (state is None or state.terminal) or None


async def _ready(live: Turnout) -> bool | None:
    return live.registrar.ready("inngest") or None

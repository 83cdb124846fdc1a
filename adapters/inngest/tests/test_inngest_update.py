"""An update of the service, from the version before to today's, while runs wait at the vendor."""

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import parked_tasks
import pytest
from inngest_stage import Stage, ended, kill, stop, until
from previous_version import previous_environ

import turnout
from turnout import Event, Turnout
from turnout.model.status import RunStatus, StepKind

TESTS = Path(__file__).parent
PATIENCE = 240.0
ONCE = {
    *("sleeping-first", "sleeping-second", "failed-once-first"),
    *(f"{who}-{step}" for who in "wplq" for step in ("first", "second")),
    *("abreast-beside", "abreast-behind", "abreast-joined", "parent-last", "s-first"),
    *("adopted-first", "adopted-second"),
}
"""The steps that run once, over both versions."""
BEFORE = {
    *("sleeping-first", "failed-once-first", "failed-once-shaky", "abreast-beside"),
    *("w-first", "p-first", "l-first", "s-first", "adopted-first"),
}
"""The steps that the version before runs."""


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A stage without anything on it, and a folder for what steps note."""
    notes = tmp_path / "notes"
    notes.mkdir()
    monkeypatch.setenv("NOTES", str(notes))
    stage = Stage(tmp_path)
    # The vendor gives up after 21 calls: on a busy machine a service takes long to start.
    stage.options = ("--retry-interval", "5")
    return stage


@pytest.mark.timeout(400)
@pytest.mark.parametrize("end", [stop, kill], ids=["stopped", "killed"])
async def test_runs_that_the_version_before_parked_end_on_this_one(stage: Stage, end: Any) -> None:
    """Each ends in the vendor run that it began in, and no step of it runs twice."""
    async with stage.server(), contextlib.AsyncExitStack() as services:
        old = await _serve(stage, previous_environ())
        services.push_async_callback(kill, old)
        runs = await _start(stage, previous_environ())
        await until(lambda: _all_wait(stage, len(runs)), PATIENCE)
        await end(old)
        services.push_async_callback(kill, await _serve(stage, dict(os.environ)))
        environ = {**os.environ, **stage.environ}
        async with turnout.open_turnout(parked_tasks.app, environ, serve=False) as live:
            await _answer(live, runs["queued"])
            found = {name: await ended(live, run_id, PATIENCE) for name, run_id in runs.items()}
    states = {name: report.journal.run.state for name, report in found.items()}
    assert states.pop("stoppable") is RunStatus.CANCELLED
    assert set(states.values()) == {RunStatus.COMPLETED}, states
    assert {name: len(report.deliveries) for name, report in found.items()} == dict.fromkeys(
        found, 1
    )
    assert _notes(stage) == {**dict.fromkeys(ONCE, 1), "failed-once-shaky": 2}


async def _serve(stage: Stage, environ: dict[str, str]) -> asyncio.subprocess.Process:
    options = ("--port", str(stage.service_port), "--log-level", "error")
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "--factory", "parked_tasks:service", *options),
        *("--timeout-graceful-shutdown", "1"),
        cwd=TESTS,
        env={**environ, **stage.environ},
    )


async def _start(stage: Stage, environ: dict[str, str]) -> dict[str, str]:
    """Start the runs; their ids by name."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "parked_tasks.py"),
        cwd=TESTS,
        env={**environ, **stage.environ},
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    found: dict[str, str] = json.loads(printed)
    return found


async def _all_wait(stage: Stage, started: int) -> bool | None:
    """Whether every step has run that should, and every vendor run has come to an open wait."""
    await asyncio.sleep(0.5)
    if set(_notes(stage)) != BEFORE:
        return None
    listed = (await stage.api.get("/v2/runs", params={"limit": 100})).json().get("data", [])
    if len(listed) <= started:
        return None
    traces = [await stage.api.get(f"/v2/runs/{each['id']}/trace") for each in listed]
    return all(_waits(each.json()["data"]["rootSpan"]) for each in traces) or None


def _waits(root: dict[str, Any]) -> bool:
    """Whether the run's last step is a wait that has not ended."""
    waits = [each for each in root.get("children", ()) if "endedAt" not in each]
    return bool(waits) and all(each.get("stepOp") in {"SLEEP", "WAIT_FOR_EVENT"} for each in waits)


async def _answer(live: Turnout, queued: str) -> None:
    """Emit what the runs wait for; the one that waited for its place comes to wait after that."""
    for who in "waldp":
        await live.orchestrator.emit(Event(name="parked/go", payload={"who": who}))
    await live.orchestrator.emit(Event(name="parked/stop", payload={"who": "s"}))

    async def waits() -> bool | None:
        steps = (await live.orchestrator.status(queued)).journal.steps
        return any(step.kind is StepKind.EVENT for step in steps.values()) or None

    await until(waits, PATIENCE)
    await live.orchestrator.emit(Event(name="parked/go", payload={"who": "q"}))


def _notes(stage: Stage) -> dict[str, int]:
    return {each.name: len(each.read_text()) for each in (stage.folder / "notes").iterdir()}

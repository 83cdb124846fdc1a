"""What users' tests are given: a task run with its time skipped."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from turnout_testing import InTurn, TaskRun, TurnableClock, run_task

from turnout.model.events import Event
from turnout.model.policies import Retries
from turnout.model.status import RunStatus
from turnout.model.tasks import App, app, task


def fetch(url: str) -> str:
    """Do what no test should."""
    raise AssertionError(url)


@task("child", on="child/asked")
async def child(ctx: Any, payload: dict[str, int]) -> Any:
    """Double a number, after a while."""
    await ctx.sleep("think", "10m")
    return payload["n"] * 2


@task("t", on="go", retries=Retries(min_delay="30s", max_delay="1h"))
async def journey(ctx: Any, payload: dict[str, Any]) -> Any:
    """Use everything."""
    page = await ctx.step("fetch", fetch, payload["url"])
    await ctx.sleep("nap", "2d")
    paid = await ctx.wait_for_event("paid", match="payload.url", timeout="1d")
    number = await ctx.invoke(child, {"n": 4})
    await ctx.emit("done", {"page": page})
    return [page, paid, number]


async def test_a_task_runs_with_its_time_skipped() -> None:
    """Days pass in no time; events come when they are waited for; children run too."""
    ran = await run_task(
        journey,
        {"url": "u"},
        steps={"fetch": InTurn(OSError("503"), lambda url: f"page of {url}")},
        events=[("paid", {"url": "other"}), ("paid", {"url": "u", "sum": 5})],
        beside=[child],
    )
    assert ran.state is RunStatus.COMPLETED
    assert ran.result == ["page of u", {"url": "u", "sum": 5}, 8]
    assert ran.attempts == {"fetch": 2}
    assert ran.emitted == (("done", {"page": "page of u"}),)
    assert ran.steps["fetch"] == "page of u"
    assert ran.took == 30_000 + 2 * 86_400_000 + 600_000


async def test_an_event_that_never_comes_times_out() -> None:
    """Without the event the wait gives None after its timeout."""
    ran = await run_task(journey, {"url": "u"}, steps={"fetch": "page"}, beside=[child])
    assert ran.result == ["page", None, 8]


async def test_an_event_may_have_a_time() -> None:
    """An event with `at` comes then, not before; too late is too late."""
    clock = TurnableClock()
    late = Event(name="paid", payload={"url": "u"}, at=datetime(2026, 6, 1, tzinfo=UTC))
    ran = await run_task(
        journey, {"url": "u"}, steps={"fetch": "p"}, events=[late], beside=[child], clock=clock
    )
    assert ran.result == ["p", None, 8]


async def test_a_failure_is_told() -> None:
    """A stand-in may be an exception; the run fails as it would."""
    ran = await run_task(journey, {"url": "u"}, steps={"fetch": ValueError("no")}, beside=[child])
    assert ran.state is RunStatus.FAILED
    assert ran.error is not None
    assert ran.error.name == "StepFailed"
    assert ran.attempts == {"fetch": 3}


async def test_stand_ins_that_are_not_used_are_an_error() -> None:
    """A misspelt step id does not pass in silence."""
    with pytest.raises(AssertionError, match="fetsch"):
        await run_task(journey, {"url": "u"}, steps={"fetch": "p", "fetsch": "p"}, beside=[child])


def test_a_sync_test_uses_the_fixture(run_task: Callable[..., TaskRun]) -> None:
    """The fixture needs no event loop."""
    assert run_task(child, {"n": 2}).result == 4


async def test_the_fixture_works_below_a_loop_too(run_task: Callable[..., TaskRun]) -> None:
    """It has a thread of its own."""
    assert run_task(child, {"n": 3}).result == 6


async def test_a_store_is_given(turnout_store: Any) -> None:
    """The store is in memory and empty."""
    assert await turnout_store.due.next_due() is None


@pytest.fixture
def turnout_app() -> App:
    """Name the app under test."""
    return app("shop", child)


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A team's own configuration, in all the places where there may be one; gives its store."""
    project, store = tmp_path / "project", tmp_path / "store"
    project.mkdir()
    (project / ".env").write_text(f"TURNOUT_ARTIFACTS={store}\n")
    (project / "turnout.toml").write_text(f'TURNOUT_DATABASE_URL = "sqlite:///{store}/runs.db"\n')
    monkeypatch.chdir(project)
    monkeypatch.setenv("TURNOUT_ARTIFACTS", str(store))
    return store


async def test_a_test_writes_nothing_into_a_configured_store(
    configured: Path, turnout_orchestrator: Any, tmp_path: Path
) -> None:
    """Its artifacts are in the test's own folder, whatever the environment and the files say."""
    async with turnout_orchestrator as live:
        [emitted] = await live.orchestrator.emit(Event(name="child/asked", payload={"n": 1}))
        status = tmp_path / "artifacts" / "runs" / emitted.runs[0].run_id / "status.json"
        async with asyncio.timeout(60):
            while not status.exists():
                await asyncio.sleep(0.02)
    assert not configured.exists()


async def test_an_orchestrator_is_given(turnout_orchestrator: Any) -> None:
    """The app runs on the provider memory, for real."""
    async with turnout_orchestrator as live:
        [emitted] = await live.orchestrator.emit(Event(name="child/asked", payload={"n": 1}))
        report = await live.orchestrator.status(emitted.runs[0].run_id)
        assert report.journal.run.task == "child"

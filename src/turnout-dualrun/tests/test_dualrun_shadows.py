"""Shadows: fed to the last one, harmless to their primaries, and never running a step."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from turnout_dualrun.feeder import Feeder, FeedTiming, reason_of
from turnout_dualrun.recordings import Recordings, weight
from turnout_testing.clock import TurnableClock

from turnout import Context, Event, Turnout, app, open_turnout, task
from turnout.errors import UnknownRun
from turnout.model.canonical import canonical_bytes
from turnout.model.protocol import Advance
from turnout.model.runs import Run
from turnout.model.status import RunStatus
from turnout.model.tasks import App
from turnout.model.time import as_datetime

KEY = "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
CALLS: list[str] = []


def body() -> str:
    """Write down that a step's function was called."""
    CALLS.append("called")
    return "output"


@task("steps", on="steps/go")
async def steps(ctx: Context, _payload: dict[str, Any]) -> str:
    """Call one step."""
    return await ctx.step("one", body)


@task("gone", on="gone/go")
async def gone(_ctx: Context, _payload: dict[str, Any]) -> None:
    """End at once."""


BOTH, NEW = app("dual", steps, gone), app("dual", steps)


@pytest.fixture
def settings(tmp_path: Path, made_up_adapters: None) -> dict[str, str]:
    """Settings of a dual run whose vendors refuse connections."""
    CALLS.clear()
    return {
        "TURNOUT_DATABASE_URL": f"sqlite:///{tmp_path}/t.db",
        "TURNOUT_ARTIFACTS": f"{tmp_path}/artifacts",
        "TURNOUT_SERVICE_URL": "http://127.0.0.1:1",
        "TURNOUT_SIGNING_KEYS": KEY,
        "ACME_URL": "http://127.0.0.1:9",
        "ACME_KEY": "right",
        "BOLT_URL": "http://127.0.0.1:9",
        "BOLT_KEY": "right",
        "ORCHESTRATOR_PROVIDER": "dual",
        "ORCHESTRATOR_PRIMARY": "acme",
        "ORCHESTRATOR_SHADOW": "bolt",
    }


@pytest.fixture
def clock() -> TurnableClock:
    """Give a clock that the test turns."""
    return TurnableClock()


@pytest.fixture
async def live(settings: dict[str, str], clock: TurnableClock) -> AsyncIterator[Turnout]:
    """A dual run that neither pumps nor feeds by itself."""
    async with open_turnout(BOTH, settings, clock=clock, serve=False) as opened:
        yield opened


def feeder(live: Turnout, clock: TurnableClock, known: App = BOTH) -> Feeder:
    """A feeder of a replica that has just started."""
    assert live.shadow is not None
    return Feeder(
        primaries=live.store,
        shadows=live.shadow.store,
        app=known,
        clock=clock,
        timing=FeedTiming(lag=1_000),
    )


async def fed(live: Turnout, clock: TurnableClock, known: App = BOTH) -> None:
    """Start a feeder anew, and have it look once."""
    begun = feeder(live, clock, known)
    await begun._resume()
    await begun.feed_due()


async def emit(live: Turnout, name: str = "steps/go", **values: Any) -> str:
    """Start a primary."""
    (emitted,) = await live.orchestrator.emit(Event(name=name, payload={}, **values))
    return emitted.runs[0].run_id


async def shadow(live: Turnout, run_id: str) -> Run | None:
    """Read a primary's shadow."""
    assert live.shadow is not None
    try:
        return (await live.shadow.store.journals.load(f"{run_id}-dryrun")).run
    except UnknownRun:
        return None


async def advanced(live: Turnout, run_id: str, provider_run_id: str = "vendor") -> Any:
    """Run a run to its next wait, as its vendor's run does."""
    call = Advance(task="steps", run_id=run_id, delivery=1, provider_run_id=provider_run_id)
    return await live.runs_on.run_on(call)


async def test_a_delayed_primary_has_its_shadow_after_a_restart(
    live: Turnout, clock: TurnableClock
) -> None:
    """However many primaries came after it, a delayed one is found again."""
    at = as_datetime(clock.now()) + timedelta(hours=2)
    delayed = await emit(live, at=at)
    for _ in range(21):
        events = [Event(name="gone/go", payload={}) for _ in range(100)]
        await live.orchestrator.emit(*events)
    await clock.advance("5s")
    await fed(live, clock)
    assert await shadow(live, delayed) is None
    await clock.advance("3h")
    await fed(live, clock)
    assert await shadow(live, delayed) is not None


async def test_a_late_shadow_is_late_from_its_first_commit(
    live: Turnout, clock: TurnableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A feeder that dies right after it recorded a late shadow leaves it late, not queued."""
    assert live.shadow is not None
    run_id = await emit(live)
    await clock.advance("5s")

    async def die(*_args: Any) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(live.shadow.store.deliveries, "mark_stopped", die)
        with pytest.raises(asyncio.CancelledError):
            await fed(live, clock)
    await fed(live, clock)
    found = await shadow(live, run_id)
    assert found is not None
    assert (found.state, reason_of(found)) == (RunStatus.CANCELLED, "late")


async def test_a_cancel_is_repeated_after_a_restart(live: Turnout, clock: TurnableClock) -> None:
    """A primary's cancel reaches its shadow though the feeder that planned it is gone."""
    run_id = await emit(live)
    await clock.advance("500ms")
    await live.orchestrator.cancel(run_id)
    await clock.advance("600ms")
    await fed(live, clock)
    found = await shadow(live, run_id)
    assert found is not None
    assert found.state is RunStatus.QUEUED
    await clock.advance("5s")
    await fed(live, clock)
    found = await shadow(live, run_id)
    assert found is not None
    assert found.state is RunStatus.CANCELLED


async def test_a_primary_of_an_unknown_task_stops_no_shadow(
    live: Turnout, clock: TurnableClock
) -> None:
    """A primary of a task that this replica lacks is set aside, and later ones are fed."""
    first, later = await emit(live, "gone/go"), await emit(live)
    await clock.advance("5s")
    await fed(live, clock, NEW)
    aside = await shadow(live, first)
    assert aside is not None
    assert reason_of(aside) == "unsupported"
    assert await shadow(live, later) is not None


async def test_a_replay_shadow_calls_no_step_function(live: Turnout, clock: TurnableClock) -> None:
    """A shadow ends as its primary did, with the recorded outputs, and the bodies were not run."""
    run_id = await emit(live)
    await advanced(live, run_id)
    await clock.advance("5s")
    await fed(live, clock)
    assert CALLS == ["called"]
    before = await live.store.journals.load(run_id)
    await advanced(live, f"{run_id}-dryrun")
    found = await shadow(live, run_id)
    assert found is not None
    assert (found.state, found.result) == (RunStatus.COMPLETED, canonical_bytes("output"))
    assert CALLS == ["called"]
    assert await live.store.journals.load(run_id) == before


@pytest.mark.parametrize("hanging", [False, True])
async def test_a_shadows_store_that_fails_or_hangs_does_not_touch_the_primary(
    live: Turnout, clock: TurnableClock, monkeypatch: pytest.MonkeyPatch, *, hanging: bool
) -> None:
    """While a shadow's store fails or hangs, a primary is emitted, runs and ends as ever."""
    assert live.shadow is not None

    async def broken(*_args: Any, **_options: Any) -> Any:
        if hanging:
            await asyncio.Event().wait()
        raise sqlite3.OperationalError("disk I/O error")

    store = live.shadow.store
    for part, name in (
        (store.events, "emit"),
        (store.journals, "load"),
        (store.journals, "apply"),
        (store.runs, "find"),
        (store.deliveries, "claim"),
    ):
        monkeypatch.setattr(part, name, broken)
    feeding = feeder(live, clock)
    feeding.start()
    first = await emit(live)
    await clock.advance("5s")
    stuck = asyncio.create_task(advanced(live, f"{first}-dryrun"))
    async with asyncio.timeout(10):
        await advanced(live, first)
        second = await emit(live)
        await advanced(live, second)
    assert [(await live.store.journals.load(each)).run.state for each in (first, second)] == [
        RunStatus.COMPLETED,
        RunStatus.COMPLETED,
    ]
    await feeding.close()
    stuck.cancel()
    await asyncio.gather(stuck, return_exceptions=True)


async def test_recordings_are_bounded_by_their_bytes(live: Turnout) -> None:
    """What is kept of primaries stays within its bytes, however large each is."""
    runs = [await emit(live) for _ in range(5)]
    one = weight(await live.store.journals.load(runs[0]))
    recordings = Recordings(live.store.journals, limit=2 * one)
    for each in (*runs, *runs):
        await recordings.fetch(each)
        assert recordings.cached_bytes <= 2 * one
        assert json.loads((await recordings.fetch(each)).run.payload) == {}

"""The history of a run: each change of its state says who or what made it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from turnout import CancelOn, Context, Event, Timeouts, Turnout, app, open_turnout, task
from turnout.model.runs import RunFilter
from turnout.model.status import TransitionCause


@task("child")
async def child(ctx: Context, _payload: Any) -> None:
    """Wait."""
    await ctx.sleep("long", "1h")


@task("waits", on="do/wait", cancel_on=CancelOn(event="stop/wait"))
async def waits(ctx: Context, _payload: Any) -> None:
    """Wait for a child."""
    await ctx.invoke(child)


@task("late", on="do/late", timeouts=Timeouts(run="50ms"))
async def late(ctx: Context, _payload: Any) -> None:
    """Wait for too long."""
    await ctx.sleep("long", "1h")


@task("quick", on="do/quick")
async def quick(_ctx: Context, _payload: Any) -> None:
    """End."""


@pytest.fixture
async def live() -> AsyncIterator[Turnout]:
    """Serve the app."""
    settings = {"ORCHESTRATOR_PROVIDER": "memory"}
    async with open_turnout(app("history", child, waits, late, quick), settings) as opened:
        yield opened


async def start(live: Turnout, name: str) -> str:
    """Start a run; gives its id."""
    (emitted,) = await live.orchestrator.emit(Event(name=name))
    return emitted.runs[0].run_id


async def history(live: Turnout, run_id: str, length: int) -> list[tuple[str, str | None, Any]]:
    """Wait for so many changes, and give (state, cause, actor) of each."""
    while len(changes := await live.store.journals.transitions(run_id)) < length:
        await live.clock.sleep(10)
    return [(change.state.value, change.cause, change.actor) for change in changes]


async def emit_of(live: Turnout, run_id: str) -> tuple[str, str, str]:
    """Give the first change of a run."""
    event_id = (await live.store.journals.load(run_id)).run.event_id
    return "queued", TransitionCause.EMIT, event_id


BEGUN = ("running", TransitionCause.CALL, None)


async def test_a_run_that_ends_by_itself_says_so(live: Turnout) -> None:
    """Its event, then its own calls."""
    run_id = await start(live, "do/quick")
    ended = ("completed", TransitionCause.CALL, None)
    assert await history(live, run_id, 3) == [await emit_of(live, run_id), BEGUN, ended]


async def test_a_deadline_says_so(live: Turnout) -> None:
    """Nobody acted."""
    changes = await history(live, await start(live, "do/late"), 3)
    assert changes[-1] == ("timed_out", TransitionCause.DEADLINE, None)


async def test_a_cancel_says_who_and_its_children_say_which_run(live: Turnout) -> None:
    """Whoever cancels may say so."""
    run_id = await start(live, "do/wait")
    while not (children := await live.store.runs.find(RunFilter(task="child"))):
        await live.clock.sleep(10)
    await live.orchestrator.cancel(run_id, by="olha: wrong order")
    changes = await history(live, run_id, 3)
    assert changes[-1] == ("cancelled", TransitionCause.CANCEL, "olha: wrong order")
    (*_, end) = await live.store.journals.transitions(children[0].run_id)
    assert (end.cause, end.actor) == (TransitionCause.PARENT, run_id)


async def test_an_event_that_cancels_is_named(live: Turnout) -> None:
    """By its id."""
    run_id = await start(live, "do/wait")
    await history(live, run_id, 2)
    (emitted,) = await live.orchestrator.emit(Event(name="stop/wait"))
    changes = await history(live, run_id, 3)
    assert changes[-1] == ("cancelled", TransitionCause.EVENT, emitted.event_id)

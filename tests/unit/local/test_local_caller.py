"""The embedded caller: a task means on it what it means on a vendor, and it outlives its tasks."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from turnout import App, Context, Event, Schedule, Turnout, app, open_turnout, task
from turnout.errors import TurnoutError
from turnout.model.runs import Run, RunFilter
from turnout.model.status import RunStatus
from turnout.model.tasks import Task

MANY = 70
"""More runs at once than there are callers."""
PATIENCE = 120.0

EVERY = Schedule(id="yearly", task="plain", cron="@yearly")

Opened = Callable[..., Any]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Opened]:
    """Open apps on `local`, with their journal in a file, and close them."""
    lives: list[Turnout] = []

    async def new(*tasks: Task) -> Turnout:
        made: App = app("called", *tasks, plain)
        settings = {
            "ORCHESTRATOR_PROVIDER": "local",
            "TURNOUT_DATABASE_URL": f"sqlite:///{tmp_path}/runs.db",
            "TURNOUT_ARTIFACTS": "none",
        }
        lives.append(open_turnout(made, settings))
        await lives[-1].__aenter__()
        return lives[-1]

    yield new
    for live in lives:
        await live.__aexit__(None, None, None)


@task("plain", on="plain/go")
async def plain(ctx: Context, _payload: dict[str, Any]) -> int:
    """Do one step."""
    return await ctx.step("one", one)


async def one() -> int:
    """Give way to other runs, and give one."""
    await asyncio.sleep(0.01)
    return 1


async def test_the_provider_says_what_the_run_store_says(opened: Opened) -> None:
    """It is in our own process: a run that has ended is not said to run."""
    live = await opened()
    (emitted,) = await live.orchestrator.emit(Event(name="plain/go", payload={}))
    (run,) = await ended(live, "plain", 1)
    report = await live.orchestrator.status(emitted.runs[0].run_id, look=True)
    assert report.sighting is not None
    assert (report.sighting.state, run.state) == (RunStatus.COMPLETED,) * 2


async def test_a_start_in_the_year_9999_is_refused(opened: Opened) -> None:
    """It is a slip, and as long as nothing else may last."""
    live = await opened()
    for at in (datetime.max.replace(tzinfo=UTC), datetime.now(UTC) + timedelta(days=367)):
        with pytest.raises(TurnoutError, match="at: "):
            await live.orchestrator.emit(Event(name="plain/go", payload={}, at=at))
    soon = datetime.now(UTC) + timedelta(days=365)
    await live.orchestrator.emit(Event(name="plain/go", payload={}, at=soon))


async def ended(live: Turnout, name: str, count: int) -> list[Run]:
    """Start runs by an event's name, all at once, and give them when they have ended."""
    await live.orchestrator.emit(*(Event(name=name, payload={}) for _ in range(count)))
    wanted = RunFilter(task=name.partition("/")[0])
    async with asyncio.timeout(PATIENCE):
        while True:
            found = list(await live.store.runs.find(wanted))
            if len(found) == count and all(each.state.terminal for each in found):
                return found
            await asyncio.sleep(0.02)


async def check_holds(live: Turnout, name: str) -> None:
    """See many runs complete at once, with a body each, and a plain one behind them."""
    runs = await ended(live, name, MANY)
    assert {each.state for each in runs} == {RunStatus.COMPLETED}
    assert [each.state for each in await ended(live, "plain/go", 1)] == [RunStatus.COMPLETED]


async def test_a_timeout_around_a_step_cuts_neither_the_step_nor_the_caller(
    opened: Opened,
) -> None:
    """A step outlasts `asyncio.timeout` around it, on every provider; its body runs once."""
    bodies = 0

    async def slow() -> int:
        nonlocal bodies
        bodies += 1
        await asyncio.sleep(0.2)
        return 1

    @task("timed", on="timed/go")
    async def timed(ctx: Context, _payload: dict[str, Any]) -> int:
        async with asyncio.timeout(0.05):
            return await ctx.step("slow", slow)

    await check_holds(await opened(timed), "timed/go")
    assert bodies == MANY


async def test_a_lock_of_asyncio_may_be_held_across_a_step(opened: Opened) -> None:
    """It is let go of where the function is closed, so that runs of one process do not meet."""
    lock = asyncio.Lock()

    @task("locked", on="locked/go")
    async def locked(ctx: Context, _payload: dict[str, Any]) -> int:
        async with lock:
            return await ctx.step("one", one)

    await check_holds(await opened(locked), "locked/go")


async def test_a_lock_of_threads_may_be_held_across_a_step(opened: Opened) -> None:
    """It never holds up the loop: nothing is suspended while it is held."""
    lock = threading.Lock()

    @task("locked", on="locked/go")
    async def locked(ctx: Context, _payload: dict[str, Any]) -> int:
        with lock:
            return await ctx.step("one", one)

    await check_holds(await opened(locked), "locked/go")


async def test_a_scope_of_anyio_may_be_open_across_a_step(opened: Opened) -> None:
    """It is entered and left in one task."""

    @task("scoped", on="scoped/go")
    async def scoped(ctx: Context, _payload: dict[str, Any]) -> int:
        with anyio.move_on_after(30):
            return await ctx.step("one", one)
        return 0

    await check_holds(await opened(scoped), "scoped/go")


async def test_callers_outlive_functions_that_cancel_them(opened: Opened) -> None:
    """A function that cancels the task it runs in stops no caller: others' runs go on."""

    @task("rude", on="rude/go")
    async def rude(_ctx: Context, _payload: dict[str, Any]) -> int:
        here = asyncio.current_task()
        assert here is not None
        here.cancel()
        return 1

    live = await opened(rude)
    await live.orchestrator.emit(*(Event(name="rude/go", payload={}) for _ in range(MANY)))
    assert [each.state for each in await ended(live, "plain/go", 1)] == [RunStatus.COMPLETED]


async def test_a_function_that_raises_a_cancel_fails(opened: Opened) -> None:
    """CancelledError is an error like any other where nobody stops this process."""

    @task("raising", on="raising/go")
    async def raising(_ctx: Context, _payload: dict[str, Any]) -> int:
        raise asyncio.CancelledError

    live = await opened(raising)
    runs = await ended(live, "raising/go", MANY)
    assert {each.state for each in runs} == {RunStatus.FAILED}
    assert [each.state for each in await ended(live, "plain/go", 1)] == [RunStatus.COMPLETED]


async def test_another_process_reads_which_schedules_tick(tmp_path: Path) -> None:
    """A command asks the run store: what a living replica ticks is armed, without one nothing."""
    made = app("ticked", plain, schedules=(EVERY, replace(EVERY, id="rests", paused=True)))
    settings = {
        "ORCHESTRATOR_PROVIDER": "local",
        "TURNOUT_DATABASE_URL": f"sqlite:///{tmp_path}/runs.db",
        "TURNOUT_ARTIFACTS": "none",
    }
    command = open_turnout(made, settings, serve=False)
    async with command:
        assert list(await command.orchestrator.armed()) == []
        async with open_turnout(made, settings) as replica, asyncio.timeout(PATIENCE):
            while not (found := await command.orchestrator.armed()):
                await asyncio.sleep(0.02)
            assert [(each.id, each.active, each.cron) for each in found] == [
                ("yearly", True, "@yearly")
            ]
            assert found[0].next_at == next(EVERY.slots(command.clock.now()))
            while not replica.registrar.ready("local"):
                await asyncio.sleep(0.02)
            assert [each.id for each in await replica.orchestrator.armed()] == ["yearly"]

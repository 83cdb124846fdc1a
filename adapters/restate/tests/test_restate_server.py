"""The adapter on the vendor's own server: what the suite of behaviours does not ask."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from turnout_restate.api import RestateApi, literal
from turnout_restate.caller import RestateCaller
from turnout_restate.run_loop import LONGEST_NAME, MAX_CALLS, MOST_CHAINED
from turnout_testing.backends import open_backend
from turnout_testing.conformance.world import World

import turnout
from turnout import Context, Event, Schedule
from turnout.model.runs import RunFilter
from turnout.model.status import DeliveryReason, RunStatus

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
_second_step = asyncio.Event()
STEPS = (MAX_CALLS // 2 + 10) * MOST_CHAINED
"""More than an invocation makes, whose calls make as many attempts as they may."""
PAGE_OF_RUNS = 7


async def _value(number: int) -> int:
    return number


@turnout.task("long", on="do/long")
async def long(ctx: Context, payload: dict[str, int]) -> int:
    """Have more steps than one invocation records."""
    return sum([await ctx.step(f"add {n}", _value, 1) for n in range(payload["steps"])])


@turnout.task("waiting", on="do/waiting")
async def waiting(ctx: Context, payload: Any) -> Any:
    """Wait for an event that nobody sends."""
    return await ctx.wait_for_event("never/sent", timeout="1h")


@turnout.task("branches", on="do/branches")
async def branches(ctx: Context, payload: Any) -> list[int]:
    """Have a branch of two steps beside a step that ends only after them."""

    async def slow() -> int:
        await asyncio.wait_for(_second_step.wait(), 60)
        return 1

    async def opens() -> int:
        _second_step.set()
        return 2

    async def quick() -> int:
        await ctx.step("first", _value, 0)
        return await ctx.step("second", opens)

    return list(await ctx.parallel(ctx.step("slow", slow), quick()))


APP = turnout.app("restate-tests", long, waiting, branches)


@asynccontextmanager
async def backend() -> AsyncIterator[tuple[World, RestateCaller]]:
    """A server of its own with a service on it."""
    async with open_backend("restate", app=APP) as world:
        assert isinstance(world.caller, RestateCaller)
        yield world, world.caller


async def until(check: Callable[[], Awaitable[Any]]) -> Any:
    """Wait for a condition, and return what it gave."""
    async with asyncio.timeout(120):
        while not (outcome := await check()):
            await asyncio.sleep(0.05)
    return outcome


async def ended(world: World, run_id: str) -> RunStatus:
    """Wait for a run's end."""

    async def state() -> RunStatus | None:
        run = (await world.orchestrator.status(run_id)).journal.run
        return run.state if run.state.terminal else None

    status = RunStatus(await until(state))
    run = (await world.orchestrator.status(run_id)).journal.run
    assert run.error is None, run.error
    return status


async def emitted(world: World, name: str, **payload: Any) -> str:
    """Start a run."""
    (emission,) = await world.orchestrator.emit(Event(name=name, payload=payload))
    return emission.runs[0].run_id


async def test_runs_of_an_app_on_the_server() -> None:
    """Long records are cut, branches go on by themselves, ended runs are listed and stopped."""
    async with backend() as (world, caller):
        _second_step.clear()
        assert await ended(world, await emitted(world, "do/branches")) is RunStatus.COMPLETED

        long_run = await emitted(world, "do/long", steps=STEPS)
        assert await ended(world, long_run) is RunStatus.COMPLETED
        report = await world.orchestrator.status(long_run)
        assert report.deliveries[-1].number > 1
        reasons = {delivery.reason for delivery in report.deliveries[1:]}
        assert reasons == {DeliveryReason.RELEASED}
        steps = report.journal.attempts
        assert sum(len(attempts) for name, attempts in steps.items() if "add" in name) == STEPS

        await _names_each_attempt(world, caller, await emitted(world, "do/long", steps=7))

        parked = [await emitted(world, "do/waiting") for _ in range(PAGE_OF_RUNS)]
        await until(lambda: _all_parked(world, parked))
        await _lists_each_once(world, caller, parked)
        await _stops_that_one_alone(world, caller, parked)


async def _names_each_attempt(world: World, caller: RestateCaller, run_id: str) -> None:
    """The record of an invocation names every attempt, also those that one call has made."""
    assert await ended(world, run_id) is RunStatus.COMPLETED
    delivery = (await world.orchestrator.status(run_id)).deliveries[-1]

    async def completed() -> bool:
        return (await caller.look(delivery)).state is RunStatus.COMPLETED

    await until(completed)
    api = RestateApi(caller._settings)
    try:
        rows = await api.query(
            f"SELECT name FROM sys_journal WHERE id = {literal(str(delivery.provider_run_id))}"
        )
    finally:
        await api.close()
    names = " | ".join(str(row["name"]) for row in rows if row.get("name"))
    assert all(f"add {number}" in names for number in range(7)), names
    assert all(len(str(row.get("name", ""))) <= LONGEST_NAME for row in rows)


async def _all_parked(world: World, run_ids: list[str]) -> bool:
    reports = [await world.orchestrator.status(run_id) for run_id in run_ids]
    return all(report.journal.run.parked and report.deliveries[-1].token for report in reports)


async def _lists_each_once(world: World, caller: RestateCaller, parked: list[str]) -> None:
    """The server's list of open runs has each parked one, once; later ones only if asked."""
    deliveries = [(await world.orchestrator.status(run_id)).deliveries[-1] for run_id in parked]
    expected = {delivery.provider_run_id for delivery in deliveries}

    async def suspended() -> bool:
        page, following = await caller.list_runs()
        assert following == ""
        words = {page[run].word for run in expected if run in page}
        return page.keys() >= expected and words == {"suspended"}

    await until(suspended)
    page, _ = await caller.list_runs(since=world.clock.now() + 60_000)
    assert not page


async def _stops_that_one_alone(world: World, caller: RestateCaller, parked: list[str]) -> None:
    """A cancelled run's invocation ends at the server; its neighbours stay."""
    await world.orchestrator.cancel(parked[0])
    delivery = (await world.orchestrator.status(parked[0])).deliveries[-1]

    async def stopped() -> bool:
        return (await caller.look(delivery)).state is RunStatus.CANCELLED

    await until(stopped)
    assert await caller.stop(delivery)
    neighbour = (await world.orchestrator.status(parked[1])).deliveries[-1]
    assert (await caller.look(neighbour)).state is RunStatus.RUNNING
    unnamed = type(neighbour)(
        run_id=neighbour.run_id,
        number=neighbour.number,
        provider="restate",
        task="waiting",
    )
    assert (await caller.look(unnamed)).word == "suspended", "found by its key"


async def test_schedules_are_armed_fired_read_back_and_disarmed() -> None:
    """One call is pending for each; arming again changes nothing; a changed one is replaced."""
    async with backend() as (world, caller):
        hourly = Schedule(id="hourly", task="waiting", cron="0 * * * *", zone="Europe/Kyiv")
        nightly = Schedule(id="nightly", task="waiting", cron="30 2 * * *")
        await caller.arm([hourly, nightly])
        armed = {schedule.id: schedule for schedule in await caller.armed()}
        assert {name: item.next_at for name, item in armed.items()} == {
            "hourly": next(hourly.slots(world.clock.now())),
            "nightly": next(nightly.slots(world.clock.now())),
        }
        await caller.arm([hourly, nightly])
        assert {item.provider_id for item in await caller.armed()} == {
            item.provider_id for item in armed.values()
        }
        later = Schedule(id="nightly", task="waiting", cron="45 2 * * *")
        await caller.arm([later])
        (only,) = await caller.armed()
        assert (only.id, only.cron) == ("nightly", "45 2 * * *")

        minutely = Schedule(id="minutely", task="waiting", cron="* * * * *")
        await world.orchestrator.schedule_recurring(minutely)
        (run,) = await until(lambda: world.store.runs.find(RunFilter(task="waiting")))
        assert "minutely" in run.event

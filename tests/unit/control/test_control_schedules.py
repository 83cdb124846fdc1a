"""Slots that no provider ticked."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from turnout_testing.clock import TurnableClock

from turnout import App, Context, Schedule, Turnout, open_turnout, task
from turnout.model.protocol import Tick
from turnout.model.runs import RunFilter
from turnout.model.schedules import OwnedSchedule

MINUTE = 60_000


@task("report")
async def report(_ctx: Context, _payload: dict[str, Any]) -> None:
    """Do nothing."""


@pytest.fixture
def clock() -> TurnableClock:
    """Give a clock that the test turns."""
    return TurnableClock()


@pytest.fixture
async def live(clock: TurnableClock) -> AsyncIterator[Turnout]:
    """An app with a schedule of every minute, whose provider is not started."""
    schedule = Schedule(id="minutely", task="report", cron="* * * * *")
    app = App(name="slots", tasks=(report,), schedules=(schedule,))
    opened = open_turnout(app, {"ORCHESTRATOR_PROVIDER": "memory"}, clock=clock, serve=False)
    await opened.start()
    yield opened
    await opened.close()


async def test_a_slot_that_nobody_ticked_is_made_up_once(
    live: Turnout, clock: TurnableClock
) -> None:
    """A slot whose tick was lost starts after the grace, and only once."""
    await clock.advance("125s")
    assert await live.slots.catch_up() == 1
    assert await live.slots.catch_up() == 0
    await clock.advance("15s")
    assert await live.slots.catch_up() == 1


async def test_a_slot_that_was_ticked_is_not_made_up(live: Turnout, clock: TurnableClock) -> None:
    """A late tick and the making up start one run between them."""
    slot = clock.now() + MINUTE
    await clock.advance("61s")
    tick = Tick(schedule="minutely", slot=slot, provider="memory", provider_run_id="x")
    assert (await live.slots.tick(tick)).reason == "started"
    await clock.advance("30s")
    assert await live.slots.catch_up() == 0
    assert (await live.slots.tick(tick)).reason == "claimed"


async def test_old_slots_are_left_alone(live: Turnout, clock: TurnableClock) -> None:
    """After a day away only the slots of the last hour are made up."""
    await clock.advance("1d")
    assert await live.slots.catch_up() == 59


async def test_a_slot_that_the_last_owner_ticks_is_made_up_by_its_owner(
    live: Turnout, clock: TurnableClock
) -> None:
    """A tick that comes just after a schedule went to another provider is refused, not lost."""
    (owned,) = await live.store.schedules.read()
    slot = next(owned.schedule.slots(owned.since))
    await clock.advance(f"{slot - clock.now() + 9}ms")
    tick = Tick(schedule="minutely", slot=slot, provider="before", provider_run_id="x")
    assert (await live.slots.tick(tick)).reason == "not_owner"
    assert await live.slots.catch_up() == 0
    await clock.advance("15s")
    assert await live.slots.catch_up() == 1


async def test_a_slot_that_fell_as_the_service_was_moved_is_not_lost(
    live: Turnout, clock: TurnableClock
) -> None:
    """Nobody was there to take the last owner's tick: the slot starts as the owner changes."""
    (owned,) = await live.store.schedules.read()
    await live.store.schedules.put(owned.schedule, "before", clock.now())
    await clock.advance("61s")
    await live.orchestrator.define()
    (moved,) = await live.store.schedules.read()
    assert (moved.provider, len(await live.store.runs.find(RunFilter()))) == ("memory", 1)
    tick = Tick(schedule="minutely", slot=slot_of(moved), provider="before", provider_run_id="x")
    assert (await live.slots.tick(tick)).reason == "claimed"
    await clock.advance("20s")
    assert await live.slots.catch_up() == 0


def slot_of(owned: OwnedSchedule) -> int:
    """Give the last slot that was claimed."""
    assert owned.last_slot is not None
    return owned.last_slot

"""schedule_recurring: a cron expression in a zone starts a task; listed, removed, verified."""

import asyncio
import itertools
from dataclasses import replace

import pytest

from turnout.errors import InvalidDefinition, InvalidPayload, UnknownTask
from turnout.model.protocol import Tick
from turnout.model.schedules import ArmedSchedule, Schedule
from turnout.model.status import Capability
from turnout.model.time import Millis, as_datetime
from turnout.ports.worker import Worker
from turnout_testing.conformance.behaviour import behaviour
from turnout_testing.conformance.world import World

scheduling = behaviour(Capability.SCHEDULE_RECURRING)


def yearly(world: World, name: str) -> Schedule:
    """A schedule that will not fire while it is looked at."""
    return Schedule(
        id=name, task="scheduled", cron="30 4 1 1 *", zone="Europe/Kyiv", payload={"id": name}
    )


def soon(world: World, name: str) -> Schedule:
    """A schedule with one slot a year, a minute or two from now."""
    slot = as_datetime(world.clock.now() + 2 * 60_000)
    cron = f"{slot.minute} {slot.hour} {slot.day} {slot.month} *"
    return replace(yearly(world, name), cron=cron, zone="UTC")


async def armed(world: World, name: str) -> ArmedSchedule | None:
    """What the provider's runtime says of a schedule."""
    by_id = {schedule.id: schedule for schedule in await world.orchestrator.armed()}
    return by_id.get(name)


async def is_armed(world: World, name: str, *, cron: str | None, zone: str = "Europe/Kyiv") -> None:
    """Wait until the runtime fires by this expression in this zone; None: not at all."""
    expected = cron and (cron, zone)

    async def is_so() -> bool:
        """Whether the runtime fires by this expression."""
        schedule = await armed(world, name)
        return (schedule and (schedule.cron, schedule.zone)) == expected

    await world.until(is_so, f"schedule {name} armed as {expected}")


@scheduling
async def a_schedule_is_armed_and_removed(world: World) -> None:
    """A schedule added at run time is listed, armed in the runtime, and removed there."""
    name = world.fresh()
    await world.orchestrator.schedule_recurring(yearly(world, name))
    assert name in {schedule.id for schedule in await world.orchestrator.schedules()}
    await is_armed(world, name, cron="30 4 1 1 *")
    assert await world.orchestrator.unschedule(name)
    await is_armed(world, name, cron=None)
    assert name not in {schedule.id for schedule in await world.orchestrator.schedules()}


@scheduling
async def a_schedule_is_replaced(world: World) -> None:
    """A schedule of the same id takes the place of the first one, in the runtime too."""
    name = world.fresh()
    await world.orchestrator.schedule_recurring(yearly(world, name))
    await world.orchestrator.schedule_recurring(
        replace(yearly(world, name), cron="0 5 1 1 *", zone="Asia/Tokyo")
    )
    await is_armed(world, name, cron="0 5 1 1 *", zone="Asia/Tokyo")
    await world.orchestrator.unschedule(name)


@scheduling
async def removing_an_unknown_schedule_says_so(world: World) -> None:
    """Removing a schedule that is not there changes nothing and says False."""
    assert not await world.orchestrator.unschedule(world.fresh())


@scheduling
async def the_next_slot_is_told_by_the_runtime(world: World) -> None:
    """The runtime's next time is the slot that the expression and the zone mean."""
    name = world.fresh()
    schedule = yearly(world, name)
    await world.orchestrator.schedule_recurring(schedule)
    await is_armed(world, name, cron=schedule.cron)
    runtime = await armed(world, name)
    assert runtime is not None
    if runtime.next_at is not None:
        assert runtime.next_at == next(schedule.slots(world.clock.now()))
    await world.orchestrator.unschedule(name)


@scheduling
async def a_bad_expression_is_refused(world: World) -> None:
    """Six fields, nonsense and an unknown zone are refused at definition, by name."""
    good = yearly(world, "bad")
    for wrong in ({"cron": "* * * * * *"}, {"cron": "nonsense"}, {"zone": "Mars/Phobos"}):
        with pytest.raises(InvalidDefinition):
            replace(good, **wrong)  # type: ignore[arg-type]


@scheduling
async def a_schedule_of_an_unknown_task_is_refused(world: World) -> None:
    """A schedule names a task of the app, and a payload that fits it."""
    with pytest.raises(UnknownTask):
        await world.orchestrator.schedule_recurring(
            replace(yearly(world, "unknown"), task="no-such-task")
        )
    with pytest.raises(InvalidPayload):
        await world.orchestrator.schedule_recurring(
            replace(yearly(world, "unfit"), task="typed", payload={"id": "x"})
        )


@scheduling
async def a_slot_starts_one_run(world: World) -> None:
    """However often and by how many a slot is ticked, it starts one run, with the payload."""
    name = world.fresh()
    schedule = soon(world, name)
    await world.orchestrator.schedule_recurring(schedule)
    slot = next(schedule.slots(world.clock.now()))
    answers = await asyncio.gather(*(tick(world, name, slot) for _ in range(5)))
    runs = {run_id for run_id, reason in answers if reason == "started"}
    assert len(runs) == 1
    await world.ended(runs.pop() or "")
    assert world.trace.count(name, "slot") == 1
    await world.orchestrator.unschedule(name)


@scheduling
async def another_providers_tick_starts_the_slot(world: World) -> None:
    """Whoever ticks a slot first claims it, and the run goes where new runs go."""
    name = world.fresh()
    schedule = soon(world, name)
    await world.orchestrator.schedule_recurring(schedule)
    slot = next(schedule.slots(world.clock.now()))
    run_id, reason = await tick(world, name, slot, provider="another")
    assert (reason, await tick(world, name, slot)) == ("started", (run_id, "claimed"))
    await world.ended(run_id or "")
    await world.orchestrator.unschedule(name)


@scheduling
async def a_tick_of_no_slot_starts_nothing(world: World) -> None:
    """Neither a time between slots, nor one far ahead, nor one of a schedule that was removed."""
    name = world.fresh()
    schedule = soon(world, name)
    await world.orchestrator.schedule_recurring(schedule)
    slot, following = itertools.islice(schedule.slots(world.clock.now()), 2)
    assert await tick(world, name, slot + 1_000) == (None, "removed")
    assert await tick(world, name, following) == (None, "paused")
    await world.orchestrator.unschedule(name)
    assert await tick(world, name, slot) == (None, "removed")


@scheduling
async def a_paused_schedule_starts_nothing(world: World) -> None:
    """A paused schedule is kept and fires nothing."""
    name = world.fresh()
    paused = replace(yearly(world, name), paused=True)
    await world.orchestrator.schedule_recurring(paused)
    slot = next(paused.slots(world.clock.now()))
    assert await tick(world, name, slot) == (None, "paused")
    runtime = await armed(world, name)
    assert runtime is None or not runtime.active
    await world.orchestrator.unschedule(name)


async def far_from_the_next_slot(world: World, schedule: Schedule) -> None:
    """Wait past a slot that may come before the schedule is armed: it would be made up, late."""
    now = world.clock.now()
    slot = next(schedule.slots(now))
    if slot - now < 20_000 * world.longer:
        await asyncio.sleep((slot - now) / 1000 + 0.1)


@behaviour(Capability.SCHEDULE_RECURRING, clock_bound=True)
async def every_minute_fires_every_minute(world: World) -> None:
    """A schedule of every minute starts a run for the next minute, at its time, once."""
    name = world.fresh()
    schedule = replace(yearly(world, name), cron="* * * * *")
    await far_from_the_next_slot(world, schedule)
    began = world.clock.now()
    await world.orchestrator.schedule_recurring(schedule)
    slot = next(schedule.slots(began))
    async with asyncio.TaskGroup() as group:
        delay = group.create_task(world.delay_at(slot))
        await world.marked(name, "slot")
        await world.orchestrator.unschedule(name)
    (first, *more_times) = world.trace.times(name, "slot")
    # A server may make the run up to half a minute early; the slot is claimed all the same.
    # Two of the server's runs, one after the other: the tick's, and then the run's own.
    late = 2 * delay.result() + world.slack + 10_000 * world.longer
    assert slot - 31_000 <= first <= slot + late
    assert len(more_times) <= 1


async def tick(
    world: World, name: str, slot: Millis, *, provider: str | None = None
) -> tuple[str | None, str]:
    """Tick a slot as the provider's worker does."""
    worker: Worker = world.worker
    answer = await worker.answer(
        Tick(
            schedule=name,
            slot=slot,
            provider=provider or world.caller.name,
            provider_run_id=world.fresh(),
        )
    )
    return answer.run_id, answer.reason


BEHAVIOURS = (
    a_schedule_is_armed_and_removed,
    a_schedule_is_replaced,
    removing_an_unknown_schedule_says_so,
    the_next_slot_is_told_by_the_runtime,
    a_bad_expression_is_refused,
    a_schedule_of_an_unknown_task_is_refused,
    a_slot_starts_one_run,
    another_providers_tick_starts_the_slot,
    a_tick_of_no_slot_starts_nothing,
    a_paused_schedule_starts_nothing,
    every_minute_fires_every_minute,
)

"""Waits: sleeps last as long as they say, and no event is lost between two calls."""

from turnout.model.status import Capability
from turnout_testing.conformance.behaviour import behaviour
from turnout_testing.conformance.world import World, result_of

waiting = behaviour(Capability.DEFINE_TASK)


@waiting
async def a_sleep_lasts_as_long_as_it_says(world: World) -> None:
    """A sleep is never shorter than declared, and little longer."""
    name = world.fresh()
    run_id = await world.start("nap", **{"id": name, "for": "1500ms"})
    result_of(await world.ended(run_id))
    (before,), (after,) = (world.trace.times(name, label) for label in ("before", "after"))
    assert 1_500 - world.early <= after - before <= 1_500 + world.slack
    assert world.trace.count(name, "before") == 1


@waiting
async def a_sleep_until_ends_at_its_moment(world: World) -> None:
    """A sleep until a moment ends then."""
    name, until = world.fresh(), world.clock.now() + 2_300
    run_id = await world.start("until", id=name, until=until)
    result_of(await world.ended(run_id))
    (after,) = world.trace.times(name, "after")
    assert until - world.early <= after <= until + world.slack


@waiting
async def a_moment_that_has_passed_is_no_wait(world: World) -> None:
    """A sleep until a moment in the past goes on at once."""
    name = world.fresh()
    run_id = await world.start("until", id=name, until=world.clock.now() - 1_000)
    result_of(await world.ended(run_id))


@behaviour(Capability.DEFINE_TASK, clock_bound=True)
async def a_sleep_of_ten_seconds(world: World) -> None:
    """A sleep that is too long to be held in a process parks the run, and ends in time."""
    name = world.fresh()
    run_id = await world.start("nap", **{"id": name, "for": "10s"})
    result_of(await world.ended(run_id))
    (before,), (after,) = (world.trace.times(name, label) for label in ("before", "after"))
    assert 10_000 - world.early <= after - before <= 10_000 + world.slack


@waiting
async def an_event_is_awaited(world: World) -> None:
    """A run that waits for an event gets its payload."""
    name = world.fresh()
    run_id = await world.start("approval", id=name)
    await world.parked(run_id, "event")
    await world.emit("conformance/approved", id=name, by="me")
    assert result_of(await world.ended(run_id)) == {"id": name, "by": "me"}


@waiting
async def an_event_of_another_is_not_taken(world: World) -> None:
    """An event whose value does not match is not taken, and neither is true for 1."""
    name = world.fresh()
    run_id = await world.start("approval", id=name)
    await world.parked(run_id, "event")
    await world.emit("conformance/approved", id=world.fresh())
    await world.emit("conformance/approved", other=name)
    await world.emit("conformance/approved", id=name, right=True)
    assert result_of(await world.ended(run_id))["right"] is True


@waiting
async def an_event_that_never_comes_is_none(world: World) -> None:
    """A wait whose timeout passes gives None."""
    began = world.clock.now()
    run_id = await world.start("approval", id=world.fresh(), timeout="2s")
    assert result_of(await world.ended(run_id)) is None
    assert world.clock.now() - began >= 2_000 - world.early


@waiting
async def an_event_right_after_the_wait_is_not_lost(world: World) -> None:
    """An event emitted as soon as the wait is recorded is met, whatever the vendor knows yet."""
    names = [world.fresh() for _ in range(5)]
    runs = [await world.start("approval", id=name) for name in names]
    for name, run_id in zip(names, runs, strict=True):
        await world.parked(run_id, "event")
        await world.emit("conformance/approved", id=name)
    for name, run_id in zip(names, runs, strict=True):
        assert result_of(await world.ended(run_id)) == {"id": name}


@waiting
async def an_event_before_the_wait_does_not_count(world: World) -> None:
    """A wait is met by events emitted after it began."""
    name = world.fresh()
    await world.emit("conformance/approved", id=name, early=True)
    run_id = await world.start("approval", id=name)
    await world.parked(run_id, "event")
    await world.emit("conformance/approved", id=name, early=False)
    assert result_of(await world.ended(run_id))["early"] is False


@waiting
async def two_waits_take_an_event_each(world: World) -> None:
    """One event meets one wait of a run; a wait may match values that are given."""
    name = world.fresh()
    run_id = await world.start("two-waits", id=name)
    await world.parked(run_id, "event")
    await world.emit("conformance/approved", id=name, number=1)

    async def second() -> bool:
        """Whether the run waits for the second time."""
        steps = (await world.report(run_id)).journal.steps
        return "second" in steps

    await world.until(second, f"run {run_id} waits for the second time")
    await world.emit("conformance/approved", id=name, number=3)
    await world.emit("conformance/approved", id=name, number=2)
    assert result_of(await world.ended(run_id)) == [1, 2]


@waiting
async def a_wait_since_the_run_takes_earlier_events(world: World) -> None:
    """Events that came before the waits meet them, the oldest first, each once."""
    name = world.fresh()
    await world.emit("conformance/approved", id=name, number=0)
    run_id = await world.start("late-waits", id=name)
    await world.parked(run_id, "event")
    await world.emit("conformance/approved", id=world.fresh(), number=9)
    for number in (1, 2):
        await world.emit("conformance/approved", id=name, number=number)
    await world.emit("conformance/go", id=name)
    assert result_of(await world.ended(run_id)) == [1, 2, None]


@waiting
async def a_wait_since_the_run_takes_later_events(world: World) -> None:
    """An event that comes while the run waits meets the wait as it would any other."""
    name = world.fresh()
    run_id = await world.start("late-waits", id=name)
    await world.parked(run_id, "event")  # a sign that came before its wait would be lost
    await world.emit("conformance/go", id=name)

    async def waits() -> bool:
        """Whether the run waits for an approval."""
        return "first" in (await world.report(run_id)).journal.steps

    await world.until(waits, f"run {run_id} waits for an approval")
    for number in (1, 2):
        await world.emit("conformance/approved", id=name, number=number)
    assert result_of(await world.ended(run_id)) == [1, 2, None]


BEHAVIOURS = (
    a_sleep_lasts_as_long_as_it_says,
    a_sleep_until_ends_at_its_moment,
    a_moment_that_has_passed_is_no_wait,
    a_sleep_of_ten_seconds,
    an_event_is_awaited,
    an_event_of_another_is_not_taken,
    an_event_that_never_comes_is_none,
    an_event_right_after_the_wait_is_not_lost,
    an_event_before_the_wait_does_not_count,
    two_waits_take_an_event_each,
    a_wait_since_the_run_takes_earlier_events,
    a_wait_since_the_run_takes_later_events,
)

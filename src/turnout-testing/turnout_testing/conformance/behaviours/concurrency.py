"""concurrency: at most n runs, or executing steps, of a key; in order of emit."""

import asyncio
from itertools import pairwise

from turnout.model.policies import Concurrency
from turnout.model.status import Capability, Held, RunStatus
from turnout_testing.conformance.behaviour import behaviour
from turnout_testing.conformance.world import World, result_of

limiting = behaviour(Capability.CONCURRENCY)


async def all_ended(world: World, runs: list[str]) -> None:
    """Wait for the end of all of them."""
    await asyncio.gather(*(world.ended(run_id) for run_id in runs))


@limiting
async def one_run_of_a_key_at_a_time(world: World) -> None:
    """With a limit of one, runs of a key never overlap, from start to end."""
    group = world.fresh()
    runs = [await world.start("single", id=str(number), group=group) for number in range(4)]
    await all_ended(world, runs)
    assert world.trace.peak[group] == 1
    spans = [(await world.report(run_id)).journal.run for run_id in runs]
    spans.sort(key=lambda run: run.started_at or 0)
    assert all(
        (first.ended_at or 0) <= (second.started_at or 0) for first, second in pairwise(spans)
    )


@limiting
async def runs_start_in_order_of_emit(world: World) -> None:
    """Runs that stand in line start in the order in which they were emitted."""
    group = world.fresh()
    runs = [await world.start("single", id=str(number), group=group) for number in range(5)]
    await all_ended(world, runs)
    begins = [mark.label for mark in world.trace.marks[group] if mark.label.startswith("begin")]
    assert list(dict.fromkeys(begins)) == [f"begin:{number}" for number in range(5)]


@limiting
async def other_keys_are_free(world: World) -> None:
    """A run of another key does not wait."""
    busy, free = world.fresh(), world.fresh()
    first = await world.start("single", **{"id": "1", "group": busy, "for": 10.0 * world.longer})
    await world.marked(busy, "begin:1")
    second = await world.start("single", id="2", group=free)
    result_of(await world.ended(second))
    await world.ended(first)
    assert world.trace.times(free, "begin:2")[0] < min(world.trace.times(busy, "end:1"))


@limiting
async def two_may_be_two(world: World) -> None:
    """With a limit of two, two of a key run side by side, and never three."""
    group = world.fresh()
    runs = [await world.start("pair", id=str(number), group=group) for number in range(6)]
    await all_ended(world, runs)
    assert world.trace.peak[group] == 2


@limiting
async def a_sleeping_run_keeps_its_slot(world: World) -> None:
    """`counts="runs"`: a run holds its slot while it sleeps, whatever the vendor counts."""
    group = world.fresh()
    first = await world.start("single", id="1", group=group, rest="2s")
    second = await world.start("single", id="2", group=group)
    await all_ended(world, [first, second])
    assert world.trace.times(group, "begin:2")[0] >= max(world.trace.times(group, "end:1"))


@limiting
async def a_failed_run_gives_its_slot_back(world: World) -> None:
    """The next run starts when the one before has failed."""
    group = world.fresh()
    first = await world.start("single", id="1", group=group, fail=True)
    second = await world.start("single", id="2", group=group)
    assert (await world.ended(first)).journal.run.state is RunStatus.FAILED
    result_of(await world.ended(second))


@limiting
async def a_waiting_run_is_queued(world: World) -> None:
    """A run that waits for its slot is queued, not running."""
    group = world.fresh()
    first = await world.start("single", **{"id": "1", "group": group, "for": 8.0 * world.longer})
    await world.marked(group, "begin:1")
    second = await world.start("single", id="2", group=group)
    waiting = await world.parked(second, "slot")
    assert waiting.journal.run.state is RunStatus.QUEUED
    await all_ended(world, [first, second])


@limiting
async def steps_are_counted_where_declared(world: World) -> None:
    """`counts="steps"`: runs overlap while they sleep, their steps never do."""
    for seconds in (6, 30):
        group = world.fresh()
        payload = {"group": group, "rest": seconds * world.longer}
        runs = [await world.start("stepwise", id=str(number), **payload) for number in range(3)]
        await all_ended(world, runs)
        assert world.trace.peak[group] == 1
        last_first = max(world.trace.times(group, f"begin:{number}")[0] for number in range(3))
        first_last = min(world.trace.times(group, f"begin:{number}")[1] for number in range(3))
        if last_first < first_last:  # otherwise the first steps took longer than the rest
            return
    raise AssertionError(f"no step of another run began while one slept for {seconds} s")


@limiting
async def the_limit_is_held(world: World) -> None:
    """The orchestrator says who holds the limit."""
    holder = world.orchestrator.check_concurrency(Concurrency(limit=1, key="payload.agent_id"))
    assert holder is not Held.REFUSED


BEHAVIOURS = (
    one_run_of_a_key_at_a_time,
    runs_start_in_order_of_emit,
    other_keys_are_free,
    two_may_be_two,
    a_sleeping_run_keeps_its_slot,
    a_failed_run_gives_its_slot_back,
    a_waiting_run_is_queued,
    steps_are_counted_where_declared,
    the_limit_is_held,
)

"""Any task function, any order of calls by several workers: the promises hold on a real store."""

import asyncio
from collections import Counter
from typing import Any

from calling_parts import VendorRun, World, world_of
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import Node, programs, task_of

from turnout.errors import Superseded
from turnout.model.protocol import Next
from turnout.model.runs import Run
from turnout.model.status import AttemptState
from turnout.worker.worker import TaskWorker


class Bodies:
    """Counts what ran; fails where it is told to."""

    def __init__(self, failures: list[bool]) -> None:
        self._failures = failures
        self.ran: Counter[str] = Counter()

    async def __call__(self, name: str) -> str:
        self.ran[name] += 1
        await asyncio.sleep(0)
        if self._failures and self._failures.pop():
            raise OSError(name)
        return name


async def play(program: Node, data: st.DataObject) -> None:
    """Let two workers be called in a drawn order, and check what they leave behind."""
    bodies = Bodies(data.draw(st.lists(st.booleans(), max_size=6)))
    world = world_of(task_of(program, bodies))
    try:
        run_id = await world.emit("t")
        workers = [world.worker(watch_seconds=60) for _ in range(2)]
        vendor = VendorRun(world, workers[0], run_id, "t")
        emitted = await world.run(run_id)
        found = await first(vendor, workers, emitted, data)
        for _ in range(25):
            if found.state.terminal:
                break
            vendor = vendor.by(data.draw(st.sampled_from(workers)))
            vendor, found = await act(world, vendor, found, emitted, data)
        await vendor.to_the_end()
        await check(world, run_id, bodies)
    finally:
        await world.close()


async def first(
    vendor: VendorRun, workers: list[TaskWorker], emitted: Run, data: st.DataObject
) -> Next:
    """Call for the first time: once, or both workers at once with the run as it was emitted."""
    if data.draw(st.booleans()):
        return await vendor.advance()
    told = await asyncio.gather(*(vendor.by(each).run_on(emitted) for each in workers))
    return max(told, key=lambda each: each.seq)


async def act(
    world: World, vendor: VendorRun, found: Next, emitted: Run, data: st.DataObject
) -> tuple[VendorRun, Next]:
    """Do one thing that a vendor run may do, and keep the news with the highest seq."""
    action = data.draw(
        st.sampled_from(["execute", "execute", "twice", "advance", "on", "wait", "move"])
    )
    if action == "on":
        return vendor, await vendor.run_on(data.draw(st.sampled_from([None, emitted])))
    if action in {"execute", "twice"} and found.run:
        start = data.draw(st.sampled_from(found.run))
        calls = [vendor.execute(start.step, start.attempt) for _ in range(1 + (action == "twice"))]
        told = [each.next for each in await asyncio.gather(*calls)]
        return vendor, max([found, *told], key=lambda each: each.seq)
    if action == "move":
        return await move(world, vendor)
    if action == "wait" and found.park is not None and found.park.until is not None:
        await world.clock.turn_to(max(found.park.until, world.clock.now()))
    if action == "wait" and data.draw(st.booleans()):
        await world.tell("e", 1)
    return vendor, await vendor.advance()


async def move(world: World, vendor: VendorRun) -> tuple[VendorRun, Next]:
    """Hand the run over anew; the old vendor run finds out."""
    number = vendor.delivery
    await world.store.deliveries.redeliver(vendor.run_id, number, "elsewhere", world.clock.now())
    try:
        await vendor.advance()
    except Superseded:
        vendor = vendor.by(vendor.worker, delivery=number + 1, name=f"vendor-{number + 1}")
    else:
        raise AssertionError("an old delivery was served")
    return vendor, await vendor.advance()


async def check(world: World, run_id: str, bodies: Bodies) -> None:
    """Each attempt ran its body once; each step is committed at most once; all is settled."""
    journal = await world.journal(run_id)
    assert journal.run.state.terminal
    for step, tried in journal.attempts.items():
        assert bodies.ran[step] == len(tried), step
        assert [each.number for each in tried] == list(range(1, len(tried) + 1))
        assert sum(each.state is AttemptState.COMPLETED for each in tried) <= 1
        assert all(each.state is not AttemptState.CLAIMED for each in tried)
    assert set(bodies.ran) == set(journal.attempts)
    assert all(each.state.settled for each in journal.steps.values())
    states = [each.state for each in await world.store.journals.transitions(run_id)]
    assert len(states) == len(set(states))


@settings(max_examples=25, deadline=None)
@given(program=programs, data=st.data())
def test_any_order_of_calls_keeps_the_promises(program: Node, data: Any) -> None:
    """Workers may be called twice, late, in any order and by old vendor runs."""
    asyncio.run(play(program, data))

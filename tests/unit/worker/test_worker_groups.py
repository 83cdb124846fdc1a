"""Attempts of one run that end together are committed in one change, after one replay."""

import asyncio
from collections.abc import Callable
from typing import Any

from calling_parts import VendorRun, World, WrappedStore, world_of

from turnout import Context, Retries, task
from turnout.errors import StoreUnavailable
from turnout.model.runs import Change
from turnout.model.status import RunStatus

STEPS = 40


class Gate:
    """Bodies that end all at once."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.replays = 0

    async def body(self) -> int:
        """Wait for the gate."""
        await self.event.wait()
        return 1

    async def failing(self) -> int:
        """Wait for the gate, and fail."""
        await self.event.wait()
        raise ValueError("no")

    async def unwritable(self) -> object:
        """Wait for the gate, and return what is no JSON."""
        await self.event.wait()
        return object()


def parallel_task(gate: Gate, bodies: dict[int, Any]) -> Any:
    """Make a task of parallel steps; bodies: those that are not the plain one, by number."""

    @task("wide", on="go", retries=Retries(max_attempts=1))
    async def wide(ctx: Context, _payload: dict[str, Any]) -> int:
        gate.replays += 1
        steps = [ctx.step(f"s{n}", bodies.get(n, gate.body)) for n in range(STEPS)]
        results = await ctx.parallel(*steps, return_exceptions=True)
        return sum(result for result in results if isinstance(result, int))

    return wide


async def all_at_once(world: World, gate: Gate, wrap: Callable[[str, Any], Any]) -> VendorRun:
    """Run every step until its body ends, let all end, and wait for the answers."""
    store, world.store = world.store, WrappedStore(world.store, wrap)
    worker, world.store = world.worker(), store
    run_id = await world.emit("wide")
    vendor = VendorRun(world, worker, run_id, "wide")
    answer = await vendor.advance()
    calls = [asyncio.create_task(vendor.execute(s.step, s.attempt)) for s in answer.run]
    while sum(map(len, (await world.journal(run_id)).attempts.values())) < STEPS:
        await asyncio.sleep(0)
    gate.replays = 0
    gate.event.set()
    await asyncio.gather(*calls)
    return vendor


def counting(counts: list[int]) -> Callable[[str, Any], Any]:
    """Count the attempts that each change has ended."""

    def wrap(name: str, method: Any) -> Any:
        async def apply(change: Change) -> Any:
            ended = sum(attempt.ended_at is not None for attempt in change.attempts)
            counts.extend([ended] if ended else [])
            return await method(change)

        return apply if name == "journals.apply" else method

    return wrap


async def test_attempts_that_end_together_are_committed_together() -> None:
    """The function is replayed once a group: forty ends are two replays, not forty."""
    gate, counts = Gate(), list[int]()
    world = world_of(parallel_task(gate, {}))
    vendor = await all_at_once(world, gate, counting(counts))
    run = await world.run(vendor.run_id)
    assert (run.state, run.result) == (RunStatus.COMPLETED, str(STEPS).encode())
    assert counts == [1, STEPS - 1]
    assert gate.replays == 2
    await world.close()


async def test_each_of_a_group_has_its_own_outcome() -> None:
    """Failures and what cannot be recorded concern their own steps only."""
    gate, counts = Gate(), list[int]()
    world = world_of(parallel_task(gate, {3: gate.failing, 7: gate.unwritable}))
    vendor = await all_at_once(world, gate, counting(counts))
    journal = await world.journal(vendor.run_id)
    assert journal.run.result == str(STEPS - 2).encode()
    failed = {step.step: step.error.name for step in journal.steps.values() if step.error}
    assert failed == {"s3": "ValueError", "s7": "InvalidJson"}
    assert sum(counts) == STEPS
    await world.close()


async def test_a_group_that_cannot_be_committed_is_committed_one_by_one() -> None:
    """An error that one of them may have caused fails none of the others."""
    gate, refused = Gate(), list[int]()

    def wrap(name: str, method: Any) -> Any:
        async def apply(change: Change) -> Any:
            ended = [attempt.step for attempt in change.attempts if attempt.ended_at is not None]
            if "s5" in ended and change.steps[ended.index("s5")].error is None:
                refused.append(len(ended))
                raise LookupError("the store refuses what s5 returned")
            return await method(change)

        return apply if name == "journals.apply" else method

    world = world_of(parallel_task(gate, {}))
    vendor = await all_at_once(world, gate, wrap)
    journal = await world.journal(vendor.run_id)
    assert journal.run.result == str(STEPS - 1).encode()
    failed = {step.step: step.error.name for step in journal.steps.values() if step.error}
    assert failed == {"s5": "LookupError"}
    assert refused[0] == STEPS - 1
    await world.close()


async def test_a_store_that_is_away_for_a_group_loses_none_of_it() -> None:
    """All of the group are tried again."""
    gate, away, counts = Gate(), [2], list[int]()

    def wrap(name: str, method: Any) -> Any:
        async def apply(change: Change) -> Any:
            ended = sum(attempt.ended_at is not None for attempt in change.attempts)
            if ended > 1 and away[0]:
                away[0] -= 1
                raise StoreUnavailable("away")
            counts.extend([ended] if ended else [])
            return await method(change)

        return apply if name == "journals.apply" else method

    world = world_of(parallel_task(gate, {}))
    vendor = await all_at_once(world, gate, wrap)
    assert (await world.run(vendor.run_id)).result == str(STEPS).encode()
    assert away == [0]
    assert sum(counts) == STEPS
    await world.close()

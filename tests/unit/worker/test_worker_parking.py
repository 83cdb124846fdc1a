"""When a run is parked, for whoever watches its silence."""

import asyncio
from typing import Any

from calling_parts import VendorRun, until, world_of

from turnout.model.policies import Retries
from turnout.model.protocol import Outcome
from turnout.model.tasks import task


async def triple(number: int) -> int:
    """Be a body."""
    return number * 3


@task("t", on="go")
async def asks(ctx: Any, payload: Any) -> Any:
    """Wait for an answer without end in sight, then do something."""
    answer = await ctx.wait_for_event("said", timeout="7d")
    return await ctx.step("a", triple, answer)


async def test_a_run_that_can_go_on_is_not_parked() -> None:
    """Its vendor run may die between two calls: the pump must not take its silence for a wait."""
    world = world_of(asks)
    try:
        vendor = VendorRun(world, world.worker(), await world.emit("t"), "t")
        assert (await vendor.advance()).park is not None
        assert (await world.run(vendor.run_id)).parked
        await world.tell("said", 2)
        assert [each.step for each in (await vendor.advance()).run] == ["a"]
        run = await world.run(vendor.run_id)
        assert (run.parked, run.parked_until, run.parked_for) == (False, None, ())
    finally:
        await world.close()


PATIENT = Retries(max_attempts=2, min_delay="10s", jitter=0)


async def test_the_back_off_of_a_lost_attempt_owes_a_wake() -> None:
    """The vendor run was not told of it, so no timer of its own ends it."""
    let_go = asyncio.Event()

    @task("t", on="go", retries=PATIENT)
    async def waits(ctx: Any, payload: Any) -> Any:
        return await ctx.step("a", let_go.wait)

    world = world_of(waits)
    try:
        doomed = VendorRun(world, world.worker(watch_seconds=3_600), await world.emit("t"), "t")
        await doomed.advance()
        calling = asyncio.create_task(doomed.execute("a"))
        await until(lambda: len(doomed.worker._runs.in_flight))
        await world.clock.advance("16s")
        lost_at = world.clock.now()
        await world.worker().expire(doomed.run_id)
        take = world.store.due.take_wakes
        assert not await take(lost_at + 9_999, limit=9, resend=0)
        (wake,) = await take(lost_at + 10_000, limit=9, resend=0)
        assert wake.run_id == doomed.run_id
        calling.cancel()
        let_go.set()
    finally:
        await world.close()


async def test_the_back_off_of_an_accepted_attempt_owes_a_wake() -> None:
    """The vendor run was told that the step goes on, not when it is tried again."""
    let_go = asyncio.Event()

    async def fails() -> None:
        await let_go.wait()
        raise ValueError

    @task("t", on="go", retries=PATIENT)
    async def tries(ctx: Any, payload: Any) -> Any:
        return await ctx.step("a", fails)

    world = world_of(tries)
    try:
        vendor = VendorRun(world, world.worker(bound=10), await world.emit("t"), "t")
        await vendor.advance()
        assert (await vendor.execute("a")).receipt.outcome is Outcome.ACCEPTED
        failed_at = world.clock.now()
        let_go.set()
        await until(lambda: not len(vendor.worker._runs.in_flight))
        take = world.store.due.take_wakes
        assert not await take(failed_at + 9_999, limit=9, resend=0)
        (wake,) = await take(failed_at + 10_000, limit=9, resend=0)
        assert wake.run_id == vendor.run_id
    finally:
        await world.close()

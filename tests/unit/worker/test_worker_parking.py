"""When a run is parked, for whoever watches its silence."""

from typing import Any

from calling_parts import VendorRun, world_of

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

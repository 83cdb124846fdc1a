"""Functions in open mode: their own timeouts are theirs, and a stop of ours is not."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
from calling_parts import VendorRun, World, world_of

from turnout.model.status import RunStatus
from turnout.model.tasks import Task


@pytest.fixture
async def adopt() -> AsyncIterator[Callable[..., World]]:
    """Make worlds with one task in open mode, and close them."""
    made: list[World] = []

    def new(function: Any) -> World:
        made.append(world_of(Task(id="t", function=function, on=("go",), open_mode=True)))
        return made[-1]

    yield new
    for world in made:
        await world.close()


async def one() -> int:
    """Give one."""
    return 1


async def test_a_timeout_of_the_function_is_an_error_of_its_own(
    adopt: Callable[..., World],
) -> None:
    """`asyncio.timeout` and anyio's scopes around its own awaits end those, not the call."""

    async def adopted(ctx: Any, payload: Any) -> Any:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            first = await ctx.step("a", one)
        with anyio.move_on_after(0.001) as scope:
            await asyncio.Event().wait()
        return [first, scope.cancelled_caught]

    world = adopt(adopted)
    vendor = VendorRun(world, world.worker(), await world.emit("t"), "t")
    found = await vendor.to_the_end()
    assert found.result is not None
    assert found.result.inline == [1, True]


@pytest.mark.parametrize("asks", [True, False])
async def test_nothing_that_a_function_says_of_our_stop_counts(
    adopt: Callable[..., World],
    asks: bool,
) -> None:
    """A call that is cancelled commits nothing, whatever the function makes of the cancel."""
    waiting, passed = asyncio.Event(), asyncio.Event()

    async def adopted(ctx: Any, payload: Any) -> Any:
        try:
            waiting.set()
            await passed.wait()
        except asyncio.CancelledError:
            return await ctx.step("tidy", one) if asks else "stopped"
        return await ctx.step("a", one)

    world = adopt(adopted)
    vendor = VendorRun(world, world.worker(), await world.emit("t"), "t")
    call = asyncio.create_task(vendor.advance())
    await waiting.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await world.journal(vendor.run_id)).steps == {}
    passed.set()
    assert (await vendor.to_the_end()).state is RunStatus.COMPLETED
    assert set((await world.journal(vendor.run_id)).steps) == {"a"}

"""A caller in the worker's own process: the worker goes on by itself, with the same claims."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from calling_parts import VendorRun, World, WrappedStore, until

from turnout.errors import RunEnded, Superseded, Unavailable
from turnout.model.policies import Concurrency
from turnout.model.status import AttemptState, DeliveryState, RunStatus
from turnout.model.tasks import task
from turnout.worker.worker import TaskWorker


async def echo(name: str) -> str:
    """Give what is given."""
    return name


def recorded(store: Any, calls: list[str]) -> Any:
    """A store that records the names of the methods that it is asked for."""

    def record(name: str, method: Any) -> Any:
        calls.append(name)
        return method

    return WrappedStore(store, record)


async def started(world: World) -> VendorRun:
    """Emit a run, and start its vendor run."""
    return VendorRun(world, world.worker(), await world.emit("t"), "t")


async def test_a_caller_in_process_has_each_attempt_claimed_as_the_one_before_ends(
    make: Callable[..., World],
) -> None:
    """A run in process takes one commit to begin and one a step; each claim precedes its body."""
    seen: list[Any] = []

    async def body(name: str) -> str:
        journal = await world.journal(vendor.run_id)
        seen.append((name, journal.attempts[name][-1].state, journal.run.seq))
        return name

    @task("t", on="go")
    async def three(ctx: Any, payload: Any) -> Any:
        return [await ctx.step(name, body, name) for name in "abc"]

    world = make(three)
    vendor = await started(world)
    assert (await vendor.run_on()).state is RunStatus.COMPLETED
    assert seen == [(name, AttemptState.CLAIMED, at) for at, name in enumerate("abc", 1)]
    assert (await world.run(vendor.run_id)).seq == 4


async def test_a_run_that_is_known_is_begun_without_a_read(make: Callable[..., World]) -> None:
    """Its delivery is claimed with its first commit: a commit to begin it, and one a step."""
    told: list[str] = []

    @task("t", on="go")
    async def two(ctx: Any, payload: Any) -> Any:
        return [await ctx.step(name, echo, name) for name in "ab"]

    world = make(two)
    worker = TaskWorker(app=world.app, store=recorded(world.store, told), clock=world.clock)
    world.workers.append(worker)
    vendor = VendorRun(world, worker, await world.emit("t"), "t")
    known = await world.run(vendor.run_id)
    assert (await vendor.run_on(known)).state is RunStatus.COMPLETED
    assert told == ["journals.apply"] * 3
    (delivery,) = await world.store.deliveries.read(vendor.run_id)
    assert (delivery.provider_run_id, delivery.state) == (vendor.name, DeliveryState.ENDED)


async def test_what_is_known_of_a_run_may_be_old(make: Callable[..., World]) -> None:
    """A run that was moved on since, is another's or has ended is found to be so."""
    ran: list[str] = []

    async def body(name: str) -> None:
        ran.append(name)

    @task("t", on="go")
    async def one(ctx: Any, payload: Any) -> Any:
        await ctx.step("s", body, ctx.run_id)

    world = make(one)
    moved, taken, gone = [await started(world) for _ in range(3)]
    known = [await world.run(each.run_id) for each in (moved, taken, gone)]
    await moved.advance()
    await taken.by(world.worker(), name="another").advance()
    await world.cancel(gone.run_id)
    assert (await moved.by(world.worker()).run_on(known[0])).state is RunStatus.COMPLETED
    with pytest.raises(Superseded):
        await taken.run_on(known[1])
    with pytest.raises(RunEnded):
        await gone.run_on(known[2])
    assert ran == [moved.run_id]


async def test_a_run_with_a_limit_is_claimed_before_it_asks_for_a_slot(
    make: Callable[..., World],
) -> None:
    """What is known is enough only where nothing is asked of the store before the first commit."""

    @task("t", on="go", concurrency=Concurrency(limit=1))
    async def one(ctx: Any, payload: Any) -> Any:
        return await ctx.step("s", echo, "s")

    world = make(one)
    first, second = [await started(world) for _ in range(2)]
    known = [await world.run(each.run_id) for each in (first, second)]
    assert (await second.run_on(known[1])).park is not None
    assert (await first.run_on(known[0])).state is RunStatus.COMPLETED
    assert (await second.to_the_end(runs_on=True)).state is RunStatus.COMPLETED


async def test_a_cancel_stops_what_the_worker_went_on_to(make: Callable[..., World]) -> None:
    """A later attempt of one call is dropped as the first would be, and the caller is told."""
    seen: list[str] = []

    async def body(name: str) -> str:
        seen.append(name)
        if name == "b":
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("cancelled")
        return name

    @task("t", on="go")
    async def two(ctx: Any, payload: Any) -> Any:
        return [await ctx.step(name, body, name) for name in "abc"]

    world = make(two)
    vendor = await started(world)
    call = asyncio.create_task(vendor.run_on())
    await until(lambda: "b" in seen)
    await world.cancel(vendor.run_id)
    assert (await call).state is RunStatus.CANCELLED
    assert seen == ["a", "b", "cancelled"]
    assert len(vendor.worker._runs.in_flight) == 0


async def test_what_one_body_sets_in_its_context_the_next_one_does_not_see(
    make: Callable[..., World],
) -> None:
    """Each attempt has a context of its own, also where the worker goes on by itself."""
    told: ContextVar[str] = ContextVar("told", default="nothing")

    async def body(name: str) -> str:
        before = told.get()
        told.set(name)
        return before

    @task("t", on="go")
    async def three(ctx: Any, payload: Any) -> Any:
        return [await ctx.step(name, body, name) for name in "ab"]

    world = make(three)
    vendor = await started(world)
    await vendor.run_on()
    assert (await world.run(vendor.run_id)).result == b'["nothing","nothing"]'


async def test_a_worker_that_stops_gives_back_what_it_claimed_while_stopping(
    make: Callable[..., World],
) -> None:
    """An attempt claimed in a commit that was under way as the worker closed is interrupted."""
    gate, ran, committed = asyncio.Event(), [], []

    async def body(name: str) -> str:
        ran.append(name)
        if ran == ["a", "b"]:
            await asyncio.Event().wait()
        return name

    @task("t", on="go")
    async def two(ctx: Any, payload: Any) -> Any:
        return [await ctx.step(name, body, name) for name in "ab"]

    def slow(name: str, method: Any) -> Any:
        """Commits of an outcome are slow to come back."""

        async def apply(change: Any) -> bool:
            applied: bool = await method(change)
            if ran:
                committed.append(change)
                await gate.wait()
            return applied

        return apply if name == "journals.apply" else method

    world = make(two)
    worker = TaskWorker(app=world.app, store=WrappedStore(world.store, slow), clock=world.clock)
    vendor = VendorRun(world, worker, await world.emit("t"), "t")
    call = asyncio.create_task(vendor.run_on())
    await until(lambda: committed)
    closing = asyncio.create_task(worker.close(0))
    await until(lambda: worker._executor.closing)
    gate.set()
    await closing
    with pytest.raises(Unavailable):
        await call
    tried = (await world.journal(vendor.run_id)).attempts
    assert [each.state for each in tried["b"]] == [AttemptState.INTERRUPTED]
    assert (await vendor.by(world.worker()).to_the_end()).state is RunStatus.COMPLETED

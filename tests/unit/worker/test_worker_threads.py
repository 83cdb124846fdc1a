"""Sync bodies: their limits count from their beginning, and bodies that hang stop no others."""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from calling_parts import VendorRun, World, until
from turnout_testing.clock import TurnableClock

from turnout import Retries, Timeouts, task
from turnout.driver.commands import ReplaySession, StepCommand
from turnout.driver.context import StepContext
from turnout.model.protocol import Outcome
from turnout.model.status import RunStatus
from turnout.worker import threads
from turnout.worker.bodies import LiveBodies


async def started(world: World) -> VendorRun:
    """Start a run of the world's task, with the vendor run that calls for it."""
    run_id = await world.emit("t")
    return VendorRun(world, world.worker(), run_id, "t")


def attempt(name: str) -> StepContext:
    """An attempt of a step."""
    return StepContext(run_id="run", step=name, attempt=1)


def step(name: str, body: Callable[..., Any], *args: Any) -> StepCommand[Any]:
    """A step as a task function asks for it."""
    session = ReplaySession()
    command: StepCommand[Any] = StepCommand(session, name, body, args, {}, None, None)
    session.unawaited.clear()
    return command


@pytest.fixture
def journal(make: Callable[..., World]) -> Any:
    """Give the journal of a run."""

    @task("t", on="go")
    async def limited(ctx: Any, payload: Any) -> Any:
        return None

    async def read() -> Any:
        vendor = await started(make(limited))
        return await vendor.world.journal(vendor.run_id)

    return read


async def test_a_limit_does_not_count_while_a_body_waits_for_a_thread(journal: Any) -> None:
    """A body that waits longer than its limit for a thread has all of its time once it begins."""
    clock, let_go, began = TurnableClock(), threading.Event(), threading.Event()
    bodies = LiveBodies(clock, threads=1)
    run = await journal()
    first = asyncio.create_task(bodies.run(step("a", let_go.wait), attempt("a"), run, None))
    second = asyncio.create_task(bodies.run(step("b", began.set), attempt("b"), run, 2_000))
    await clock.advance("1m")
    assert not began.is_set()
    let_go.set()
    assert (await first).output == b"true"
    assert not (await second).timed_out
    assert began.is_set()
    await bodies.close()


async def test_a_body_that_hangs_gives_its_place_to_another(
    journal: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body that goes on after its limit is named with its stack; bodies that wait begin."""
    monkeypatch.setattr(threads, "HUNG_AFTER", 0.01)
    clock, let_go, began = TurnableClock(), threading.Event(), threading.Event()
    bodies = LiveBodies(clock, threads=1)
    run = await journal()

    def hangs_here() -> None:
        began.set()
        let_go.wait()

    hanging = asyncio.create_task(bodies.run(step("a", hangs_here), attempt("a"), run, 2_000))
    await until(began.is_set)
    await clock.advance("2s")
    assert (await hanging).timed_out
    assert (await bodies.run(step("b", int), attempt("b"), run, 2_000)).output == b"0"
    with caplog.at_level(logging.WARNING, "turnout.worker"):
        await until(
            lambda: [r for r in caplog.records if r.__dict__.get("action") == "thread_hung"]
        )
    (record,) = caplog.records
    named = record.__dict__
    assert (named["task"], named["step"], named["attempt"]) == ("t", "a", 1)
    assert "hangs_here" in named["stack"]
    let_go.set()
    await bodies.close()


async def test_bodies_that_hang_are_bounded(journal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where too many are left behind, the next body waits until one of them returns."""
    monkeypatch.setattr(threads, "MOST_LEFT_BEHIND", 1)
    clock, let_go = TurnableClock(), threading.Event()
    bodies = LiveBodies(clock, threads=1)
    run = await journal()
    for name in ("a", "b"):
        hanging = asyncio.create_task(bodies.run(step(name, let_go.wait), attempt(name), run, 10))
        await until(clock.next_sleeper)
        await clock.advance("1s")
        assert (await hanging).timed_out
    waiting = asyncio.create_task(bodies.run(step("c", int), attempt("c"), run, 10))
    await clock.advance("1m")
    assert not waiting.done()
    let_go.set()
    assert (await waiting).output == b"0"
    await bodies.close()


async def test_a_body_that_hangs_does_not_keep_a_process(make: Callable[..., World]) -> None:
    """Its thread is a daemon: a process that stops does not wait for it."""
    let_go, kinds = threading.Event(), []

    def hangs() -> None:
        kinds.append(threading.current_thread().daemon)
        let_go.wait()

    @task("t", on="go", retries=Retries(max_attempts=1), timeouts=Timeouts(step="1s"))
    async def limited(ctx: Any, payload: Any) -> Any:
        await ctx.step("a", hangs)

    vendor: VendorRun = await started(make(limited))
    await vendor.advance()
    running = asyncio.create_task(vendor.execute("a"))
    await until(lambda: kinds)
    await vendor.world.clock.advance("1s")
    answer = await running
    assert answer.receipt.outcome is Outcome.TIMED_OUT
    assert answer.next.state is RunStatus.FAILED
    assert kinds == [True]
    let_go.set()

"""Code that blocks the loop: leases are renewed, and it is named."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from calling_parts import VendorRun, World

from turnout import task
from turnout.driver.replay_task import ReplayTask
from turnout.model.protocol import Outcome
from turnout.model.runs import Claim
from turnout.model.time import Millis
from turnout.worker import loop_guard

ENOUGH = 30.0
"""Seconds that are waited for a thread, on a busy machine."""


class Named(logging.Handler):
    """Keeps the log's lines that name what blocks the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []
        self.any = threading.Event()
        self.nameless = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if record.__dict__.get("action") != "loop_blocked":
            return
        # Without a task, the machine was only slow for a moment.
        if "task" not in record.__dict__:
            self.nameless.set()
            return
        self.lines.append(record.__dict__)
        self.any.set()


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Iterator[Named]:
    """Listen to the log, which tells of a blocked loop at once."""
    monkeypatch.setattr(loop_guard, "NOTICED_AFTER", 0.0)
    handler, log = Named(), logging.getLogger("turnout.worker")
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


async def test_a_body_that_blocks_the_loop_keeps_its_lease(
    make: Callable[..., World], named: Named, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease is renewed while the loop stands; the log names the task, the step, the stack."""
    renewed = threading.Event()
    renewals: list[tuple[Sequence[Claim], Millis]] = []

    async def blocks_here() -> bool:
        return renewed.wait(ENOUGH) and named.any.wait(ENOUGH)

    @task("t", on="go")
    async def blocking(ctx: Any, payload: Any) -> Any:
        return await ctx.step("a", blocks_here)

    world = make(blocking)
    renew = world.store.leases.renew

    async def noted(claims: Sequence[Claim], lease_until: Millis) -> Sequence[Claim]:
        lost: Sequence[Claim] = await renew(claims, lease_until)
        if threading.current_thread() is not threading.main_thread():
            renewals.append((claims, lease_until))
            renewed.set()
        return lost

    monkeypatch.setattr(world.store.leases, "renew", noted)
    vendor = VendorRun(world, world.worker(), await world.emit("t"), "t")
    await vendor.advance()
    answer = await vendor.execute("a")
    assert answer.receipt.outcome is Outcome.COMPLETED
    assert answer.next.result is not None
    assert answer.next.result.inline is True
    assert renewals[0] == ([(vendor.run_id, "a", 1)], world.clock.now() + 15_000)
    line = named.lines[0]
    assert (line["task"], line["step"], line["attempt"]) == ("t", "a", 1)
    assert "blocks_here" in line["stack"]


async def test_a_function_that_blocks_between_its_steps_is_named(
    make: Callable[..., World], named: Named
) -> None:
    """The log names its task, where no step runs."""

    @task("t", on="go")
    async def blocking(ctx: Any, payload: Any) -> bool:
        return named.any.wait(ENOUGH)

    world = make(blocking)
    vendor = VendorRun(world, world.worker(), await world.emit("t"), "t")
    answer = await vendor.advance()
    assert answer.result is not None
    assert answer.result.inline is True
    assert (named.lines[0]["task"], named.lines[0]["step"]) == ("t", None)


async def test_a_function_that_blocks_after_other_code_is_named(named: Named) -> None:
    """What blocks first has no name; the loop receives no signal until the function blocks."""
    runs: Any = SimpleNamespace(in_flight=())
    guard = loop_guard.LoopGuard(runs, pause=0.001)
    guard.start()
    assert named.nameless.wait(ENOUGH)
    assert ReplayTask().run("t", lambda: named.any.wait(ENOUGH))
    guard.stop()
    assert [(line["task"], line["step"]) for line in named.lines] == [("t", None)]

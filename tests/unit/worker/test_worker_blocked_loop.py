"""An async body that blocks the loop: its lease is renewed, and it is named."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from calling_parts import VendorRun, World

from turnout import task
from turnout.model.protocol import Outcome
from turnout.model.runs import Claim
from turnout.model.time import Millis
from turnout.worker import loop_guard

ENOUGH = 30.0
"""Seconds that are waited for a thread, on a busy machine."""


async def test_a_body_that_blocks_the_loop_keeps_its_lease(
    make: Callable[..., World], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease is renewed while the loop stands; the log names the task, the step, the stack."""
    monkeypatch.setattr(loop_guard, "NOTICED_AFTER", 0.0)
    renewed, named = threading.Event(), threading.Event()
    renewals: list[tuple[Sequence[Claim], Millis]] = []

    class Named(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.__dict__.get("action") == "loop_blocked":
                named.set()

    async def blocks_here() -> bool:
        return renewed.wait(ENOUGH) and named.wait(ENOUGH)

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
    handler = Named()
    logging.getLogger("turnout.worker").addHandler(handler)
    try:
        with caplog.at_level(logging.WARNING, "turnout.worker"):
            answer = await vendor.execute("a")
    finally:
        logging.getLogger("turnout.worker").removeHandler(handler)
    assert answer.receipt.outcome is Outcome.COMPLETED
    assert answer.next.result is not None
    assert answer.next.result.inline is True
    assert renewals[0] == ([(vendor.run_id, "a", 1)], world.clock.now() + 15_000)
    blocked = next(
        record.__dict__
        for record in caplog.records
        if record.__dict__.get("action") == "loop_blocked"
    )
    assert (blocked["task"], blocked["step"], blocked["attempt"]) == ("t", "a", 1)
    assert "blocks_here" in blocked["stack"]

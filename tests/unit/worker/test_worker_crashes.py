"""A worker that dies at any commit: nothing committed runs again, and the run ends."""

import asyncio
import logging
from collections import Counter
from typing import Any

import pytest
from calling_parts import VendorRun, World, WrappedStore, world_of

from turnout.model.policies import Retries
from turnout.model.status import AttemptState, RunStatus
from turnout.model.tasks import app, task
from turnout.worker.options import WorkerOptions
from turnout.worker.worker import TaskWorker

WRITES = frozenset(
    {"deliveries.claim", "journals.apply", "deliveries.park", "limits.take_slot", "leases.renew"}
)


class Died(Exception):
    """The process is gone."""


class DyingStore(WrappedStore):
    """A store as a process sees it that dies at its n-th write, before or after the commit."""

    def __init__(self, store: Any, *, at: int, after: bool) -> None:
        super().__init__(store, self._mortal)
        self._left = at
        self._after = after
        self.dead = False

    def _mortal(self, name: str, method: Any) -> Any:
        async def call(*args: Any, **given: Any) -> Any:
            if self.dead:
                raise Died
            if name in WRITES:
                self._left -= 1
                self.dead = self._left < 0
            if self.dead and not self._after:
                raise Died
            found = await method(*args, **given)
            if self.dead:
                raise Died
            return found

        return call


async def crash_and_finish(
    at: int, *, after: bool, runs_on: bool
) -> tuple[bool, World, VendorRun, Counter[str]]:
    """Run until the n-th write kills the worker; then have another one finish."""
    bodies: Counter[str] = Counter()

    def body(name: str) -> str:
        bodies[name] += 1
        if name == "flaky" and bodies[name] == 1:
            raise OSError
        return name

    @task("t", on="go", retries=Retries(max_attempts=9, min_delay="1s"))
    async def journey(ctx: Any, payload: Any) -> Any:
        async def branch() -> Any:
            await ctx.sleep("nap", "1s")
            return await ctx.step("b", body, "b")

        await ctx.step("a", body, "a")
        await ctx.step("a2", body, "a2")
        await ctx.emit("told")
        await ctx.parallel(ctx.step("flaky", body, "flaky"), branch())
        return await ctx.step("c", body, "c")

    world = world_of(journey)
    run_id = await world.emit("t")
    dying = DyingStore(world.store, at=at, after=after)
    options = WorkerOptions(watch_seconds=60)
    doomed = TaskWorker(
        app=app("test", journey),
        store=dying,
        clock=world.clock,
        options=options,
    )
    vendor = VendorRun(world, doomed, run_id, "t")
    died = False
    try:
        await vendor.to_the_end(runs_on=runs_on)
    except Exception:  # noqa: BLE001 - dead is dead
        died = True
    await asyncio.sleep(0)
    if died:
        await world.clock.advance("20s")
        heir = vendor.by(world.worker())
        for expired in await world.store.leases.expired(world.clock.now(), limit=9):
            await heir.worker.expire(expired)
        await heir.to_the_end(runs_on=runs_on)
    return died, world, vendor, bodies


@pytest.mark.parametrize("runs_on", [False, True])
@pytest.mark.parametrize("after", [False, True])
async def test_a_worker_may_die_at_any_write(
    after: bool, runs_on: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """For every write, before and after its commit: each step is committed once, and all end."""
    caplog.set_level(logging.CRITICAL)
    for at in range(100):
        died, world, vendor, bodies = await crash_and_finish(at, after=after, runs_on=runs_on)
        journal = await world.journal(vendor.run_id)
        assert journal.run.state is RunStatus.COMPLETED, at
        for step, tried in journal.attempts.items():
            completed = [each for each in tried if each.state is AttemptState.COMPLETED]
            assert len(completed) == 1, (at, step)
            # A body runs again only where its attempt was never committed.
            lost = [each for each in tried if each.state is AttemptState.LOST]
            assert bodies[step] <= len(tried), (at, step)
            assert bodies[step] >= len(tried) - len(lost), (at, step)
        await world.close()
        if not died:
            assert at > 10
            return
    raise AssertionError("it always dies")

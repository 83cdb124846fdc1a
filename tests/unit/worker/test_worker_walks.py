"""A function that is kept suspended: it decides as its replay would, and never from a guess."""

from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any

import pytest
from calling_parts import VendorRun, World, world_of
from hypothesis import given, settings
from hypothesis import strategies as st
from program_parts import Node, programs, task_of
from worker_parts import PureRun, bad, ok

from turnout.model.protocol import Next
from turnout.model.status import RunStatus
from turnout.model.tasks import Task, task
from turnout.worker.changes import Draft
from turnout.worker.decision import Decision
from turnout.worker.replay import replay
from turnout.worker.walks import Walk


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., World]]:
    """Make worlds, and close them."""
    made: list[World] = []

    def new(*tasks: Task) -> World:
        made.append(world_of(*tasks))
        return made[-1]

    yield new
    for world in made:
        await world.close()


async def echo(name: str) -> str:
    """Give what is given."""
    return name


async def started(world: World, **options: Any) -> VendorRun:
    """Emit a run, and start its vendor run at a worker that keeps functions."""
    return VendorRun(world, world.worker(keeps=True, **options), await world.emit("t"), "t")


def told(decision: Decision) -> Any:
    """What a decision says, without the identities of its commands."""
    ready = [(each.command.id, each.attempt, each.index) for each in decision.ready]
    commands = {name: place for name, (_, place) in decision.commands.items()}
    plain = {name: getattr(decision, name) for name in Decision.__slots__}
    return {**plain, "ready": ready, "commands": commands}


class Walked(PureRun):
    """A run that is walked through, and whose every decision is compared with a replay's."""

    def __init__(self, task: Task) -> None:
        self.walk = Walk(keeps=True)
        super().__init__(task)

    def _commit(self, draft: Draft) -> Decision:
        known, view = draft.journal, draft.view()
        self.walk.stands(known)
        decision = self.walk.decide(self.task, known, view, self.now, self.effects)
        assert told(decision) == told(replay(self.task, view, self.now, self.effects))
        draft.record(decision, self.effects, self.now)
        self.journal, self.decision = draft.committed(), decision
        return decision


@settings(max_examples=60, deadline=None)
@given(program=programs, failures=st.lists(st.booleans(), max_size=8))
def test_a_kept_function_decides_as_its_replay_does(program: Node, failures: list[bool]) -> None:
    """Whatever the function looks like, and whichever of its attempts fail."""
    run = Walked(task_of(program))
    for _ in range(200):
        if run.decision.state is not RunStatus.RUNNING:
            return
        if run.decision.ready:
            failed = bool(failures) and failures.pop()
            run.execute(run.decision.ready[0].command.id, bad() if failed else ok(1))
        else:
            run.now = max(run.now + 1, run.decision.until or 0)
            run.look()
    raise AssertionError("the program did not end")


async def test_a_function_runs_once_where_nobody_else_moves_its_run(
    make: Callable[..., World],
) -> None:
    """What stands between two steps runs once; what closes the function runs once, too."""
    seen: list[str] = []

    @task("t", on="go")
    async def two(ctx: Any, payload: Any) -> Any:
        seen.append("top")
        try:
            first = await ctx.step("a", echo, "a")
            seen.append("between")
            return first + await ctx.step("b", echo, "b")
        finally:
            seen.append("end")

    vendor = await started(make(two))
    assert (await vendor.run_on()).state is RunStatus.COMPLETED
    assert seen == ["top", "between", "end"]
    assert (await vendor.world.run(vendor.run_id)).result == b'"ab"'


async def test_a_run_that_was_moved_beside_its_caller_is_replayed(
    make: Callable[..., World],
) -> None:
    """A function goes on from the journal that was committed as it stopped, or not at all."""
    seen: list[str] = []

    async def moving(name: str) -> str:
        journal = await world.journal(vendor.run_id)
        await world.store.redeliver(vendor.run_id, 1, "local", world.clock.now())
        assert (await world.journal(vendor.run_id)).run.seq == journal.run.seq + 1
        return name

    @task("t", on="go")
    async def two(ctx: Any, payload: Any) -> Any:
        seen.append("top")
        try:
            return await ctx.step("a", moving, "a") + await ctx.step("b", echo, "b")
        finally:
            seen.append("end")

    world = make(two)
    vendor = await started(world)
    await vendor.run_on()
    assert seen[:3] == ["top", "end", "top"]
    assert seen.count("top") == seen.count("end")
    assert (await world.run(vendor.run_id)).result == b'"ab"'


async def test_a_commit_that_fails_is_not_gone_on_from(make: Callable[..., World]) -> None:
    """What the function was told of an outcome that was not committed, it never was told."""
    results: list[str] = []

    class Losing:
        """The store, which loses the second commit and says that the run has moved."""

        def __init__(self) -> None:
            self.applied = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

        async def apply(self, change: Any) -> bool:
            self.applied += 1
            return self.applied != 2 and await world.store.apply(change)

    @task("t", on="go")
    async def one(ctx: Any, payload: Any) -> Any:
        results.append(await ctx.step("a", echo, "a"))
        return results

    world = make(one)
    vendor = await started(world)
    vendor.worker._runner.__dict__["store"] = Losing()
    assert (await vendor.run_on()).state is RunStatus.COMPLETED
    assert results == ["a", "a"]


@pytest.mark.parametrize("ends", ["sleep", "branches", "cancel"])
async def test_a_function_is_closed_where_its_caller_goes_no_further(
    make: Callable[..., World], ends: str
) -> None:
    """Nothing stays suspended once a run parks, branches or was cancelled."""
    seen: list[str] = []

    async def cancelled() -> None:
        await world.cancel(vendor.run_id)

    @task("t", on="go")
    async def some(ctx: Any, payload: Any) -> Any:
        seen.append("top")
        try:
            await ctx.step("a", echo, "a")
            if ends == "sleep":
                await ctx.sleep("s", 5)
            elif ends == "branches":
                await ctx.parallel(ctx.step("b", echo, "b"), ctx.step("c", echo, "c"))
            else:
                await ctx.step("d", cancelled)
        finally:
            seen.append("end")

    world = make(some)
    vendor = await started(world)
    found: Next = await vendor.run_on()
    assert seen == ["top", "end"]
    assert (found.state is RunStatus.CANCELLED) == (ends == "cancel")


async def test_a_functions_contextvars_are_its_own(make: Callable[..., World]) -> None:
    """A variable set around a step is reset in the context that it was set in, and not seen beside.

    So a span or a transaction may stay open around a step, whichever task steps the function on.
    """
    var: ContextVar[str] = ContextVar("var", default="none")

    @task("t", on="go")
    async def spanned(ctx: Any, payload: Any) -> Any:
        token = var.set("set")
        try:
            await ctx.step("a", echo, "a")
            return [var.get(), await ctx.step("b", echo, "b")]
        finally:
            var.reset(token)

    vendor = await started(make(spanned))
    assert (await vendor.run_on()).result.inline == ["set", "b"]  # type: ignore[union-attr]
    assert var.get() == "none"

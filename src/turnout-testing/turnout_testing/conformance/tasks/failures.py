"""Tasks that fail, take too long, or use the context wrongly."""

import asyncio
from datetime import timedelta
from typing import Any

from turnout.errors import NonRetryable, RetryAfter, StepFailed
from turnout.model.policies import CancelOn, Retries, Timeouts
from turnout.model.tasks import Task, task
from turnout_testing.conformance.tasks.values import ONCE, QUICK, Payload
from turnout_testing.conformance.world import Trace


def failing_tasks(trace: Trace, longer: float) -> list[Task]:
    """Make tasks that fail, and are tried again or not."""

    def attempt(name: str, fails: int) -> int:
        """Fail until the number of the attempt exceeds `fails`."""
        number = trace.mark(name, "attempt")
        if number <= fails:
            raise ValueError(f"attempt {number}")
        return number

    @task("flaky", on="conformance/flaky", retries=QUICK)
    async def flaky(ctx: Any, payload: Payload) -> int:
        """Fail as often as the payload says."""
        result: int = await ctx.step("try", attempt, payload["id"], payload["fails"])
        return result

    @task(
        "capped",
        on="conformance/capped",
        retries=Retries(max_attempts=4, min_delay="1s", max_delay="1s", factor=10),
    )
    async def capped(ctx: Any, payload: Payload) -> int:
        """Fail as often as the payload says, with delays that have a cap."""
        result: int = await ctx.step("try", attempt, payload["id"], payload["fails"])
        return result

    @task("caught", on="conformance/caught", retries=ONCE)
    async def catching(ctx: Any, payload: Payload) -> list[Any]:
        """Catch what a step raises when its attempts are used up."""
        try:
            await ctx.step("try", attempt, payload["id"], 9)
        except StepFailed as error:
            return [error.step, error.name, error.attempts]
        return []

    @task("final", on="conformance/final", retries=QUICK)
    async def final(ctx: Any, payload: Payload) -> None:
        """Raise what must not be tried again."""

        def body() -> None:
            trace.mark(payload["id"], "attempt")
            raise NonRetryable("no use")

        await ctx.step("try", body)

    @task(
        "later",
        on="conformance/later",
        retries=Retries(max_attempts=2, min_delay="30s", max_delay="30s"),
    )
    async def later(ctx: Any, payload: Payload) -> int:
        """Ask once to be tried again after two seconds."""

        def body() -> int:
            number = trace.mark(payload["id"], "attempt")
            if number == 1:
                raise RetryAfter(2.0, "busy")
            return number

        result: int = await ctx.step("try", body)
        return result

    @task("own", on="conformance/own", retries=Retries(max_attempts=9))
    async def own_retries(ctx: Any, payload: Payload) -> int:
        """Give a step retries of its own."""
        result: int = await ctx.step("try", attempt, payload["id"], 9, retries=ONCE)
        return result

    @task("budgets", on="conformance/budgets", retries=QUICK)
    async def budgets(ctx: Any, payload: Payload) -> list[int]:
        """Use two steps' attempts, which are counted apart."""
        name = payload["id"]
        first = await ctx.step("a", attempt, f"{name}-a", 2)
        return [first, await ctx.step("b", attempt, f"{name}-b", 2)]

    async def on_failure(ctx: Any, failed: Payload) -> None:
        """Note how the run ended."""
        await ctx.step("note", trace.mark, failed["payload"]["id"], "hook:" + failed["state"])

    @task(
        "hooked",
        on="conformance/hooked",
        retries=ONCE,
        on_failure=on_failure,
        timeouts=Timeouts(run=timedelta(seconds=20 * longer)),
        cancel_on=CancelOn(event="conformance/unhook", match="payload.id"),
    )
    async def hooked(ctx: Any, payload: Payload) -> None:
        """Fail, or time out, with a hook for failures."""
        if payload.get("wait"):
            await ctx.wait_for_event("conformance/never", timeout="15s")
        await ctx.step("try", attempt, payload["id"], 9)

    @task(
        "impatient",
        on="conformance/impatient",
        on_failure=on_failure,
        timeouts=Timeouts(run="5s"),
    )
    async def impatient(ctx: Any, payload: Payload) -> None:
        """Wait for longer than the run may take."""
        await ctx.wait_for_event("conformance/never", timeout="15s")

    return [impatient, flaky, capped, catching, final, later, own_retries, budgets, hooked]


def timed_tasks(trace: Trace) -> list[Task]:
    """Make tasks that take longer than they may."""

    async def stall(name: str, seconds: float) -> int:
        """Take so many seconds at the first attempt."""
        number = trace.mark(name, "attempt")
        await asyncio.sleep(seconds if number == 1 else 0)
        return number

    @task("bounded", on="conformance/bounded", timeouts=Timeouts(run="3s"))
    async def bounded(ctx: Any, payload: Payload) -> None:
        """Sleep or work for longer than the run may take."""
        if payload.get("asleep"):
            await ctx.sleep("rest", "60s")
        await ctx.step("stall", stall, payload["id"], 20.0)

    @task(
        "step-bounded",
        on="conformance/step-bounded",
        retries=QUICK,
        timeouts=Timeouts(step="1s"),
    )
    async def step_bounded(ctx: Any, payload: Payload) -> int:
        """Work for longer than a step may take, once."""
        result: int = await ctx.step("stall", stall, payload["id"], 20.0)
        return result

    @task("step-own", on="conformance/step-own", retries=ONCE)
    async def step_own(ctx: Any, payload: Payload) -> str:
        """Work for longer than this step may take."""
        try:
            await ctx.step("stall", stall, payload["id"], 20.0, timeout="1s")
        except StepFailed as error:
            return error.name
        return "none"

    @task("long", on="conformance/long")
    async def long(ctx: Any, payload: Payload) -> int:
        """Work for as long as the payload says, and note a cancel."""

        async def body() -> int:
            trace.mark(payload["id"], "long")
            try:
                await asyncio.sleep(float(payload["for"]))
            except asyncio.CancelledError:
                trace.mark(payload["id"], "stopped")
                raise
            return 1

        result: int = await ctx.step("work", body)
        trace.mark(payload["id"], "after")
        return result

    return [bounded, step_bounded, step_own, long]


def broken_tasks() -> list[Task]:
    """Make tasks that use the context wrongly."""

    @task("twice", on="conformance/twice")
    async def twice(ctx: Any, payload: Payload) -> None:
        """Use one step id twice."""
        await ctx.step("same", int)
        await ctx.step("same", int)

    @task("numbered", on="conformance/numbered")
    async def numbered(ctx: Any, payload: Payload) -> None:
        """Use an id that a numbered repetition would have."""
        await ctx.step("part:2", int)

    @task("foreign", on="conformance/foreign")
    async def foreign(ctx: Any, payload: Payload) -> None:
        """Await what is not of the context."""
        await asyncio.sleep(0)

    @task("unknown-child", on="conformance/unknown-child")
    async def unknown_child(ctx: Any, payload: Payload) -> str:
        """Invoke a task that there is not."""
        try:
            await ctx.invoke("no-such-task", {})
        except StepFailed as error:
            return error.name
        return "none"

    @task("no-json", on="conformance/no-json", retries=QUICK)
    async def no_json(ctx: Any, payload: Payload) -> None:
        """Give a result that is no JSON."""
        await ctx.step("make", object)

    return [twice, numbered, foreign, unknown_child, no_json]

"""Tasks of steps, waits and branches."""

import asyncio
import time
from typing import Any

from turnout.errors import StepFailed
from turnout.model.policies import Retries
from turnout.model.tasks import Task, define_task, task
from turnout_testing.conformance.tasks.values import ONCE, QUICK, Line, Order, Payload
from turnout_testing.conformance.world import Trace


def plain_tasks(trace: Trace) -> list[Task]:
    """Make tasks of steps in a row."""

    @task("three", on=["conformance/three", "conformance/both"])
    async def three(ctx: Any, payload: Payload) -> list[int]:
        """Run three steps, each with the result of the one before."""

        def body(number: int) -> int:
            trace.mark(payload["id"], f"step-{number}")
            return number

        first = await ctx.step("one", body, 1)
        second = await ctx.step("two", body, first + 1)
        return [first, second, await ctx.step("three", body, second + 1)]

    @task("echo", on=["conformance/echo", "conformance/both"])
    async def echo(_ctx: Any, payload: Payload) -> Payload:
        """Give the payload back."""
        return payload

    @task("typed", on="conformance/typed")
    async def typed(ctx: Any, order: Order) -> Line:
        """Take a model, and give another one back."""

        def line() -> Line:
            return Line(text=order.id, amount=order.amount)

        entry = await ctx.step("line", line)
        assert isinstance(entry, Line)
        return entry

    @task("bodies", on="conformance/bodies")
    async def bodies(ctx: Any, payload: Payload) -> list[str]:
        """Run an async body, and an ordinary one."""

        async def slow() -> str:
            await asyncio.sleep(0.01)
            return "async"

        def blocking() -> str:
            time.sleep(0.01)
            return "sync"

        return [await ctx.step("a", slow), await ctx.step("b", blocking)]

    @task("keyed", on="conformance/keyed", retries=Retries(max_attempts=2, min_delay="1s"))
    async def keyed(ctx: Any, payload: Payload) -> list[Any]:
        """Give the run's id, and the key and the number of the second attempt."""

        def body() -> list[Any]:
            identity = [ctx.idempotency_key, ctx.attempt]
            if trace.mark(payload["id"], "keyed") == 1:
                raise ValueError("once more")
            return identity

        return [ctx.run_id, *(await ctx.step("look", body))]

    @task("told", on="conformance/told")
    async def reporting(ctx: Any, payload: Payload) -> None:
        """Tell of progress, and wait for an event."""
        ctx.progress({"half": True})
        await ctx.step("one", lambda: 1)
        await ctx.wait_for_event("conformance/go", match="payload.id", timeout="60s")

    def double(payload: Payload) -> int:
        """Double the payload's number."""
        return int(payload["number"]) * 2

    def add_one(number: int) -> int:
        """Add one."""
        return number + 1

    chain = define_task("chain", steps=[double, add_one], on="conformance/chain")
    return [three, echo, typed, bodies, keyed, reporting, chain]


def waiting_tasks(trace: Trace) -> list[Task]:
    """Make tasks that sleep, and that wait for events."""

    @task("nap", on="conformance/nap")
    async def nap(ctx: Any, payload: Payload) -> None:
        """Sleep for as long as the payload says."""
        await ctx.step("before", trace.mark, payload["id"], "before")
        await ctx.sleep("rest", payload["for"])
        await ctx.step("after", trace.mark, payload["id"], "after")

    @task("until", on="conformance/until")
    async def until(ctx: Any, payload: Payload) -> None:
        """Sleep until the payload's moment."""
        await ctx.sleep_until("rest", payload["until"])
        await ctx.step("after", trace.mark, payload["id"], "after")

    @task("approval", on="conformance/approval")
    async def approval(ctx: Any, payload: Payload) -> Any:
        """Wait for an event with the payload's id."""
        timeout = payload.get("timeout", "60s")
        return await ctx.wait_for_event("conformance/approved", match="payload.id", timeout=timeout)

    @task("late-waits", on="conformance/late-waits")
    async def late_waits(ctx: Any, payload: Payload) -> list[Any]:
        """Wait for a sign, and then three times for events that may have come before."""
        await ctx.wait_for_event("conformance/go", match="payload.id", timeout="60s")
        approvals = [
            await ctx.wait_for_event(
                "conformance/approved", match="payload.id", timeout=timeout, id=name, since="run"
            )
            for name, timeout in (("first", "60s"), ("second", "60s"), ("third", "1s"))
        ]
        return [approval and approval["number"] for approval in approvals]

    @task("two-waits", on="conformance/two-waits")
    async def two_waits(ctx: Any, payload: Payload) -> list[Any]:
        """Wait for two events, one after the other."""
        first = await ctx.wait_for_event(
            "conformance/approved", match="payload.id", timeout="60s", id="first"
        )
        second = await ctx.wait_for_event(
            "conformance/approved",
            match={"payload.id": payload["id"], "payload.number": 2},
            timeout="60s",
            id="second",
        )
        return [first["number"], second["number"]]

    return [nap, until, approval, late_waits, two_waits]


def parallel_tasks(trace: Trace) -> list[Task]:
    """Make tasks with branches side by side."""

    @task("fan", on="conformance/fan")
    async def fan(ctx: Any, payload: Payload) -> list[int]:
        """Run three steps side by side."""

        async def body(number: int) -> int:
            trace.enter(payload["id"])
            await asyncio.sleep(0.8)
            trace.leave(payload["id"])
            return number

        results: list[int] = await ctx.parallel(
            *(ctx.step(f"branch-{number}", body, number) for number in range(3))
        )
        return results

    @task("branches", on="conformance/branches", retries=ONCE)
    async def branches(ctx: Any, payload: Payload) -> Any:
        """Run a branch that fails beside one that takes longer."""

        def fail() -> None:
            raise ValueError("branch")

        async def long() -> str:
            await ctx.step("l1", trace.mark, payload["id"], "l1")
            await ctx.sleep("l-rest", "1s")
            await ctx.step("l2", trace.mark, payload["id"], "l2")
            return "long"

        try:
            await ctx.parallel(ctx.step("bad", fail), long())
        except StepFailed as error:
            return error.step
        return None

    @task("nested", on="conformance/nested")
    async def nested(ctx: Any, payload: Payload) -> Any:
        """Run steps side by side within branches."""

        async def inner(name: str) -> list[int]:
            results: list[int] = await ctx.parallel(
                ctx.step(f"{name}-1", int, 1), ctx.step(f"{name}-2", int, 2)
            )
            return results

        return await ctx.parallel(inner("a"), inner("b"))

    @task("uneven", on="conformance/uneven", retries=QUICK)
    async def uneven(ctx: Any, payload: Payload) -> list[str]:
        """Run a branch that is tried again beside one that is slow."""

        def flaky() -> str:
            if trace.mark(payload["id"], "flaky") == 1:
                raise ValueError("once more")
            return "flaky"

        async def slow() -> str:
            await asyncio.sleep(4)
            trace.mark(payload["id"], "slow")
            return "slow"

        results: list[str] = await ctx.parallel(ctx.step("f", flaky), ctx.step("s", slow))
        return results

    return [fan, branches, nested, uneven]

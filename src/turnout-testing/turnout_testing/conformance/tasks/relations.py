"""Tasks that share a limit, and tasks that start or cancel one another."""

import asyncio
import contextlib
from collections import defaultdict
from datetime import timedelta
from typing import Any

from turnout.errors import StepFailed
from turnout.model.policies import CancelOn, Concurrency, Timeouts
from turnout.model.tasks import Task, task
from turnout_testing.conformance.tasks.values import ONCE, Payload
from turnout_testing.conformance.world import Trace


def limited_tasks(trace: Trace, longer: float) -> list[Task]:
    """Make tasks of which only so many run at a time."""
    second_holder: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def hold(group: str, name: str, seconds: float) -> None:
        """Hold a place in the group for so many seconds."""
        trace.mark(group, f"begin:{name}")
        trace.enter(group)
        await asyncio.sleep(seconds)
        trace.leave(group)
        trace.mark(group, f"end:{name}")

    async def meet(group: str, name: str, seconds: float) -> None:
        """Hold until another one comes, so long at most: a vendor may start it slowly."""
        trace.mark(group, f"begin:{name}")
        trace.enter(group)
        if trace.peak[group] > 1:
            second_holder[group].set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(second_holder[group].wait(), seconds)
        await asyncio.sleep(0.5)
        trace.leave(group)
        trace.mark(group, f"end:{name}")

    @task(
        "single",
        on="conformance/single",
        retries=ONCE,
        concurrency=Concurrency(limit=1, key="payload.group"),
    )
    async def single(ctx: Any, payload: Payload) -> None:
        """Hold the group's only place, sleep, and hold it again."""
        await ctx.step("hold", hold, payload["group"], payload["id"], payload.get("for", 0.3))
        if payload.get("fail"):
            raise ValueError("as asked")
        await ctx.sleep("rest", payload.get("rest", "0s"))
        await ctx.step("again", hold, payload["group"], payload["id"], 0.0)

    @task("pair", on="conformance/pair", concurrency=Concurrency(limit=2, key="payload.group"))
    async def pair(ctx: Any, payload: Payload) -> None:
        """Hold one of the group's two places until another run has the second."""
        await ctx.step("hold", meet, payload["group"], payload["id"], 20.0 * longer)

    @task(
        "stepwise",
        on="conformance/stepwise",
        concurrency=Concurrency(limit=1, key="payload.group", counts="steps"),
    )
    async def stepwise(ctx: Any, payload: Payload) -> None:
        """Run two steps of which one of the group runs at a time."""
        await ctx.step("hold", hold, payload["group"], payload["id"], 0.3)
        await ctx.sleep("rest", timedelta(seconds=payload["rest"]))
        await ctx.step("again", hold, payload["group"], payload["id"], 0.3)

    @task(
        "queued",
        on="conformance/queued",
        timeouts=Timeouts(queue=timedelta(seconds=5 * longer)),
        concurrency=Concurrency(limit=1, key="payload.group"),
    )
    async def queued(ctx: Any, payload: Payload) -> None:
        """Hold a place that others may only wait for so long."""
        await ctx.step("hold", hold, payload["group"], payload["id"], payload["for"])

    return [single, pair, stepwise, queued]


def related_tasks(trace: Trace) -> list[Task]:
    """Make tasks that start, invoke and cancel others, and one that is scheduled."""

    @task("parent", on="conformance/parent", retries=ONCE)
    async def parent(ctx: Any, payload: Payload) -> Any:
        """Invoke the task that the payload names."""
        try:
            return await ctx.invoke(payload["child"], {"id": payload["id"], "for": 30})
        except StepFailed as error:
            return ["failed", error.name]

    @task("speaker", on="conformance/speaker")
    async def speaker(ctx: Any, payload: Payload) -> str:
        """Emit an event that another task is started by."""
        result: str = await ctx.emit("conformance/heard", {"id": payload["id"]})
        await ctx.sleep("rest", "1s")
        return result

    @task("listener", on="conformance/heard")
    async def listener(ctx: Any, payload: Payload) -> None:
        """Note that the event was heard."""
        await ctx.step("hear", trace.mark, payload["id"], "heard")

    @task(
        "stoppable",
        on="conformance/stoppable",
        cancel_on=CancelOn(event="conformance/stop", match="payload.id"),
    )
    async def stoppable(ctx: Any, payload: Payload) -> None:
        """Sleep until the run is cancelled by its event."""
        await ctx.sleep("rest", payload.get("for", "60s"))

    @task("scheduled")
    async def scheduled(ctx: Any, payload: Payload) -> None:
        """Note that a slot has started a run."""
        await ctx.step("mark", trace.mark, payload["id"], "slot")

    return [parent, speaker, listener, stoppable, scheduled]

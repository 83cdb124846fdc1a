"""A small app whose runs do everything, and write down what their steps really did.

Each body appends a line to the file that `FAULTS_EFFECTS` names and syncs it, so that what ran can
be told apart from what was committed, whatever was killed.
"""

import asyncio
import json
import os
import time
from typing import Any

from turnout import CancelOn, Concurrency, Context, Retries, Schedule, app, task
from turnout.model.time import Millis, as_datetime

PATIENT = Retries(max_attempts=9, min_delay="50ms", max_delay="100ms")


def note(ctx: Context, what: str, **more: Any) -> str:
    """Write down that a body came this far; gives the attempt as text."""
    line = {
        "step": ctx.idempotency_key,
        "attempt": ctx.attempt,
        "what": what,
        "pid": os.getpid(),
        "at": time.time_ns(),
        **more,
    }
    opened = os.open(os.environ["FAULTS_EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(opened, json.dumps(line).encode() + b"\n")
        os.fsync(opened)
    finally:
        os.close(opened)
    return f"{ctx.idempotency_key}#{ctx.attempt}"


@task("journey", on="faults/go", retries=PATIENT, cancel_on=CancelOn(event="faults/never"))
async def journey(ctx: Context, payload: dict[str, Any]) -> Any:
    """A step, a failure and its retry, a sleep, branches, a child, an event out and one in."""

    def flaky() -> str:
        told = note(ctx, "begin")
        if ctx.attempt == 1:
            raise OSError("the first try fails")
        return told

    async def branch(name: str) -> Any:
        await ctx.sleep(f"nap-{name}", "30ms")
        return await ctx.step(name, note, ctx, "begin")

    await ctx.step("first", note, ctx, "begin")
    await ctx.step("flaky", flaky)
    await ctx.sleep("nap", "50ms")
    if payload.get("slow"):
        await ctx.step("slow", slow, ctx, payload["slow"])
    await ctx.parallel(branch("left"), branch("right"), ctx.step("middle", note, ctx, "begin"))
    child = await ctx.invoke("child", {"of": ctx.run_id})
    await ctx.emit("faults/told", {"of": ctx.run_id})
    sign = await ctx.wait_for_event(
        "faults/sign", match={"payload.of": ctx.run_id}, timeout="1h", id="sign"
    )
    last = await ctx.step("last", note, ctx, "begin")
    return {"child": child, "sign": sign["of"], "last": last}


async def slow(ctx: Context, seconds: float) -> str:
    """Work for so long that the claim must be renewed."""
    note(ctx, "begin")
    await asyncio.sleep(seconds)
    return note(ctx, "end")


@task("beside", on="faults/go", retries=PATIENT)
async def beside(ctx: Context, payload: Any) -> Any:
    """Started by the same event as a journey: both start, or neither."""
    return await ctx.step("only", note, ctx, "begin")


@task("child", retries=PATIENT)
async def child(ctx: Context, payload: Any) -> Any:
    """What a journey invokes."""
    return await ctx.step("only", note, ctx, "begin")


@task("told", on="faults/told", retries=PATIENT)
async def told(ctx: Context, payload: Any) -> Any:
    """What a journey's event starts."""
    return await ctx.step("only", note, ctx, "begin")


@task(
    "limited",
    on="faults/limited",
    retries=PATIENT,
    concurrency=Concurrency(limit=1, key="payload.lane"),
)
async def limited(ctx: Context, payload: dict[str, Any]) -> Any:
    """One run of a lane at a time, a sleep included."""
    lane = payload["lane"]

    def one(what: str) -> str:
        return note(ctx, what, lane=f"run:{lane}")

    await ctx.step("begin", one, "begin")
    await ctx.sleep("nap", "20ms")
    return await ctx.step("end", one, "end")


@task(
    "stepwise",
    on="faults/stepwise",
    retries=PATIENT,
    concurrency=Concurrency(limit=2, key="payload.lane", counts="steps"),
)
async def stepwise(ctx: Context, payload: dict[str, Any]) -> Any:
    """Two executing steps of a lane at a time."""
    lane = payload["lane"]

    async def body() -> str:
        note(ctx, "begin", lane=f"step:{lane}")
        await asyncio.sleep(0.02)
        return note(ctx, "end", lane=f"step:{lane}")

    return await ctx.parallel(ctx.step("a", body), ctx.step("b", body))


@task("sleeper", on="faults/sleep", retries=PATIENT)
async def sleeper(ctx: Context, payload: Any) -> None:
    """Sleeps until it is cancelled."""
    await ctx.step("only", note, ctx, "begin")
    await ctx.sleep("long", "1d")


async def mourn(ctx: Context, payload: Any) -> Any:
    """Runs once when a failing run has failed."""
    return await ctx.step("only", note, ctx, "begin")


@task("failing", on="faults/fail", retries=PATIENT, on_failure=mourn)
async def failing(ctx: Context, payload: Any) -> None:
    """Fails, by its own code: no step can be lost in it."""
    await ctx.sleep("nap", "10ms")
    raise RuntimeError("as planned")


@task("ordered", on="faults/ordered", retries=PATIENT)
async def ordered(ctx: Context, payload: Any) -> Any:
    """Started in a transaction of the caller's."""
    return await ctx.step("only", note, ctx, "begin")


@task("unhurried", on="faults/unhurried", retries=Retries(max_attempts=1))
async def unhurried(ctx: Context, payload: Any) -> Any:
    """One try of a step, which outlasts every grace; the one after an interruption is quick."""

    async def body() -> str:
        note(ctx, "begin")
        if ctx.attempt == 1:
            await asyncio.sleep(90)
        return note(ctx, "end")

    return await ctx.step("only", body)


def schedule_of(slot: Millis) -> Schedule:
    """A schedule with a slot at this minute, and the next one in a year."""
    at = as_datetime(slot)
    cron = f"{at.minute} {at.hour} {at.day} {at.month} *"
    return Schedule(id="yearly", task="beside", cron=cron, payload={"slot": True})


faults = app(
    "faults",
    journey,
    beside,
    child,
    told,
    limited,
    stepwise,
    sleeper,
    failing,
    ordered,
    unhurried,
    schedules=[schedule_of(0)],
)

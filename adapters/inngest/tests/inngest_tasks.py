"""Tasks that use all there is; what their steps did is kept in memory, or in a folder."""

# ruff: noqa: D103 - a task is named by what it shows

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import turnout
from turnout import CancelOn, Context, Retries, app, task

tried: dict[str, list[float]] = {}
QUICK = Retries(max_attempts=3, min_delay="200ms", max_delay="2s", factor=2)


async def add(a: int, b: int) -> int:
    return a + b


def _try(name: str) -> int:
    tried.setdefault(name, []).append(time.monotonic())
    return len(tried[name])


async def flaky(name: str, fails: int) -> str:
    if _try(name) <= fails:
        raise ValueError(f"{name} not yet")
    return name


async def overtaken_by(name: str) -> None:
    if name not in tried:
        raise ValueError(f"{name} not yet")


async def mark(name: str) -> float:
    _try(name)
    return time.time()


@task("plain", on="do/plain")
async def plain(ctx: Context, payload: dict[str, Any]) -> int:
    one = await ctx.step("one", add, 0, 1)
    two = await ctx.step("two", add, one, 1)
    return await ctx.step("three", add, two, 1)


@task("retried", on="do/retried", retries=QUICK)
async def retried(ctx: Context, payload: dict[str, Any]) -> str:
    return await ctx.step("shaky", flaky, "shaky", 2)


@task("asleep", on="do/asleep")
async def asleep(ctx: Context, payload: dict[str, Any]) -> list[float]:
    before = await ctx.step("before", mark, "before")
    await ctx.sleep("nap", "1600ms")
    return [before, await ctx.step("after", mark, "after")]


@task("waiting", on="do/waiting")
async def waiting(ctx: Context, payload: dict[str, Any]) -> Any:
    return await ctx.wait_for_event("said/yes", match="payload.who", timeout="1h")


@task("unanswered", on="do/unanswered")
async def unanswered(ctx: Context, payload: dict[str, Any]) -> bool:
    return await ctx.wait_for_event("said/never", timeout="1200ms") is None


@task("abreast", on="do/abreast", retries=QUICK)
async def abreast(ctx: Context, payload: dict[str, Any]) -> Any:
    """One branch fails until the other has had all its steps, which are more than its tries."""
    slow = Retries(max_attempts=4, min_delay="3s", max_delay="1m", factor=3)

    async def chain() -> Any:
        await ctx.sleep("pause", "1100ms")
        for n in range(slow.max_attempts + 1):
            await ctx.step(f"chain-{n}", mark, f"chain-{n}")
        return await ctx.step("chain-end", mark, "chain-end")

    found = await ctx.parallel(
        ctx.step("stubborn", overtaken_by, "chain-end", retries=slow), chain()
    )
    last = await ctx.step("joined", mark, "joined")
    return [*found, last]


@task("wide", on="do/wide")
async def wide(ctx: Context, payload: dict[str, Any]) -> int:
    for turn in range(3):
        await ctx.parallel(*(ctx.step(f"w{turn}-{n}", add, turn, n) for n in range(4)))
    return await ctx.step("sum", add, 1, 2)


@task("overtaken", on="do/overtaken")
async def overtaken(ctx: Context, payload: dict[str, Any]) -> Any:
    """A branch that waits for an event is met while the other branch's step runs."""

    async def branch() -> float:
        await ctx.wait_for_event("said/go", match="payload.who", timeout="1h")
        return await ctx.step("met", mark, "met")

    found = await ctx.parallel(ctx.step("slow", dawdle, 6.0), branch())
    return [*found, await ctx.step("behind", mark, "behind")]


async def dawdle(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return time.time()


@task("parent", on="do/parent")
async def parent(ctx: Context, payload: dict[str, Any]) -> int:
    return await ctx.step("plus", add, await ctx.invoke("plain", {}), 10)


@task("failing", on="do/failing", retries=Retries(max_attempts=1))
async def failing(ctx: Context, payload: dict[str, Any]) -> None:
    await ctx.step("bad", flaky, "bad", 99)


async def mourn(ctx: Context, payload: dict[str, Any]) -> str:
    return await ctx.step("tell", say, payload["task"])


async def say(what: str) -> str:
    _try(f"mourned {what}")
    return what


hooked = task("hooked", on="do/hooked", retries=Retries(max_attempts=1), on_failure=mourn)(
    failing.function
)


@task("stoppable", on="do/stoppable", cancel_on=CancelOn(event="said/stop", match="payload.who"))
async def stoppable(ctx: Context, payload: dict[str, Any]) -> None:
    await ctx.step("first", add, 1, 1)
    await ctx.sleep("long", "1h")


@task("long-step", on="do/long")
async def long_step(ctx: Context, payload: dict[str, Any]) -> float:
    return await ctx.step("dawdle", dawdle, 1.0)


# -- for services that are killed: what steps did is in files ------------------------------------


def note(step: str) -> int:
    path = Path(os.environ["NOTES"]) / step
    times = len(path.read_text()) + 1 if path.exists() else 1
    path.write_text("x" * times)
    return times


def note_slowly(step: str) -> int:
    times = note(step)
    if times == 1:
        time.sleep(60)
    return times


@task("killed", on="do/killed", retries=Retries(max_attempts=3, min_delay="100ms"))
async def killed(ctx: Context, payload: dict[str, Any]) -> list[int]:
    first = await ctx.step("first", note, "first")
    second = await ctx.step("second", note_slowly, "second")
    return [first, second, await ctx.step("third", note, "third")]


async def note_and_dawdle(step: str) -> int:
    times = note(step)
    await asyncio.sleep(4.0)
    return times


@task("at-work", on="do/at-work", retries=Retries(max_attempts=1))
async def at_work(ctx: Context, payload: dict[str, Any]) -> list[int]:
    """Be in a step; nothing may be tried twice."""
    who = payload["who"]
    first = await ctx.step("first", note, f"{who}-first")
    second = await ctx.step("second", note_and_dawdle, f"{who}-second")
    return [first, second, await ctx.step("third", note, f"{who}-third")]


@task("at-rest", on="do/at-rest", retries=Retries(max_attempts=1))
async def at_rest(ctx: Context, payload: dict[str, Any]) -> list[int]:
    """Sleep, and wait; nothing may be tried twice."""
    who = payload["who"]
    first = await ctx.step("first", note, f"{who}-first")
    await ctx.sleep("nap", "3s")
    await ctx.wait_for_event("said/go-on", match="payload.who", timeout="1h")
    return [first, await ctx.step("second", note, f"{who}-second")]


def service() -> Any:
    """Make the application of a service that runs as a process of its own."""
    return turnout.asgi(turnout.open_turnout(everything))


everything = app(
    "stage",
    *(plain, retried, asleep, waiting, unanswered, abreast, wide, overtaken, parent, failing),
    *(hooked, stoppable, long_step, killed, at_work, at_rest),
)

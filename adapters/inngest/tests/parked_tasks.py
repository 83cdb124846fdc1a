"""An app whose runs all come to wait; what their steps did is counted in files of the folder NOTES.

`python parked_tasks.py` starts one run of each kind and prints their ids. It uses only what every
version of Turnout offers, so that the version before starts what today's version ends.
"""

import asyncio
import datetime as dt
import json
import os
import sys
from pathlib import Path
from typing import Any

import inngest
from turnout_inngest.adoption import adopt

import turnout
from turnout import CancelOn, Concurrency, Context, Event, Retries, task


def note(step: str) -> int:
    """Be a step that counts how often it is begun."""
    path = Path(os.environ["NOTES"]) / step
    times = len(path.read_text()) + 1 if path.exists() else 1
    path.write_text("x" * times)
    return times


def note_or_fail(step: str) -> int:
    """Fail the first time."""
    if note(step) == 1:
        raise ValueError("not yet")
    return 2


async def until_told(ctx: Context, who: str) -> Any:
    """Wait for an event between two steps."""
    first = await ctx.step("first", note, f"{who}-first")
    await ctx.wait_for_event("parked/go", match="payload.who", timeout="1h", id="go")
    return [first, await ctx.step("second", note, f"{who}-second")]


@task("sleeping", on="parked/sleeping", retries=Retries(max_attempts=1))
async def sleeping(ctx: Context, payload: dict[str, Any]) -> Any:
    """Sleep between two steps."""
    first = await ctx.step("first", note, "sleeping-first")
    await ctx.sleep("nap", "20s")
    return [first, await ctx.step("second", note, "sleeping-second")]


@task("waiting", on="parked/waiting", retries=Retries(max_attempts=1))
async def waiting(ctx: Context, payload: dict[str, Any]) -> Any:
    """Wait for an event between two steps."""
    return await until_told(ctx, payload["who"])


@task("failed-once", on="parked/failed-once", retries=Retries(max_attempts=2, min_delay="20s"))
async def failed_once(ctx: Context, payload: dict[str, Any]) -> Any:
    """Wait for the second try of a step."""
    first = await ctx.step("first", note, "failed-once-first")
    return [first, await ctx.step("shaky", note_or_fail, "failed-once-shaky")]


@task("abreast", on="parked/abreast", retries=Retries(max_attempts=1))
async def abreast(ctx: Context, payload: dict[str, Any]) -> Any:
    """Wait in one of two branches, with the other one done."""

    async def branch() -> Any:
        await ctx.wait_for_event("parked/go", match="payload.who", timeout="1h", id="go")
        return await ctx.step("behind", note, "abreast-behind")

    found = await ctx.parallel(ctx.step("beside", note, "abreast-beside"), branch())
    return [*found, await ctx.step("joined", note, "abreast-joined")]


@task("parent", on="parked/parent", retries=Retries(max_attempts=1))
async def parent(ctx: Context, payload: dict[str, Any]) -> Any:
    """Wait for a run that waits."""
    found = await ctx.invoke("waiting", {"who": payload["who"]}, id="call")
    return [*found, await ctx.step("last", note, "parent-last")]


@task(
    "limited",
    on="parked/limited",
    retries=Retries(max_attempts=1),
    concurrency=Concurrency(limit=1, key="payload.room"),
)
async def limited(ctx: Context, payload: dict[str, Any]) -> Any:
    """Wait with the only place taken, or for it."""
    return await until_told(ctx, payload["who"])


@task(
    "stoppable",
    on="parked/stoppable",
    cancel_on=CancelOn(event="parked/stop", match="payload.who"),
)
async def stoppable(ctx: Context, payload: dict[str, Any]) -> Any:
    """Wait until cancelled."""
    return await until_told(ctx, payload["who"])


client = inngest.Inngest(app_id="parked", is_production=False)


@client.create_function(
    fn_id="adopted", trigger=inngest.TriggerEvent(event="parked/adopted"), retries=0
)
async def adopted(ctx: inngest.Context) -> Any:
    """Wait as a function of the vendor's SDK does."""

    async def first() -> int:
        return note("adopted-first")

    async def second() -> int:
        return note("adopted-second")

    found = await ctx.step.run("first", first)
    await ctx.step.wait_for_event(
        "go",
        event="parked/go",
        if_exp="event.data.who == async.data.who",
        timeout=dt.timedelta(hours=1),
    )
    return [found, await ctx.step.run("second", second)]


native = (sleeping, waiting, failed_once, abreast, parent, limited, stoppable)
app = adopt(client, [adopted]).app("parked", tasks=native)

STARTS = {
    "sleeping": Event(name="parked/sleeping", payload={}),
    "waiting": Event(name="parked/waiting", payload={"who": "w"}),
    "failed-once": Event(name="parked/failed-once", payload={}),
    "abreast": Event(name="parked/abreast", payload={"who": "a"}),
    "parent": Event(name="parked/parent", payload={"who": "p"}),
    "limited": Event(name="parked/limited", payload={"who": "l", "room": 1}),
    "queued": Event(name="parked/limited", payload={"who": "q", "room": 1}),
    "stoppable": Event(name="parked/stoppable", payload={"who": "s"}),
    "adopted": Event(name="parked/adopted", payload={"who": "d"}),
}
"""The events that start the runs, by the name of what they show."""


def service() -> Any:
    """Make the application of the service."""
    return turnout.asgi(turnout.open_turnout(app))


async def start() -> dict[str, str]:
    """Start a run of each kind; their ids by name."""
    async with turnout.open_turnout(app, serve=False) as live:
        emitted = await live.orchestrator.emit(*STARTS.values())
    return {name: str(each.runs[0].run_id) for name, each in zip(STARTS, emitted, strict=True)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(start())))

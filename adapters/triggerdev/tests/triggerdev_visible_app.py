"""An app with one of everything that has a name at the vendor, and how its runs are started."""

import sys
from pathlib import Path
from typing import Any

# Test modules are imported by path, so what they share is put on the path by hand.
sys.path.insert(0, str(Path(__file__).parent))

from triggerdev_stage import Stage, ended, until

import turnout
from turnout import App, CancelOn, Concurrency, Context, Event, Retries, Schedule, Timeouts, Turnout

OK = 200


async def work(word: str) -> str:
    """Be a step."""
    return word


async def fail_once(attempts: list[int]) -> str:
    """Fail at the first try."""
    attempts.append(len(attempts) + 1)
    if len(attempts) == 1:
        raise ValueError("not yet")
    return "good"


async def fail() -> str:
    """Fail for good."""
    raise turnout.NonRetryable("no")


def visible_app() -> App:
    """One of everything that has a name at the vendor."""
    attempts: list[int] = []

    async def order(ctx: Context, payload: Any) -> str:
        ctx.progress({"stage": "begun"})
        await ctx.step("reserve", work, "stock")
        await ctx.step("charge", fail_once, attempts)
        await ctx.parallel(ctx.step("mail", work, "mail"), ctx.step("label", work, "label"))
        await ctx.step("pack, and weigh: 2 kg", work, "parcel")
        await ctx.sleep("cool down", "10ms")
        await ctx.invoke("shop.child", {"n": 1})
        await ctx.wait_for_event("shop/paid", match={"payload.order": 7}, timeout="1h")
        await ctx.emit("shop/sent", {"order": 7})
        return await ctx.step("close", work, "closed")

    async def child(ctx: Context, payload: Any) -> str:
        return await ctx.step("count", work, "one")

    async def broken(ctx: Context, payload: Any) -> str:
        return await ctx.step("break", fail)

    async def hook(ctx: Context, payload: Any) -> str:
        return await ctx.step("tell", work, "told")

    async def idle(ctx: Context, payload: Any) -> str:
        return await ctx.step("idle", work, "idle")

    quick = Retries(max_attempts=2, min_delay="20ms", max_delay="1s", factor=3.0)
    tasks = (
        turnout.task(
            "shop.order",
            on=("do/order", "shop/placed"),
            retries=quick,
            concurrency=Concurrency(limit=3, key="payload.customer"),
            timeouts=Timeouts(queue="1h", run="2h", step="30s"),
            cancel_on=CancelOn(event="shop/withdrawn", match="payload.order"),
        )(order),
        turnout.task("shop.child")(child),
        turnout.task("broken", on="do/broken", retries=quick, on_failure=hook)(broken),
        turnout.task("idle", on="do/idle", concurrency=Concurrency(limit=9, counts="steps"))(idle),
    )
    schedules = (
        Schedule(id="nightly", task="idle", cron="0 3 * * *", zone="Europe/Kyiv"),
        Schedule(id="hourly", task="idle", cron="@hourly", payload={"n": 1}),
    )
    return turnout.app("visible", *tasks, schedules=schedules)


async def run_orders(stage: Stage, live: Turnout) -> None:
    """Run an order to its end, and one that fails; `order-1`, `broken-1`."""
    order = Event(name="do/order", payload={"order": 7, "customer": "c"}, run_id="order-1")
    await live.orchestrator.emit(order)
    await until(lambda: waits_for_payment(stage, live, "order-1"))
    await live.orchestrator.emit(Event(name="shop/paid", payload={"order": 7}))
    await live.orchestrator.emit(Event(name="do/broken", run_id="broken-1"))
    assert (await ended(live, "order-1")).journal.run.state.value == "completed"
    assert (await ended(live, "broken-1")).journal.run.state.value == "failed"


async def waits_for_payment(stage: Stage, live: Turnout, run_id: str) -> Any:
    """Whether an order has come to its wait, and its vendor run waits with it, by a token.

    The journal is ahead of the vendor: what comes in between needs no token and no wake.
    """
    run = (await live.orchestrator.status(run_id)).journal.run
    parks = [
        request.message["seq"]
        for request in stage.service_side.asked
        if request.status == OK
        and request.message.get("op") == "park"
        and request.message["run_id"] == run_id
    ]
    return "event" in run.parked_for and run.seq in parks

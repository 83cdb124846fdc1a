"""Functions as a team has them: written for the official SDK, knowing nothing of Turnout."""

import datetime as dt

import inngest

client = inngest.Inngest(app_id="shop", is_production=False)


@client.create_function(
    fn_id="order",
    trigger=inngest.TriggerEvent(event="shop/order"),
    retries=2,
    concurrency=[inngest.Concurrency(limit=2, key="event.data.shop")],
    cancel=[inngest.Cancel(event="shop/stop", if_exp="event.data.n == async.data.n")],
)
async def order(ctx: inngest.Context) -> dict[str, object]:
    """Charge, sleep, pack two things side by side, tell."""

    async def charge() -> dict[str, object]:
        return {"paid": ctx.event.data["n"]}

    paid = await ctx.step.run("charge", charge)
    await ctx.step.sleep("nap", dt.timedelta(milliseconds=1200))
    packed = await ctx.group.parallel(
        (lambda: ctx.step.run("left", charge), lambda: ctx.step.run("right", charge))
    )
    told = inngest.Event(name="shop/told", data={"n": ctx.event.data["n"]})
    ids = await ctx.step.send_event("tell", told)
    return {"paid": paid, "packed": list(packed), "told": len(ids), "attempt": ctx.attempt}


@client.create_function(fn_id="told", trigger=inngest.TriggerEvent(event="shop/told"), retries=0)
def told(ctx: inngest.ContextSync) -> object:
    """Be of the other kind: sync."""
    return ctx.step.run("note", lambda: ctx.event.data["n"])


@client.create_function(fn_id="doubt", trigger=inngest.TriggerEvent(event="shop/doubt"), retries=0)
def doubt(ctx: inngest.ContextSync) -> str:
    """Catch a step that failed, then fail for good."""

    def boom() -> None:
        raise ValueError("no stock")

    try:
        ctx.step.run("boom", boom)
    except inngest.StepError as error:
        raise inngest.NonRetriableError(f"{error.name}: {error.message}") from None
    return "never"

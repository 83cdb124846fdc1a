"""A function that leans on what Turnout does not offer."""

import datetime as dt

import inngest

client = inngest.Inngest(app_id="bound", is_production=False)


@client.create_function(
    fn_id="hasty",
    trigger=inngest.TriggerEvent(event="bound/go", expression="event.data.n > 3"),
    throttle=inngest.Throttle(limit=1, period=dt.timedelta(seconds=5)),
    debounce=inngest.Debounce(period=dt.timedelta(seconds=5)),
)
async def hasty(ctx: inngest.Context) -> None:
    """Do nothing."""

"""Digest of the day, as durable functions."""

from datetime import timedelta

import inngest as ig

from app.inngest_client import client


@client.create_function(
    fn_id="daily-digest",
    trigger=ig.TriggerCron(cron="0 6 * * *"),
    retries=3,
)
async def daily_digest(ctx: ig.Context) -> dict[str, int]:
    """Collect and send; Inngest memoises each step."""
    items = await ctx.step.run("collect", collect)
    await ctx.step.sleep("settle", timedelta(minutes=1))
    return {"sent": await ctx.step.run("send", send, items)}


@client.create_function(fn_id="welcome", trigger=ig.TriggerEvent(event="user/created"))
def welcome(ctx: ig.ContextSync) -> None:
    ctx.step.run("mail", mail, ctx.event.data["email"])


async def collect() -> list[str]:
    return ["a", "b"]


async def send(items: list[str]) -> int:
    message = f"inngest would have sent {len(items)} mails"
    print(message)
    return len(items)


def mail(address: str) -> None:
    print("https://www.inngest.com/docs/reference/python", address)

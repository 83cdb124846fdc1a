"""An app that parks its runs, as the version before runs it and today's does.

A module of its own, because each version imports it in a process of its own; so it uses only what
both offer. `LEDGER` names the file in which every step notes itself.
"""

import json
import os
from pathlib import Path
from typing import Any

import turnout
from turnout import App, Context, Event, Retries

LEDGER = "IN_FLIGHT_LEDGER"
LONG = "12s"
"""Longer than what a worker sleeps in process, so that the run waits at the vendor."""


async def note(run_id: str, step: str) -> str:
    """Be a step."""
    with Path(os.environ[LEDGER]).open("a", encoding="utf-8") as ledger:
        ledger.write(f"{run_id} {step}\n")
    return step


async def note_and_fail_once(run_id: str, step: str) -> str:
    """Be a step whose first try fails."""
    await note(run_id, step)
    if Path(os.environ[LEDGER]).read_text(encoding="utf-8").count(f"{run_id} {step}\n") == 1:
        raise ValueError("not yet")
    return step


def app() -> App:
    """One task for each thing that a run may be parked in."""

    async def sleeping(ctx: Context, payload: Any) -> str:
        await ctx.step("one", note, ctx.run_id, "one")
        await ctx.sleep("long", LONG)
        return await ctx.step("two", note, ctx.run_id, "two")

    async def waiting(ctx: Context, payload: Any) -> str:
        await ctx.step("one", note, ctx.run_id, "one")
        await ctx.wait_for_event("said/yes", match={"payload.run": ctx.run_id}, timeout="1h")
        return await ctx.step("two", note, ctx.run_id, "two")

    async def failing(ctx: Context, payload: Any) -> str:
        await ctx.step("one", note_and_fail_once, ctx.run_id, "one")
        return await ctx.step("two", note, ctx.run_id, "two")

    late = Retries(max_attempts=2, min_delay=LONG)
    return turnout.app(
        "in-flight",
        turnout.task("sleeping", on="do/sleeping")(sleeping),
        turnout.task("waiting", on="do/waiting")(waiting),
        turnout.task("failing", on="do/failing", retries=late)(failing),
    )


def service() -> Any:
    """Make the service of this environment; `POST /emit/<name>` starts the run of that name."""
    live = turnout.open_turnout(app(), dict(os.environ))
    endpoint = turnout.asgi(live)

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/emit/"):
            await endpoint(scope, receive, send)
            return
        name = scope["path"].removeprefix("/emit/")
        await live.orchestrator.emit(Event(name=f"do/{name}", run_id=name))
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(name).encode()})

    return serve

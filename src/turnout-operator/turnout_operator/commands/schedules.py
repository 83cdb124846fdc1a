"""`turnout schedules`: what we intend, beside what the provider's runtime will fire."""

from typing import Any

import typer

from turnout.cli.exits import run
from turnout.cli.opening import opened
from turnout.cli.options import AppName, Json
from turnout.cli.output import show, table

commands = typer.Typer(no_args_is_help=True, help="Look at recurring schedules.")


@commands.callback()
def _group() -> None:
    pass


@commands.command("list")
def list_schedules(app: AppName = None, json: Json = False) -> None:
    """List the schedules, and what the provider has armed."""
    rows = run(_rows(app))
    columns = ("id", "task", "cron", "zone", "owner", "paused", "next", "armed")
    show(
        {"schedules": rows},
        as_json=json,
        page=lambda: [table(f"{len(rows)} schedule(s)", columns, (row.values() for row in rows))],
    )


async def _rows(app: str | None) -> list[dict[str, Any]]:
    from turnout.model.time import iso

    async with opened(app) as live:
        owned = await live.store.schedules.read()
        armed = {schedule.id: schedule for schedule in await live.orchestrator.armed()}
        now = live.clock.now()
    return [
        {
            "id": row.schedule.id,
            "task": row.schedule.task,
            "cron": row.schedule.cron,
            "zone": row.schedule.zone,
            "owner": row.provider,
            "paused": row.schedule.paused,
            "next": next(map(iso, row.schedule.slots(now)), None),
            "armed": armed[row.schedule.id].active if row.schedule.id in armed else None,
        }
        for row in owned
    ]

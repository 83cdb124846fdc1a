"""`turnout schedules`: what we intend, beside what the provider's runtime will fire."""

from typing import Any

import typer

from turnout.cli.shared import AppName, Json, opened, run, show, table

app = typer.Typer(no_args_is_help=True, help="Look at recurring schedules.")


@app.callback()
def _group() -> None:
    pass


@app.command("list")
def list_schedules(app: AppName = None, json: Json = False) -> None:
    """List the schedules, and what the provider has armed."""
    found = run(_listed(app))
    columns = ("id", "task", "cron", "zone", "owner", "paused", "next", "armed")
    show(
        {"schedules": found},
        as_json=json,
        table=lambda: table(
            f"{len(found)} schedule(s)", columns, (each.values() for each in found)
        ),
    )


async def _listed(app: str | None) -> list[dict[str, Any]]:
    from turnout.model.time import iso

    async with opened(app) as live:
        owned = await live.store.schedules.read()
        armed = {each.id: each for each in await live.orchestrator.armed()}
        now = live.clock.now()
    return [
        {
            "id": each.schedule.id,
            "task": each.schedule.task,
            "cron": each.schedule.cron,
            "zone": each.schedule.zone,
            "owner": each.provider,
            "paused": each.schedule.paused,
            "next": next(map(iso, each.schedule.slots(now)), None),
            "armed": armed[each.schedule.id].active if each.schedule.id in armed else None,
        }
        for each in owned
    ]

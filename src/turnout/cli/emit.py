"""`turnout emit`: record an event and start its tasks."""

import sys
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

from turnout.cli.exits import describe, fail, run
from turnout.cli.opening import opened
from turnout.cli.options import AppName, Json
from turnout.cli.output import show, table

app = typer.Typer()


@app.command()
def emit(
    name: Annotated[str, typer.Argument(help="The event's name, like agent/run.requested.")],
    payload: Annotated[
        str, typer.Option(help="JSON, @FILE, or - for standard input.", show_default=True)
    ] = "{}",
    at: Annotated[datetime | None, typer.Option(help="A delayed start; local time.")] = None,
    key: Annotated[str | None, typer.Option(help="Makes the event unique per task.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; may be repeated.")] = None,
    user: Annotated[str | None, typer.Option(help="For whom it is: an id.")] = None,
    metadata: Annotated[str | None, typer.Option(help="A JSON object, @FILE, or -.")] = None,
    app: AppName = None,
    json: Json = False,
) -> None:
    """Emit an event: every subscribed task starts once."""
    event = {"name": name, "payload": _json(payload, "--payload"), "key": key}
    event |= {"at": at and at.astimezone(), "tags": tag or (), "user_id": user}
    event["metadata"] = None if metadata is None else _json(metadata, "--metadata")
    run(_emit(event, app, as_json=json))


async def _emit(event: dict[str, Any], app: str | None, *, as_json: bool) -> None:
    from turnout.model.events import Event
    from turnout.model.status import RunOrigin
    from turnout.service.replicas import foreign_flag, living

    async with opened(app) as live:
        provider = live.selection.provider
        flag = foreign_flag(await living(live.store.replicas, live.clock), provider)
        (emitted,) = await live.orchestrator.emit(Event(**event, origin=RunOrigin.MANUAL))
        subscribed = sorted({name for task in live.app.tasks for name in task.on})
    if event["name"] not in subscribed and not emitted.waits_met:
        _warn(event["name"], live.app.name, subscribed)
    if flag is not None and any(not ref.duplicate for ref in emitted.runs):
        typer.echo(
            f"warning: the runs go by ORCHESTRATOR_PROVIDER={provider}, as it is here; the service"
            f" that is running has {flag}",
            err=True,
        )
    runs = [
        {"run_id": ref.run_id, "task": ref.task, "duplicate": ref.duplicate} for ref in emitted.runs
    ]
    show(
        {"event_id": emitted.event_id, "runs": runs},
        as_json=as_json,
        page=lambda: [
            table(
                f"event {emitted.event_id}: {len(runs)} run(s)",
                ("run", "task", "duplicate"),
                (row.values() for row in map(_texts, runs)),
            )
        ],
    )


def _warn(name: str, app: str, subscribed: list[str]) -> None:
    """Say that no task subscribes to an event: most often its name is misspelt."""
    near = get_close_matches(name, subscribed, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    events = ", ".join(subscribed) or "none"
    typer.echo(
        f"warning: recorded, but no task of {app!r} subscribes to {name!r}, and no run waits for it"
        f"{hint} (its events: {events})",
        err=True,
    )


def _texts(row: dict[str, Any]) -> Any:
    return {
        name: ("yes" if value is True else "" if value is False else value)
        for name, value in row.items()
    }


def _json(source: str, option: str) -> Any:
    import orjson

    text: bytes
    try:
        if source == "-":
            text = sys.stdin.buffer.read()
        else:
            text = Path(source[1:]).read_bytes() if source.startswith("@") else source.encode()
        return orjson.loads(text)
    except OSError as error:
        fail(f"{option}: {describe(error)}; give JSON, @FILE with a file that can be read, or -")
    except orjson.JSONDecodeError as error:
        fail(f"{option} is not JSON: {error}")

"""`turnout runs`: list, show, follow, cancel, and rebuild artifacts."""

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnout.cli.shared import CLEAN, FOUND, AppName, Json, opened, run, show, table

if TYPE_CHECKING:
    from turnout.control.following import Told
    from turnout.model.reports import RunReport
    from turnout.model.runs import Run

SHOWN = 2_000
"""Characters of a payload or a result that are shown."""

HEAD = ("run_id", "task", "provider", "state", "payload", "result", "error")

_SHOUTED = re.compile(r"[0-9a-z]{26}(-dryrun)?", re.IGNORECASE)


def _lowered(run_id: str) -> str:
    """Take an id that something put into upper case as the one that was meant: ours are lower."""
    return run_id.lower() if _SHOUTED.fullmatch(run_id) else run_id


RunId = Annotated[str, typer.Argument(callback=_lowered)]

app = typer.Typer(no_args_is_help=True, help="Look at runs, and cancel them.")


@app.command("list")
def list_runs(
    task: Annotated[str | None, typer.Option(help="Only runs of this task.")] = None,
    state: Annotated[
        list[str] | None, typer.Option(help="Only runs in this state; may be repeated.")
    ] = None,
    provider: Annotated[str | None, typer.Option(help="Only runs of this provider.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000)] = 20,
    app: AppName = None,
    json: Json = False,
) -> None:
    """List runs, newest first."""
    found = run(_listed(task, state or [], provider, limit, app))
    columns = ("run", "task", "provider", "state", "emitted", "seconds")
    show(
        {"runs": found},
        as_json=json,
        table=lambda: table(f"{len(found)} run(s)", columns, (each.values() for each in found)),
    )


@app.command("show")
def show_run(
    run_id: RunId,
    look: Annotated[bool, typer.Option(help="Ask the provider too.")] = False,
    app: AppName = None,
    json: Json = False,
) -> None:
    """Show a run: its states, steps, attempts, deliveries."""
    report = run(_reported(run_id, app, look=look))
    value = _report(report)
    show(value, as_json=json, table=lambda: _page(value))


@app.command()
def follow(
    run_id: RunId,
    after: Annotated[
        str | None, typer.Option(metavar="ID", help="Go on after the event of this id.")
    ] = None,
    app: AppName = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")] = False,
) -> None:
    """Tell what happens to a run, until it has ended. Exit 1 when it did not complete."""
    state = run(_followed(run_id, after, app, as_json=json))
    raise typer.Exit(CLEAN if state == "completed" else FOUND)


@app.command()
def cancel(run_id: RunId, app: AppName = None, json: Json = False) -> None:
    """Cancel a run and its children. Exit 1 when it had ended before, cancelled or otherwise."""
    done = run(_cancelled(run_id, app))
    show(
        done,
        as_json=json,
        table=lambda: (
            f"{run_id}: {done['state']}"
            f" ({'cancelled now' if done['changed'] else 'it had ended before'};"
            f" {'confirmed' if done['confirmed'] else 'not yet confirmed by the provider'})"
        ),
    )
    raise typer.Exit(CLEAN if done["changed"] else FOUND)


@app.command()
def rebuild(run_ids: list[str], app: AppName = None) -> None:
    """Write the artifacts of ended runs anew from the journal."""
    run(_rebuilt(run_ids, app))


async def _listed(
    task: str | None, states: list[str], provider: str | None, limit: int, app: str | None
) -> list[dict[str, Any]]:
    from turnout.model.runs import RunFilter
    from turnout.model.status import RunStatus

    try:
        wanted = frozenset(map(RunStatus, states))
    except ValueError as error:
        raise typer.BadParameter(f"{error}; states: {', '.join(RunStatus)}") from None
    async with opened(app) as live:
        runs = await live.store.runs.find(
            RunFilter(task=task, states=wanted, provider=provider, limit=limit)
        )
    return [_row(each) for each in runs]


async def _reported(run_id: str, app: str | None, *, look: bool) -> "RunReport":
    async with opened(app) as live:
        return await live.orchestrator.status(run_id, look=look)


async def _followed(
    run_id: str, after: str | None, app: str | None, *, as_json: bool
) -> str | None:
    import asyncio

    from turnout.control.following import LOOK_EVERY, Following, follow, read_place

    async with opened(app) as live:
        place = None if after is None else read_place(after, run_id)
        following = Following(live.store.journals, run_id, place)
        async for news in follow(following, lambda: asyncio.sleep(LOOK_EVERY)):
            for each in news:
                typer.echo(_json_line(each) if as_json else _line(each))
        return (await live.store.journals.load(run_id)).run.state.value


def _json_line(told: "Told") -> str:
    import orjson

    return orjson.dumps({"id": told.id, "event": told.event, **told.data}).decode()


def _line(told: "Told") -> str:
    """Write an event for people to read."""
    import orjson

    data = told.data
    match told.event:
        case "status":
            says = data["state"]
        case "step":
            says = f"{data['step']} {data['state']}"
        case "chunk":
            whose = "" if data["step"] is None else f" ({data['step']} #{data['attempt']})"
            says = f"{data['stream']}{whose}: {_bounded(orjson.dumps(data['chunk']))}"
        case _:
            says = _bounded(orjson.dumps(data["told"]))
    error = data.get("error")
    why = f": {error['name']}: {error['message']}" if error else ""
    return f"{told.event:<8} {says}{why}"


async def _cancelled(run_id: str, app: str | None) -> dict[str, Any]:
    async with opened(app) as live:
        done = await live.orchestrator.cancel(run_id)
    return {
        "run_id": run_id,
        "state": done.state.value,
        "changed": done.changed,
        "confirmed": done.confirmed,
    }


async def _rebuilt(run_ids: list[str], app: str | None) -> None:
    async with opened(app) as live:
        for run_id in run_ids:
            await live.rebuild(run_id)
            typer.echo(f"{run_id}: artifacts written", err=True)


def _row(each: "Run") -> dict[str, Any]:
    from turnout.model.time import iso

    ended = each.ended_at
    return {
        "run_id": each.run_id,
        "task": each.task,
        "provider": each.provider,
        "state": each.state.value + (" (parked)" if each.parked else ""),
        "emitted_at": iso(each.emitted_at),
        "seconds": None if ended is None else round((ended - each.emitted_at) / 1_000, 3),
    }


def _report(report: "RunReport") -> dict[str, Any]:
    from turnout.model.time import iso

    run_, steps = report.journal.run, report.journal.steps.values()
    return {
        **_row(run_),
        "payload": _bounded(run_.payload),
        "result": None if run_.result is None else _bounded(run_.result),
        "error": None if run_.error is None else f"{run_.error.name}: {run_.error.message}",
        "transitions": [
            {"state": each.state.value, "at": iso(each.at)} for each in report.transitions
        ],
        "steps": [
            {
                "step": each.step,
                "kind": each.kind.value,
                "state": each.state.value,
                "attempts": [
                    each_try.state.value for each_try in report.journal.attempts.get(each.step, ())
                ],
            }
            for each in sorted(steps, key=lambda step: step.position)
        ],
        "deliveries": [
            {
                "number": each.number,
                "provider": each.provider,
                "state": each.state.value,
                "provider_run_id": each.provider_run_id,
            }
            for each in report.deliveries
        ],
        "provider_says": None
        if report.sighting is None
        else {"state": report.sighting.state, "word": report.sighting.word},
    }


def _bounded(document: bytes) -> str:
    """Show the beginning of a JSON document."""
    text = document.decode(errors="replace")
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"


def _page(value: dict[str, Any]) -> Any:
    from rich.console import Group

    head = [(name, value[name]) for name in HEAD]
    return Group(
        table("run", ("", ""), head),
        table("states", ("state", "at"), (each.values() for each in value["transitions"])),
        table(
            "steps",
            ("step", "kind", "state", "attempts"),
            ((*list(each.values())[:3], ", ".join(each["attempts"])) for each in value["steps"]),
        ),
        table(
            "deliveries",
            ("number", "provider", "state", "provider's run"),
            (each.values() for each in value["deliveries"]),
        ),
    )

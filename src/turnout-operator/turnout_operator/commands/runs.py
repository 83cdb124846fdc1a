"""`turnout runs`: list, show, follow, cancel, and rebuild artifacts."""

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnout.cli.exits import CLEAN, FOUND, fail, run
from turnout.cli.opening import opened, opened_store
from turnout.cli.options import AppName, Json
from turnout.cli.output import Page, show, table
from turnout.cli.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from turnout_events.run_events import RunEvent

    from turnout.model.reports import RunReport
    from turnout.model.runs import Run

LONGEST_SHOWN = 2_000
"""Characters of a payload or a result that are shown."""

LAST_CURSOR = 2**63 - 1
"""Databases count no further."""

HEAD = (
    *("run_id", "task", "provider", "state", "origin", "tags", "user_id", "metadata"),
    *("retry_of", "retried_as", "payload", "result", "error"),
)

_MOMENT = "time like 2026-11-30T08:15, or duration like 2h, until now"
_OUR_ID = re.compile(r"[0-9a-z]{26}(-dryrun)?", re.IGNORECASE)


def _in_lower_case(run_id: str) -> str:
    """Accept an id that some tool has put into upper case: the ids that we make are lower case."""
    return run_id.lower() if _OUR_ID.fullmatch(run_id) else run_id


RunId = Annotated[str, typer.Argument(callback=_in_lower_case)]

commands = typer.Typer(no_args_is_help=True, help="Look at runs, and cancel them.")


@commands.command("list")
def list_runs(
    task: Annotated[str | None, typer.Option(help="Only runs of this task.")] = None,
    state: Annotated[
        list[str] | None, typer.Option(help="Only runs in this state; may be repeated.")
    ] = None,
    provider: Annotated[str | None, typer.Option(help="Only runs of this provider.")] = None,
    only_held: Annotated[
        bool,
        typer.Option("--held", help="Only runs that wait for code that can read them, and why."),
    ] = False,
    tag: Annotated[
        list[str] | None,
        typer.Option(help="Only runs with this tag; may be repeated: all of them."),
    ] = None,
    user: Annotated[str | None, typer.Option(help="Only runs for this user's id.")] = None,
    since: Annotated[str | None, typer.Option(help=f"Only runs emitted since: {_MOMENT}.")] = None,
    until: Annotated[
        str | None, typer.Option(help="Only runs emitted earlier; like --since.")
    ] = None,
    error: Annotated[
        str | None, typer.Option(help="Only failed runs with this in the error's name: message.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000)] = 20,
    cursor: Annotated[
        int | None,
        typer.Option(min=1, max=LAST_CURSOR, help="Go on where a page ended: its `next`."),
    ] = None,
    app: AppName = None,
    json: Json = False,
) -> None:
    """List runs, newest first; each page names the cursor of the next one."""
    del app  # the run store holds all that is shown
    conditions: dict[str, Any] = {"task": task, "provider": provider, "user_id": user}
    conditions |= {"tags": tuple(tag or ()), "error": error, "before": cursor, "limit": limit}
    conditions["held"] = only_held
    runs = run(_find(conditions, state or [], since, until))
    next_cursor = runs[-1].emit_seq if len(runs) == limit else None
    hint = "" if next_cursor is None else f"; more: --cursor {next_cursor}"
    rows = [_row(entry) | _hold_reason(entry, only_held=only_held) for entry in runs]
    columns = (
        "run",
        "task",
        "provider",
        "state",
        "emitted",
        "seconds",
        *(["why"] if only_held else []),
    )
    labels = map(_labels, runs)
    show(
        {
            "runs": [row | labeled for row, labeled in zip(rows, labels, strict=True)],
            "next": next_cursor,
        },
        as_json=json,
        page=lambda: [table(f"{len(runs)} run(s){hint}", columns, (row.values() for row in rows))],
    )


@commands.command("show")
def show_run(
    run_id: RunId,
    look: Annotated[bool, typer.Option(help="Ask the provider too.")] = False,
    app: AppName = None,
    json: Json = False,
) -> None:
    """Show a run: its states, steps, attempts, deliveries."""
    report, retry_ids = run(_report(run_id, app, look=look))
    value = {**_report_data(report), "retried_as": retry_ids}
    show(value, as_json=json, page=lambda: _page(value))


@commands.command()
def follow(
    run_id: RunId,
    after: Annotated[
        str | None, typer.Option(metavar="ID", help="Go on after the event of this id.")
    ] = None,
    app: AppName = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")] = False,
) -> None:
    """Print what happens to a run, until it has ended. Exit 1 when it did not complete."""
    del app  # the run store holds all that is shown
    state = run(_follow(run_id, after, as_json=json))
    raise typer.Exit(CLEAN if state == "completed" else FOUND)


@commands.command()
def cancel(
    run_id: RunId,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the run's history.")] = None,
    app: AppName = None,
    json: Json = False,
) -> None:
    """Cancel a run and its children. Exit 1 when it had ended before, cancelled or otherwise."""
    value = run(_cancel(run_id, reason, app))
    show(
        value,
        as_json=json,
        page=lambda: (
            f"{run_id}: {value['state']}"
            f" ({'cancelled now' if value['changed'] else 'it had ended before'};"
            f" {'confirmed' if value['confirmed'] else 'not yet confirmed by the provider'})"
        ),
    )
    raise typer.Exit(CLEAN if value["changed"] else FOUND)


@commands.command()
def retry(
    run_id: RunId,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Do all steps again, the completed ones too.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why; kept with the new run.")] = None,
    app: AppName = None,
    json: Json = False,
) -> None:
    """Start a new run for one that failed; it goes on from the steps that completed."""
    value = run(_retry(run_id, reason, app, from_start=from_start))
    show(
        value,
        as_json=json,
        page=lambda: f"{value['run_id']}: retries {run_id}, with {value['steps']} step(s) of it",
    )


@commands.command()
def rebuild(run_ids: list[str], app: AppName = None) -> None:
    """Write the artifacts of ended runs again from the journal."""
    run(_rebuild(run_ids, app))


async def _find(
    conditions: dict[str, Any], states: list[str], since: str | None, until: str | None
) -> "Sequence[Run]":
    from turnout.model.runs import RunFilter
    from turnout.model.status import RunStatus

    try:
        run_states = frozenset(map(RunStatus, states))
    except ValueError as error:
        raise typer.BadParameter(f"{error}; states: {', '.join(RunStatus)}") from None
    conditions |= {"since": _moment(since, "--since"), "until": _moment(until, "--until")}
    async with opened_store() as store:
        return await store.runs.find(RunFilter(states=run_states, **conditions))


def _moment(text: str | None, option: str) -> int | None:
    """Read a moment, or how long ago it was; a time without a zone is local."""
    from datetime import datetime
    from time import time_ns

    from turnout.errors import InvalidDefinition
    from turnout.model.time import millis, moment

    if text is None:
        return None
    try:
        return moment(datetime.fromisoformat(text).astimezone())
    except ValueError:
        pass
    try:
        return time_ns() // 1_000_000 - millis(text)
    except InvalidDefinition:
        fail(f"{option}: {text!r} is no {_MOMENT}")


async def _report(run_id: str, app: str | None, *, look: bool) -> tuple["RunReport", list[str]]:
    from turnout.control.reports import run_report
    from turnout_operator.retries import retries_of

    if look:
        async with opened(app) as live:
            report = await live.orchestrator.status(run_id, look=True)
            return report, await retries_of(live.store, run_id)
    async with opened_store() as store:
        report = await run_report(store.journals, store.deliveries, run_id)
        return report, await retries_of(store, run_id)


async def _follow(run_id: str, after: str | None, *, as_json: bool) -> str:
    import asyncio

    from turnout_events.run_events import POLL_INTERVAL, RunReader, follow, read_position

    async with opened_store() as store:
        position = None if after is None else read_position(after, run_id)
        reader = RunReader(store.journals, run_id, position)
        async for events in follow(reader, lambda: asyncio.sleep(POLL_INTERVAL)):
            for event in events:
                typer.echo(printable(_json_line(event) if as_json else _text_line(event)))
        return (await store.journals.load(run_id)).run.state.value


def _json_line(event: "RunEvent") -> str:
    import orjson

    return orjson.dumps({"id": event.id, "event": event.event, **event.data}).decode()


def _text_line(event: "RunEvent") -> str:
    """Write an event for people to read."""
    import orjson

    data = event.data
    match event.event:
        case "status":
            text = data["state"]
        case "step":
            text = f"{data['step']} {data['state']}"
        case "chunk":
            source = "" if data["step"] is None else f" ({data['step']} #{data['attempt']})"
            text = f"{data['stream']}{source}: {_bounded(orjson.dumps(data['chunk']))}"
        case _:
            text = _bounded(orjson.dumps(data["told"]))
    error = data.get("error")
    reason = f": {error['name']}: {error['message']}" if error else ""
    return f"{event.event:<8} {text}{reason}"


async def _cancel(run_id: str, reason: str | None, app: str | None) -> dict[str, Any]:
    async with opened(app) as live:
        result = await live.orchestrator.cancel(run_id, by=_operator(reason))
    return {
        "run_id": run_id,
        "state": result.state.value,
        "changed": result.changed,
        "confirmed": result.confirmed,
    }


async def _retry(
    run_id: str, reason: str | None, app: str | None, *, from_start: bool
) -> dict[str, Any]:
    from turnout_operator.retries import retry

    async with opened(app) as live:
        by = _operator(reason)
        new_id, steps = await retry(live, run_id, from_start=from_start, by=by)
    return {"run_id": new_id, "retry_of": run_id, "steps": steps}


def _operator(reason: str | None) -> str:
    """Say who gives a command, and why."""
    import getpass

    from turnout.model.text import storable

    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "an operator"
    return storable(name if reason is None else f"{name}: {reason}"[:1_000])


async def _rebuild(run_ids: list[str], app: str | None) -> None:
    async with opened(app) as live:
        for run_id in run_ids:
            await live.rebuild(run_id)
            typer.echo(f"{run_id}: artifacts written", err=True)


def _row(entry: "Run") -> dict[str, Any]:
    from turnout.model.time import iso

    ended = entry.ended_at
    return {
        "run_id": entry.run_id,
        "task": entry.task,
        "provider": entry.provider,
        "state": entry.state.value + (" (parked)" if entry.parked else ""),
        "emitted_at": iso(entry.emitted_at),
        "seconds": None if ended is None else max(0, ended - entry.emitted_at) / 1_000,
    }


def _labels(entry: "Run") -> dict[str, Any]:
    labels = entry.labels
    return {
        "origin": entry.origin.value,
        "retry_of": entry.retry_of,
        "tags": list(labels.tags),
        "user_id": labels.user_id,
        "metadata": None if labels.metadata is None else _bounded(labels.metadata),
    }


def _hold_reason(entry: "Run", *, only_held: bool) -> dict[str, Any]:
    """Say why a run is held."""
    return {"why": entry.error and entry.error.message} if only_held else {}


def _report_data(report: "RunReport") -> dict[str, Any]:
    from turnout.model.time import iso

    journal, error = report.journal, report.journal.run.error
    return {
        **_row(journal.run),
        **_labels(journal.run),
        "payload": _bounded(journal.run.payload),
        "result": None if journal.run.result is None else _bounded(journal.run.result),
        "error": None if error is None else f"{error.name}: {error.message}",
        "transitions": [
            {
                "state": change.state.value,
                "at": iso(change.at),
                "cause": change.cause and change.cause.value,
                "actor": change.actor,
            }
            for change in report.transitions
        ],
        "steps": [
            {
                "step": step.step,
                "kind": step.kind.value,
                "state": step.state.value,
                "attempts": [
                    attempt.state.value for attempt in journal.attempts.get(step.step, ())
                ],
            }
            for step in sorted(journal.steps.values(), key=lambda step: step.position)
        ],
        "deliveries": [
            {
                "number": delivery.number,
                "provider": delivery.provider,
                "state": delivery.state.value,
                "provider_run_id": delivery.provider_run_id,
            }
            for delivery in report.deliveries
        ],
        "provider_says": None
        if report.sighting is None
        else {"state": report.sighting.state, "word": report.sighting.word},
    }


def _bounded(document: bytes) -> str:
    """Show the beginning of a JSON document."""
    text = document.decode(errors="replace")
    if len(text) <= LONGEST_SHOWN:
        return text
    return f"{text[:LONGEST_SHOWN]}… ({len(text)} characters)"


def _text(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, list) else value


def _page(value: dict[str, Any]) -> Page:
    return [
        table("run", ("", ""), ((name, _text(value[name])) for name in HEAD)),
        table(
            "states",
            ("state", "at", "cause", "actor"),
            (row.values() for row in value["transitions"]),
        ),
        table(
            "steps",
            ("step", "kind", "state", "attempts"),
            ((*list(row.values())[:3], ", ".join(row["attempts"])) for row in value["steps"]),
        ),
        table(
            "deliveries",
            ("number", "provider", "state", "provider's run"),
            (row.values() for row in value["deliveries"]),
        ),
    ]

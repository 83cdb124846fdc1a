"""`turnout history`: who changed routes, when and why."""

from typing import Annotated, Any

import typer

from turnout.cli.options import Json
from turnout.model.time import iso
from turnout_cutover.changes import Entry
from turnout_cutover.moving import summary
from turnout_cutover.opening import Answer, run
from turnout_cutover.operations import Operations
from turnout_cutover.options import DECLARED, Declared
from turnout_cutover.stages import describe

commands = typer.Typer()


@commands.command()
def show_history(
    task: Annotated[str | None, typer.Argument(help="Only this task's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
    file: Declared = DECLARED,
    json: Json = False,
) -> None:
    """List what was done with routes, the newest first; no row is ever changed or removed."""

    async def work(operations: Operations) -> Answer:
        """Read the newest entries."""
        entries = await operations.log.history(task=task, limit=limit)
        lines = [_line(entry) for entry in entries] or ["no route was ever changed"]
        return Answer(document={"history": [_document(entry) for entry in entries]}, lines=lines)

    run(work, as_json=json, declared=file)


def _line(entry: Entry) -> str:
    ticket = f" [{entry.signature.ticket}]" if entry.signature.ticket else ""
    evidence = f" evidence {entry.evidence[:12]}" if entry.evidence else ""
    override = entry.detail.get("override")
    overridden = (
        f" OVERRIDE: {override} ({'; '.join(entry.detail['overridden'])})" if override else ""
    )
    return f"#{entry.number} {entry.task}: {summary(entry)}{ticket}{evidence}{overridden}"


def _document(entry: Entry) -> dict[str, Any]:
    routes = entry.routes
    return {
        "number": entry.number,
        "task": entry.task,
        "action": entry.action.value,
        "at": iso(entry.at),
        "who": entry.signature.operator,
        "reason": entry.signature.reason,
        "ticket": entry.signature.ticket,
        "evidence": entry.evidence,
        "before": None if routes is None else describe(routes[0]),
        "after": None if routes is None else describe(routes[1]),
        "detail": {
            name: value for name, value in entry.detail.items() if name not in ("before", "after")
        },
    }

"""`turnout doctor`: one screen that says what is right, what is not, and what to do next."""

import os
from typing import Annotated, Any

import typer

from turnout.cli.exits import CLEAN, FOUND, run
from turnout.cli.options import AppName, Json
from turnout.cli.output import show, table
from turnout.cli.printable import printable

commands = typer.Typer()

MARKS = {"ok": "✓", "warn": "!", "fail": "✗"}


@commands.command()
def doctor(
    app: AppName = None,
    through_worker: Annotated[
        bool, typer.Option("--through-worker", help="Have each provider's worker call the service.")
    ] = False,
    json: Json = False,
) -> None:
    """Check settings, stores, providers and replicas. Exit 1 when something is wrong."""
    from turnout_operator.doctor.check import Health
    from turnout_operator.doctor.examine import advice, examine, worst_first

    checks = worst_first(run(examine(os.environ, app, through_worker=through_worker)))
    value: dict[str, Any] = {
        "checks": [
            {"name": check.name, "health": check.health, "text": check.text, "fix": check.fix}
            for check in checks
        ],
        "next": advice(checks),
    }
    rows = ((MARKS[check.health], check.name, check.text) for check in checks)
    show(value, as_json=json, page=lambda: [table("doctor", ("", "what", "found"), rows)])
    if not json:
        typer.echo(printable(f"next: {value['next']}"))
    raise typer.Exit(FOUND if any(check.health is Health.FAIL for check in checks) else CLEAN)

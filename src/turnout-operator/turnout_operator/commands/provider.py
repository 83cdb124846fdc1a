"""`turnout provider`: which provider new runs go to, and which adapters are installed."""

import os
from typing import Any

import typer

from turnout.cli.exits import fail
from turnout.cli.options import Json
from turnout.cli.output import show, table
from turnout.errors import TurnoutError

commands = typer.Typer(no_args_is_help=True, help="Look at the provider that new runs go to.")


@commands.callback()
def _group() -> None:
    pass


@commands.command("show")
def show_provider(json: Json = False) -> None:
    """Show what ORCHESTRATOR_PROVIDER means here."""
    try:
        values = _selection()
    except TurnoutError as error:
        fail(str(error))
    show(
        values,
        as_json=json,
        page=lambda: [
            table("provider", ("", ""), ((name, _text(value)) for name, value in values.items()))
        ],
    )


def _selection() -> dict[str, Any]:
    from turnout.bootstrap.adapters import installed, select
    from turnout.bootstrap.settings import read_settings

    settings = read_settings(os.environ)
    selection = select(settings)
    return {
        "ORCHESTRATOR_PROVIDER": settings.provider,
        "new_runs": selection.names[0],
        "primary": selection.primary,
        "shadow": selection.shadow,
        "installed": list(installed()),
        "environment": settings.environment,
    }


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value or "-")

"""`turnout`: the table of commands, each loaded only when it is called."""

import importlib
from collections.abc import Sequence

import click
import typer
from typer.core import TyperGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "audit": ("turnout.cli.audit:app", "Find every trace of a vendor, and prove it is gone."),
}
"""Name → (module:attribute of its Typer app, the line that --help shows)."""


class LazyGroup(TyperGroup):
    """Lists every command without importing any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands, in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the one command that is called."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        target, line = COMMANDS[cmd_name]
        module, _, attribute = target.partition(":")
        command = typer.main.get_command(getattr(importlib.import_module(module), attribute))
        command.name = cmd_name
        command.short_help = line
        return command


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, help="Move background tasks between orchestrators.")


@app.callback()
def _root() -> None:
    pass


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    app(arguments)

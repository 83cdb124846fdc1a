"""`turnout`: the table of commands, each imported only when it is called."""

import importlib
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("turnout.cli.demo:app", "See the whole journey between two providers, offline."),
    "dev": ("turnout.cli.dev:app", "Start the offline servers of the installed providers."),
    "serve": ("turnout.cli.serve:app", "Serve an app: step endpoint, provider endpoints, pump."),
    "work": ("turnout.cli.work:app", "Run steps and the pump, without an endpoint."),
    "emit": ("turnout.cli.emit:app", "Emit an event: every subscribed task starts once."),
    "runs": ("turnout.cli.runs:app", "List, show and cancel runs; rebuild their artifacts."),
    "schedules": ("turnout.cli.schedules:app", "List schedules, and what is armed."),
    "provider": ("turnout.cli.provider:app", "Show which provider new runs go to."),
    "parity": ("turnout.cli.parity:app", "Compare runs with their shadows."),
    "doctor": ("turnout.cli.doctor:app", "Check everything, and name the next command."),
    "audit": ("turnout.cli.audit:app", "Find every trace of a vendor, and prove it is gone."),
}
"""Name → (module:attribute of its Typer app, the line that --help shows)."""


class LateCommand(TyperCommand):
    """Stands for a command in --help, and becomes it when called."""

    def __init__(self, name: str, target: str, line: str) -> None:
        super().__init__(name, help=line, short_help=line)
        self.target = target

    def make_context(self, info_name: str | None, *args: Any, **kwargs: Any) -> Any:
        """Import the command, and let it parse its own arguments."""
        module, _, attribute = self.target.partition(":")
        command = typer.main.get_command(getattr(importlib.import_module(module), attribute))
        return command.make_context(info_name, *args, **kwargs)


class Commands(TyperGroup):
    """Lists every command without importing any."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name the commands, in the order of the table."""
        del ctx
        return list(COMMANDS)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that is called; an unknown one is answered with the nearest."""
        near = get_close_matches(args[0], COMMANDS, n=1) if args else []
        if args and args[0] not in COMMANDS and near:
            ctx.fail(f"No such command {args[0]!r}; did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> LateCommand | None:
        """Find a command by its name."""
        del ctx
        return LateCommand(cmd_name, *COMMANDS[cmd_name]) if cmd_name in COMMANDS else None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="Move background tasks between orchestrators.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        import turnout

        typer.echo(f"turnout {turnout.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Say which it is.")
    ] = False,
) -> None:
    del version


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    app(arguments)

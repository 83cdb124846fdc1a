"""`turnout-audit` and `turnout audit`, as typer takes them."""

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from turnout_audit.cli.commands import check, find, history
from turnout_audit.cli.plain import run_plainly, typed

SUBCOMMANDS = ("history", "check")
"""Words in the place of a rule set that are commands of their own."""
WRONG_USE = 2


class UnnamedCommand(TyperCommand):
    """The command that runs when no subcommand is named; its name is not shown."""

    def get_usage(self, ctx: Any) -> str:
        """Show how it is called."""
        return super().get_usage(ctx).replace("audit find ", "audit ", 1)


class OneOrNamed(TyperGroup):
    """Takes a rule set where a command is expected; only SUBCOMMANDS are commands of their own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command's name before its arguments."""
        return super().parse_args(
            ctx, args if args[:1] and args[0] in SUBCOMMANDS else ["find", *args]
        )

    def invoke(self, ctx: Any) -> Any:
        """Run a command; words that it cannot take are answered in one line."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            line = _usage(error)
            if line is None:
                raise
            typer.echo(line, err=True)
            raise typer.Exit(WRONG_USE) from None


def _usage(error: Exception) -> str | None:
    """Say in one line what is wrong with the words of a command line; None for other errors."""
    kinds = {kind.__name__ for kind in type(error).__mro__}  # typer brings its own click along
    if "UsageError" not in kinds:
        return None
    message = " ".join(error.format_message().split()).rstrip(".")  # type: ignore[attr-defined]
    command = error.ctx.command_path.removesuffix(" find")  # type: ignore[attr-defined]
    return f"error: {message}; see {command} --help"


app = typer.Typer(cls=OneOrNamed, add_completion=False)


@app.callback()
def _root() -> None:
    pass


app.command("find", cls=UnnamedCommand)(typed(find))
app.command("history")(typed(history))
app.command("check")(typed(check))


def commands(desk: object) -> typer.Typer:
    """Give the commands to `turnout`; they need nothing of its desk."""
    del desk
    return app


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if not set(words[:1]) & set(SUBCOMMANDS):
        run_plainly(find, words)
    app(words, prog_name="turnout-audit")

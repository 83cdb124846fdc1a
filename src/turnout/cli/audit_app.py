"""`turnout audit`, as typer takes it."""

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from turnout.cli.audit import check, find, history
from turnout.cli.main import SUBCOMMANDS
from turnout.cli.plain import typed


class Unnamed(TyperCommand):
    """A command whose name nobody types, and nobody reads."""

    def get_usage(self, ctx: Any) -> str:
        """Show how it is called."""
        return super().get_usage(ctx).replace(" audit find ", " audit ", 1)


class OneOrNamed(TyperGroup):
    """Takes a rule set where a command is expected; only SUBCOMMANDS are commands of their own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command's name before its arguments."""
        return super().parse_args(
            ctx, args if args[:1] and args[0] in SUBCOMMANDS else ["find", *args]
        )


app = typer.Typer(cls=OneOrNamed, add_completion=False)


@app.callback()
def _root() -> None:
    pass


app.command("find", cls=Unnamed)(typed(find))
app.command("history")(typed(history))
app.command("check")(typed(check))

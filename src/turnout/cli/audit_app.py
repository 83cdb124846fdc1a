"""`turnout audit`, as typer takes it."""

from typing import Any

import typer
from typer.core import TyperGroup

from turnout.cli.audit import find, history
from turnout.cli.plain import typed


class OneOrHistory(TyperGroup):
    """Takes a rule set where a command is expected; only `history` is a command of its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command's name before its arguments."""
        return super().parse_args(ctx, args if args[:1] == ["history"] else ["find", *args])


app = typer.Typer(cls=OneOrHistory, add_completion=False)


@app.callback()
def _root() -> None:
    pass


app.command("find")(typed(find))
app.command("history")(typed(history))

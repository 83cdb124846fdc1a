"""The commands as a group of typer's, in which the name of a rule set may stand for a command."""

from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from turnout_audit.cli.audit import WRONG_USE
from turnout_audit.cli.commands import check, find, history, removed, rules, terms
from turnout_audit.cli.plain import SUBCOMMANDS

UsageError = cast("type[Exception]", typer.BadParameter.__mro__[1])
"""What click raises for a wrong command line; typer brings click along under no public name."""


class UnnamedCommand(TyperCommand):
    """The command that runs where no subcommand is named; its own name is not shown."""

    def get_usage(self, ctx: Any) -> str:
        """Return the usage line."""
        return super().get_usage(ctx).replace("audit find ", "audit ", 1)


class RulesetOrSubcommand(TyperGroup):
    """A group that accepts the name of a rule set in place of a command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command's name before its arguments."""
        named = args[:1] and args[0] in SUBCOMMANDS
        return super().parse_args(ctx, args if named else ["find", *args])

    def invoke(self, ctx: Any) -> Any:
        """Run a command; a usage error is one line on stderr."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            typer.echo(_one_line(error), err=True)
            raise typer.Exit(WRONG_USE) from None


def _one_line(error: Any) -> str:
    """Describe a usage error in one line."""
    message = " ".join(error.format_message().split()).replace("Value error, ", "").rstrip(".")
    command = error.ctx.command_path.removesuffix(" find")
    return f"turnout-audit: {message}; see {command} --help"


app = typer.Typer(cls=RulesetOrSubcommand, add_completion=False)


@app.callback()
def _root() -> None:
    pass


app.command("find", cls=UnnamedCommand)(find)
app.command("history")(history)
app.command("check")(check)
app.command("rules")(rules)
app.command("terms")(terms)
app.command("removed")(removed)

"""The group of all commands, as typer takes it: each is imported only when it is called."""

import importlib
from collections.abc import Iterable
from difflib import get_close_matches
from importlib.metadata import EntryPoint
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from turnout.cli.command_table import COMMANDS, DISTRIBUTIONS


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


class InstalledCommand(LateCommand):
    """Stands for a command that another distribution adds by entry point."""

    def __init__(self, entry: EntryPoint) -> None:
        super().__init__(entry.name, entry.value, _line(entry))
        self.entry = entry

    def make_context(self, info_name: str | None, *args: Any, **kwargs: Any) -> Any:
        """Import the distribution's commands."""
        from turnout.cli.extensions import load_extension

        command = typer.main.get_command(load_extension(self.entry))
        return command.make_context(info_name, *args, **kwargs)


def _line(entry: EntryPoint) -> str:
    """Return what --help shows; metadata is read only for a command that the table lacks."""
    if entry.name in DISTRIBUTIONS:
        return DISTRIBUTIONS[entry.name][1]
    summary = "" if entry.dist is None else entry.dist.metadata["Summary"]
    return summary or f"Commands of {entry.name}."


def _extensions() -> Iterable[str]:
    """Name the commands of other distributions: those of this project first, as the table does."""
    from turnout.cli.extensions import extensions

    installed = extensions()
    of_project = [name for name in DISTRIBUTIONS if name in installed]
    return dict.fromkeys([*of_project, *installed])


WRONG_USE = 2
"""The exit code of a command line that cannot be understood."""


UsageError: Any = typer.BadParameter.__mro__[1]
"""The class of errors in the use of a command line; typer exports no name for it."""


def _usage(error: Any) -> str:
    """Describe a usage error in one line."""
    text = " ".join(error.format_message().split())
    command = error.ctx.command_path.removesuffix(" find") if error.ctx else "turnout"
    return f"turnout: {text.replace('Value error, ', '').rstrip('.')}; see {command} --help"


class Commands(TyperGroup):
    """Lists every command without importing any."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name our commands, in the order of the table; then those of other distributions."""
        del ctx
        return [*COMMANDS, *_extensions()]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; answer an unknown one with what to install, or the nearest name."""
        if args and args[0] not in COMMANDS and self.get_command(ctx, args[0]) is None:
            if args[0] in DISTRIBUTIONS:
                distribution, _ = DISTRIBUTIONS[args[0]]
                ctx.fail(
                    f"{args[0]} is not installed: in a checkout of Turnout,"
                    f" python -m pip install ./src/{distribution}"
                )
            near = get_close_matches(args[0], self.list_commands(ctx), n=1)
            if not near:
                return super().resolve_command(ctx, args)
            ctx.fail(f"No such command {args[0]!r}; did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; a usage error is one line on stderr."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                raise  # the help is shown, which is no fault
            typer.echo(_usage(error), err=True)
            raise typer.Exit(WRONG_USE) from None

    def get_command(self, ctx: Any, cmd_name: str) -> LateCommand | None:
        """Find a command by its name."""
        del ctx
        if cmd_name in COMMANDS:
            return LateCommand(cmd_name, *COMMANDS[cmd_name])
        from turnout.cli.extensions import find_extension

        entry = find_extension(cmd_name)
        return None if entry is None else InstalledCommand(entry)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="Move background tasks between orchestrators.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(requested: bool) -> None:
    if requested:
        import turnout

        typer.echo(f"turnout {turnout.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version.")
    ] = False,
) -> None:
    del version

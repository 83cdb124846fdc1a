"""What commands share: the live objects, errors as messages, JSON or a table."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from turnout.errors import TurnoutError

if TYPE_CHECKING:
    from turnout.service.process import Turnout

Answer = TypeVar("Answer")

CLEAN, FOUND, UNSURE = 0, 1, 2
"""Exit codes: clean or PASS; findings or FAIL; could not tell, INCONCLUSIVE or wrong use."""

INTERRUPTED = 130
"""The exit code of a command that ^C ended."""

WHOLE = ("run", "emitted", "at", "next")
"""Columns of ids and times, which are copied: never wrapped."""

NAMED = "The app: module:attribute, or a module, whose attribute `app` it is; else TURNOUT_APP."
Target = Annotated[str | None, typer.Argument(metavar="MODULE[:ATTRIBUTE]", help=NAMED)]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")]
AppName = Annotated[
    str | None,
    typer.Option("--app", metavar="MODULE[:ATTRIBUTE]", help=NAMED),
]


def run(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Run a command's work; what goes wrong is one line on stderr and exit code 2."""
    try:
        return asyncio.run(work)
    except TurnoutError as error:
        fail(str(error))
    except OSError as error:
        fail(told(error))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def told(error: OSError) -> str:
    """Say in one line what the system refused, and for which file."""
    file = "" if error.filename is None else f"{error.filename}: "
    return f"{file}{error.strerror or error}"


def fail(message: str) -> NoReturn:
    """Say what is wrong, and stop with exit code 2."""
    typer.secho(f"turnout: {message}", err=True, fg=typer.colors.RED)
    raise typer.Exit(UNSURE)


@asynccontextmanager
async def opened(app: str | None, *, serve: bool = False) -> "AsyncIterator[Turnout]":
    """Open the live objects of the named app; without `serve` nothing is called or pumped."""
    from turnout.bootstrap.live import open_turnout
    from turnout.bootstrap.settings import read_settings
    from turnout.bootstrap.user_code import load_app
    from turnout.cli.logs import show_logs

    settings = read_settings(os.environ)
    loaded = load_app(app or settings.app)
    show_logs()
    live = open_turnout(loaded, settings=settings, serve=serve)
    async with live:
        yield live


def show(value: Any, *, as_json: bool, table: Callable[[], Any]) -> None:
    """Print a value as JSON, or as the table that shows it."""
    if as_json:
        print_json(value)
        return
    from rich.console import Console

    if sys.stdout.isatty():
        Console().print(table())
    else:
        sys.stdout.write("".join(f"{line}\n" for line in plain(table())))


def plain(made: Any) -> Iterable[str]:
    """Write tables as lines without borders, each row on one: for pipes and grep."""
    from rich.console import Group
    from rich.table import Table

    if isinstance(made, Group):
        for each in made.renderables:
            yield from plain(each)
    elif isinstance(made, Table):
        columns = [
            [" ".join(str(cell).split()) for cell in (column.header, *column.cells)]
            for column in made.columns
        ]
        widths = [max(map(len, column)) for column in columns]
        yield f"# {made.title}"
        for row in zip(*columns, strict=True):
            text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            if text.strip():
                yield text.rstrip()
    else:
        yield str(made)


def print_json(value: Any) -> None:
    """Print one JSON object."""
    import orjson

    options = orjson.OPT_INDENT_2 if sys.stdout.isatty() else 0
    sys.stdout.write(orjson.dumps(value, option=options, default=str).decode() + "\n")


def table(title: str, columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> Any:
    """Make a table; what a value holds is text, never markup."""
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column in WHOLE)
    for row in rows:
        made.add_row(*(Text("" if each is None else str(each)) for each in row))
    return made

"""What a command prints on stdout: one JSON object, or tables."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from turnout.cli.printable import printable

if TYPE_CHECKING:
    from rich.table import Table as RichTable

NEVER_WRAPPED = ("run", "emitted", "at", "next")
"""Columns of ids, times and commands: people copy them."""


@dataclass(frozen=True)
class Table:
    """A titled table of text; what a cell holds is never read as markup."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


Page: TypeAlias = str | Sequence[Table]
"""One sentence, or tables below each other."""


def show(value: Any, *, as_json: bool, page: Callable[[], Page]) -> None:
    """Print a value as JSON, or as the page that shows it."""
    if as_json:
        print_json(value)
    elif sys.stdout.isatty():
        _print_for_people(page())
    else:
        sys.stdout.writelines(f"{line}\n" for line in _plain_lines(page()))


def print_json(value: Any) -> None:
    """Print one JSON object."""
    import orjson

    options = orjson.OPT_INDENT_2 if sys.stdout.isatty() else 0
    sys.stdout.write(printable(orjson.dumps(value, option=options, default=str).decode()) + "\n")


def table(title: str, columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> Table:
    """Make a table; None is an empty cell, and what steers a terminal is escaped."""
    cells = [["" if value is None else printable(str(value)) for value in row] for row in rows]
    return Table(printable(title), columns, cells)


def _plain_lines(page: Page) -> Iterator[str]:
    """Write tables as lines without borders, each row on one: for pipes and grep."""
    if isinstance(page, str):
        yield printable(page)
        return
    for part in page:
        yield f"# {part.title}"
        lines = [[" ".join(cell.split()) for cell in row] for row in (part.columns, *part.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for row in lines:
            text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            if text.strip():
                yield text.rstrip()


def _print_for_people(page: Page) -> None:
    from rich.console import Console

    console = Console()
    for part in [page] if isinstance(page, str) else page:
        console.print(printable(part) if isinstance(part, str) else _drawn(part), markup=False)


def _drawn(part: Table) -> "RichTable":
    from rich.table import Table as RichTable
    from rich.text import Text

    drawing = RichTable(title=part.title, title_justify="left", header_style="bold")
    for column in part.columns:
        drawing.add_column(column, overflow="fold", no_wrap=column in NEVER_WRAPPED)
    for row in part.rows:
        drawing.add_row(*map(Text, row))
    return drawing

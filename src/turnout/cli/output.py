"""What a command prints on stdout: one JSON object, or tables."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

WHOLE = ("run", "emitted", "at", "next")
"""Columns of ids and times, which are copied: never wrapped."""


def show(value: Any, *, as_json: bool, table: Callable[[], Any]) -> None:
    """Print a value as JSON, or as the table that shows it."""
    if as_json:
        print_json(value)
    elif sys.stdout.isatty():
        from rich.console import Console

        Console().print(table())
    else:
        sys.stdout.write("".join(f"{line}\n" for line in plain_lines(table())))


def print_json(value: Any) -> None:
    """Print one JSON object."""
    import orjson

    options = orjson.OPT_INDENT_2 if sys.stdout.isatty() else 0
    sys.stdout.write(orjson.dumps(value, option=options, default=str).decode() + "\n")


def plain_lines(content: Any) -> Iterable[str]:
    """Write tables as lines without borders, each row on one: for pipes and grep."""
    from rich.console import Group
    from rich.table import Table

    if isinstance(content, Group):
        for part in content.renderables:
            yield from plain_lines(part)
    elif isinstance(content, Table):
        columns = [
            [" ".join(str(cell).split()) for cell in (column.header, *column.cells)]
            for column in content.columns
        ]
        widths = [max(map(len, column)) for column in columns]
        yield f"# {content.title}"
        for row in zip(*columns, strict=True):
            text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            if text.strip():
                yield text.rstrip()
    else:
        yield str(content)


def table(title: str, columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> Any:
    """Make a table; what a value holds is text, never markup."""
    from rich.table import Table
    from rich.text import Text

    result = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        result.add_column(column, overflow="fold", no_wrap=column in WHOLE)
    for row in rows:
        result.add_row(*(Text("" if value is None else str(value)) for value in row))
    return result

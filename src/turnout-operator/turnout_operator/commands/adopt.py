"""`turnout adopt`: what becomes of functions that were written for a vendor's own SDK."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnout.cli.exits import CLEAN, FOUND, fail
from turnout.cli.options import Json
from turnout.cli.output import show, table
from turnout.errors import TurnoutError

if TYPE_CHECKING:
    from turnout.model.adoption import Adoption

commands = typer.Typer(
    no_args_is_help=True, help="Examine functions of a vendor's SDK for adoption."
)

Client = Annotated[
    str,
    typer.Argument(
        metavar="MODULE[:ATTRIBUTE]",
        help="The SDK's client object; of a module alone, its attribute `client`.",
    ),
]
Check = Annotated[bool, typer.Option("--check", help="Say what is kept; nothing is changed.")]


@commands.command()
def adopt(client: Client, check: Check = False, json: Json = False) -> None:
    """Say per function and option, as far as the source shows: kept, refused, or not seen.

    Exit 0 if all is kept; what is not seen is for you to look at.
    """
    if not check:
        fail(
            "adopting is a line of your code, adopt(client); this command only examines:"
            " turnout adopt --check module:client"
        )
    from turnout.model.adoption import AdoptionOutcome
    from turnout_operator.adoptions import adoptions

    try:
        rows = adoptions(client)
    except TurnoutError as error:
        fail(str(error))
    refused = [row for row in rows if row.outcome is AdoptionOutcome.REFUSED]
    unseen = [row for row in rows if row.outcome is AdoptionOutcome.NOT_SEEN]
    honoured = len(rows) - len(refused) - len(unseen)
    show(
        {
            "functions": len({row.function for row in rows}),
            "kept": honoured,
            "refused": len(refused),
            "not_seen": len(unseen),
            "adoptions": list(map(_data, rows)),
        },
        as_json=json,
        page=lambda: [
            table(
                f"{honoured} kept, {len(refused)} refused, {len(unseen)} not seen,"
                " as far as the source shows",
                ("function", "option", "", "why", "at"),
                _cells(rows),
            )
        ],
    )
    raise typer.Exit(FOUND if refused or unseen else CLEAN)


def _data(row: "Adoption") -> dict[str, Any]:
    return {
        "function": row.function,
        "option": row.option,
        "kept": row.outcome,
        "why": row.reason,
        "file": row.file,
        "line": row.line,
    }


def _cells(rows: "Sequence[Adoption]") -> Sequence[Sequence[str]]:
    return [(row.function, row.option, row.outcome, row.reason, _location(row)) for row in rows]


def _location(row: "Adoption") -> str:
    """Write file and line, from the working folder where the file is in it."""
    file = Path(row.file)
    path = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    return f"{path}:{row.line}" if row.line else str(path)

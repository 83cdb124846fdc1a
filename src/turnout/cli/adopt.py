"""`turnout adopt`: what becomes of functions that were written for a vendor's own SDK."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from turnout.cli.shared import CLEAN, FOUND, Json, fail, show, table
from turnout.errors import TurnoutError

if TYPE_CHECKING:
    from turnout.model.adoption import Adoption

app = typer.Typer(no_args_is_help=True, help="Examine functions of a vendor's SDK for adoption.")

Client = Annotated[
    str,
    typer.Argument(
        metavar="MODULE[:ATTRIBUTE]",
        help="The SDK's client object; of a module alone, its attribute `client`.",
    ),
]
Check = Annotated[bool, typer.Option("--check", help="Say what is kept; nothing is changed.")]


@app.command()
def adopt(client: Client, check: Check = False, json: Json = False) -> None:
    """Say per function and option, as far as the source shows: kept, refused, or not seen.

    Exit 0 if all is kept; what is not seen is for you to look at.
    """
    if not check:
        fail(
            "adopting is a line of your code, adopt(client); this command only examines:"
            " turnout adopt --check module:client"
        )
    from turnout.bootstrap.adoption import adoptions
    from turnout.model.adoption import Kept

    try:
        found = adoptions(client)
    except TurnoutError as error:
        fail(str(error))
    lost = [each for each in found if each.kept is Kept.REFUSED]
    unseen = [each for each in found if each.kept is Kept.NOT_SEEN]
    kept = len(found) - len(lost) - len(unseen)
    show(
        {
            "functions": len({each.function for each in found}),
            "kept": kept,
            "refused": len(lost),
            "not_seen": len(unseen),
            "adoptions": [each.__dict__ for each in found],
        },
        as_json=json,
        table=lambda: table(
            f"{kept} kept, {len(lost)} refused, {len(unseen)} not seen, as far as the source shows",
            ("function", "option", "", "why", "at"),
            _rows(found),
        ),
    )
    raise typer.Exit(FOUND if lost or unseen else CLEAN)


def _rows(found: "Sequence[Adoption]") -> Sequence[Sequence[str]]:
    return [(each.function, each.option, each.kept, each.why, _place(each)) for each in found]


def _place(each: "Adoption") -> str:
    """Write file and line, from the working folder where the file is in it."""
    file = Path(each.file)
    near = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    return f"{near}:{each.line}" if each.line else str(near)

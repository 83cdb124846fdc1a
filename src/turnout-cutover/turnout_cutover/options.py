"""Options that several commands of a move have, and the signature that they make."""

from pathlib import Path
from typing import Annotated, Final

import typer

from turnout.model.text import storable
from turnout_cutover.changes import Signature
from turnout_cutover.move_file import NAME
from turnout_cutover.operations import whoami

DECLARED: Final = Path(NAME)


def reason_text(text: str | None) -> str | None:
    """Return a reason as it can be stored; BadParameter where it is blank."""
    if text is not None and not text.strip():
        raise typer.BadParameter("a reason must not be blank: it is kept in the history")
    return None if text is None else storable(text)


def declared_file(path: Path) -> Path:
    """Return the file; BadParameter where one is named that is not there: no gate would count."""
    if path != DECLARED and not path.exists():
        raise typer.BadParameter(f"there is no file {path}")
    return path


Reason = Annotated[
    str | None,
    typer.Option(callback=reason_text, help="Why; it is kept. Not needed with --dry-run."),
]
Ticket = Annotated[str | None, typer.Option(help="Where it was agreed; it is kept.")]
OperatorName = Annotated[
    str | None, typer.Option("--by", metavar="NAME", help="Who does it; else user@machine.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")]
Override = Annotated[
    str | None,
    typer.Option(
        metavar="REASON",
        callback=reason_text,
        help="Do it against what is said against it; it is kept.",
    ),
]
Declared = Annotated[
    Path,
    typer.Option(
        "--file",
        metavar="FILE",
        callback=declared_file,
        help="What the team declares of its move.",
    ),
]
WaveName = Annotated[
    str | None, typer.Option("--wave", metavar="NAME", help="The tasks of a declared wave.")
]


def sign(
    operator: str | None, reason: str | None, ticket: str | None, *, dry_run: bool = False
) -> Signature:
    """Say who does something, and why; BadParameter where something is changed without a reason."""
    if reason is None and not dry_run:
        raise typer.BadParameter("say why, with --reason: it is kept in the history")
    return Signature(
        operator=storable(operator or whoami()),
        reason=storable(reason or "dry run"),
        ticket=None if ticket is None else storable(ticket),
    )

"""`turnout deadletters`: events that were refused at a door: emit them again, or drop them."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnout.cli.exits import FOUND, fail, run
from turnout.cli.opening import opened, opened_store
from turnout.cli.options import AppName, Json
from turnout.cli.output import show, table

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from turnout.model.events import DeadLetter
    from turnout.ports.run_store import RunStore

commands = typer.Typer(
    no_args_is_help=True, help="Look at events refused at a door; emit them again, or drop them."
)

LIMIT = 1_000
"""Letters that are read at once, the oldest ones."""


@commands.callback()
def _group() -> None:
    pass


@commands.command("list")
def list_letters(
    dropped: Annotated[
        bool, typer.Option("--dropped", help="Those that were dropped, and why.")
    ] = False,
    app: AppName = None,
    json: Json = False,
) -> None:
    """List the events that were refused at a door and are kept, the oldest first."""
    del app  # the run store holds all that is shown
    count, rows = run(_rows(dropped=dropped))
    columns = ("letter", "event", "key", "at", "error", *(["dropped"] if dropped else []))
    show(
        {"count": count, "letters": rows},
        as_json=json,
        page=lambda: [
            table(
                f"{count} dead letter(s)",
                columns,
                ([row[name] for name in columns] for row in rows),
            )
        ],
    )


@commands.command()
def emit(
    letters: Annotated[list[str] | None, typer.Argument(metavar="[LETTER]…")] = None,
    all_letters: Annotated[
        bool, typer.Option("--all", help="All of them, the oldest first.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which.")] = False,
    app: AppName = None,
    json: Json = False,
) -> None:
    """Emit dead letters again; exit code 1 if one is refused again, and kept."""
    if all_letters == bool(letters):
        fail("name letters, as `turnout deadletters list` does, or give --all")
    results = run(_emit(letters or None, app, dry_run=dry_run))
    columns = ("letter", "event", "emitted_as", "error")
    show(
        {"letters": results},
        as_json=json,
        page=lambda: [
            table(f"{len(results)} letter(s)", columns, (row.values() for row in results))
        ],
    )
    if any(row["error"] for row in results):
        raise typer.Exit(FOUND)


@commands.command()
def drop(
    reason: Annotated[str, typer.Option(help="Why they are not to be emitted; it is kept.")],
    letters: Annotated[list[str] | None, typer.Argument(metavar="[LETTER]…")] = None,
    all_letters: Annotated[
        bool, typer.Option("--all", help="All of them, the oldest first.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which.")] = False,
    app: AppName = None,
    json: Json = False,
) -> None:
    """Give dead letters up: they are not counted any more, and listed with the reason."""
    del app  # the run store holds all that is needed
    if all_letters == bool(letters):
        fail("name letters, as `turnout deadletters list` does, or give --all")
    if not reason.strip():
        fail("--reason: say why")
    dropped = run(_drop(letters or None, reason.strip(), dry_run=dry_run))
    verb = "would be dropped" if dry_run else "dropped"
    show(
        {"dropped": dropped},
        as_json=json,
        page=lambda: "\n".join((f"{len(dropped)} letter(s) {verb}", *dropped)),
    )


async def _drop(letters: list[str] | None, reason: str, *, dry_run: bool) -> list[str]:
    async with opened_store() as store:
        letter_ids = [letter.letter_id for letter in await _named(store, letters, "dropped")]
        if dry_run:
            return letter_ids
        return list(await store.dead_letters.drop(letter_ids, reason))


async def _named(
    store: "RunStore", letter_ids: "Collection[str] | None", verb: str
) -> "Sequence[DeadLetter]":
    """Read the letters of these ids, or all; one that is not kept is refused."""
    letters = await store.dead_letters.read(limit=LIMIT)
    if letter_ids is None:
        return letters
    unknown = {*letter_ids} - {letter.letter_id for letter in letters}
    if unknown:
        fail(f"no dead letter {', '.join(sorted(unknown))} is kept; nothing was {verb}")
    return [letter for letter in letters if letter.letter_id in letter_ids]


async def _rows(*, dropped: bool) -> tuple[int, list[dict[str, Any]]]:
    from turnout.model.canonical import parse
    from turnout.model.time import iso

    async with opened_store() as store:
        letters = await store.dead_letters.read(limit=LIMIT, dropped=dropped)
        count = len(letters) if dropped else await store.dead_letters.count()
    return count, [
        {
            "letter": letter.letter_id,
            "event": letter.name,
            "key": letter.key,
            "at": iso(letter.refused_at),
            "error": letter.error,
            "payload": parse(letter.payload),
            "dropped": letter.dropped,
        }
        for letter in letters
    ]


async def _emit(
    letter_ids: list[str] | None, app: str | None, *, dry_run: bool
) -> list[dict[str, Any]]:
    from turnout.errors import WrongUse

    results: list[dict[str, Any]] = []
    async with opened(app) as live:
        for letter in await _named(live.store, letter_ids, "emitted"):
            row = {"letter": letter.letter_id, "event": letter.name}
            try:
                event_id = None if dry_run else (await live.dead_letters.emit(letter)).event_id
            except WrongUse as error:
                results.append({**row, "emitted_as": None, "error": str(error)})
            else:
                results.append({**row, "emitted_as": event_id, "error": None})
    return results

"""`turnout inventory`: what is armed at a provider, with what can be emitted again."""

import os
from pathlib import Path
from typing import Annotated

import orjson
import typer

from turnout.cli.opening import opened
from turnout.cli.options import AppName, Json
from turnout.errors import WrongUse
from turnout_cutover.changes import Signature
from turnout_cutover.inventory import Inventory, differences, read_document, read_inventory
from turnout_cutover.opening import Answer, run
from turnout_cutover.operations import Operations
from turnout_cutover.options import DECLARED, Declared, OperatorName, Ticket, reason_text, sign
from turnout_cutover.outcome import Exit
from turnout_cutover.stages import default_route

commands = typer.Typer()

PRIVATE = 0o600
"""The mode of a saved inventory: it holds payloads."""


@commands.command()
def show_inventory(
    provider: Annotated[
        str | None, typer.Option("--from", metavar="PROVIDER", help="Else the flag's old one.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it, with payloads; a new file.")
    ] = None,
    diff: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Say what became of everything in a saved one."),
    ] = None,
    from_store: Annotated[
        str | None,
        typer.Option(
            metavar="REASON",
            callback=reason_text,
            help="Do without the provider; the reason is kept.",
        ),
    ] = None,
    ticket: Ticket = None,
    by: OperatorName = None,
    app: AppName = None,
    file: Declared = DECLARED,
    json: Json = False,
) -> None:
    """List what will go on by itself. Exit 1: lost, or lists disagree. Exit 3: not readable."""

    async def work(operations: Operations) -> Answer:
        """Read what is armed, or what became of it."""
        if diff is not None:
            return await _difference(app, read_document(diff))
        name = provider or await _old_provider(operations)
        operations.check_providers(name)
        async with opened(app) as live:
            inventory = await read_inventory(
                live, name, from_store=from_store is not None, now=operations.clock.now()
            )
        if from_store is not None:
            await _record(operations, inventory, sign(by, from_store, ticket))
        if save is not None:
            _write(save, inventory)
        return _answer(inventory, save)

    run(work, as_json=json, declared=file)


async def _difference(app: str | None, saved: Inventory) -> Answer:
    async with opened(app) as live:
        results = await differences(live, saved)
    lost = [result for result in results if result.lost]
    lines = [f"{result.kind} {result.key}: {result.text}" for result in results]
    lines.append(f"{len(results)} were armed at {saved.read_at}, {len(lost)} are lost")
    rows = [
        {"kind": result.kind, "key": result.key, "now": result.text, "lost": result.lost}
        for result in results
    ]
    return Answer(
        document={"provider": saved.provider, "armed_then": rows, "lost": len(lost)},
        lines=lines,
        code=Exit.FINDINGS if lost else Exit.CLEAN,
    )


def _answer(inventory: Inventory, save: Path | None) -> Answer:
    lines = [
        f"{item.kind} {item.key}: {item.task}{f', due {item.due}' if item.due else ''}"
        f" ({item.source}, {inventory.read_at})"
        for item in inventory.armed
    ]
    counts = ", ".join(f"{count} {kind}" for kind, count in inventory.counts.items())
    lines.append(f"{inventory.provider}: {len(inventory.armed)} armed: {counts or 'nothing'}")
    lines.append(inventory.comparison.line() if inventory.live else "the provider was not read")
    if save is not None:
        lines.append(f"saved to {save}; later: turnout inventory --diff {save}")
    disagrees = inventory.comparison.only_there or inventory.comparison.only_here
    return Answer(
        document={**inventory.document(), "counts": inventory.counts},
        lines=lines,
        code=Exit.FINDINGS if disagrees else Exit.CLEAN,
    )


async def _old_provider(operations: Operations) -> str:
    default = default_route(await operations.flag())
    if default is None:
        raise WrongUse("which provider? --from: no replica has started at dual")
    return default.old


async def _record(operations: Operations, inventory: Inventory, signature: Signature) -> None:
    """Keep why the provider was not read."""
    tasks = sorted({item.task for item in inventory.armed})
    detail = {"step": f"inventory of {inventory.provider} read from the run store alone"}
    await operations.log.note(dict.fromkeys(tasks, detail), signature, operations.clock.now())


def _write(path: Path, inventory: Inventory) -> None:
    """Write a new file that only this user can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(orjson.dumps(inventory.document(), option=orjson.OPT_INDENT_2))

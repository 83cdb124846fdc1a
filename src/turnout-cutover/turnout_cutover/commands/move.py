"""`turnout move`: change the stage of tasks, through the gates."""

from pathlib import Path
from typing import Annotated

import typer

from turnout.cli.options import Json
from turnout.model.time import iso
from turnout_cutover.changes import Action
from turnout_cutover.moving import Moved, MoveRequest, Proposal, gate_text, move, rows
from turnout_cutover.opening import Answer, run
from turnout_cutover.operations import Operations
from turnout_cutover.options import (
    DECLARED,
    Declared,
    DryRun,
    OperatorName,
    Override,
    Reason,
    Ticket,
    WaveName,
    sign,
)
from turnout_cutover.stages import describe, read_target

commands = typer.Typer()


@commands.command()
def move_tasks(
    tasks: Annotated[list[str] | None, typer.Argument(help="The tasks' ids.")] = None,
    wave: WaveName = None,
    to: Annotated[
        str | None, typer.Option(metavar="STAGE", help="old, dual, ramp:N (1 to 99), or new.")
    ] = None,
    reason: Reason = None,
    ticket: Ticket = None,
    by: OperatorName = None,
    gates: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The gates of `turnout parity check`.")
    ] = None,
    override: Override = None,
    stay: Annotated[
        bool | None, typer.Option("--stay/--no-stay", help="Pin the tasks where they are, or not.")
    ] = None,
    old: Annotated[
        str | None, typer.Option(help="The old provider, of a task's first move.")
    ] = None,
    new: Annotated[
        str | None, typer.Option(help="The new provider, of a task's first move.")
    ] = None,
    wait: Annotated[
        bool, typer.Option(help="Wait until every living replica has the new routes.")
    ] = True,
    dry_run: DryRun = False,
    file: Declared = DECLARED,
    json: Json = False,
) -> None:
    """Change which provider gets the new runs of tasks. Exit 4: refused, nothing changed."""
    if bool(tasks) == bool(wave):
        raise typer.BadParameter("name the tasks, or a --wave")
    if to is None and stay is None:
        raise typer.BadParameter("say where to, with --to, or pin with --stay")
    signature = sign(by, reason, ticket, dry_run=dry_run)

    async def work(operations: Operations) -> Answer:
        """Change the routes."""
        request = MoveRequest(
            tasks=tasks or operations.move_file.wave(wave or "").tasks,
            target=None if to is None else read_target(to),
            stay=stay,
            action=_action(to, stay),
            old=old,
            new=new,
            gates=gates,
            override=override,
            signature=signature,
            dry_run=dry_run,
            wait=wait,
        )
        return answer(await move(operations, request), request)

    run(work, as_json=json, declared=file)


def answer(moved: Moved, request: MoveRequest) -> Answer:
    """Say what became of a request."""
    lines = [_line(proposal, moved, request) for proposal in moved.proposals]
    lines += [f"overridden: {text}" for text in moved.overridden]
    lines.append(f"replicas {moved.agreement.count}")
    document = {
        "tasks": rows(moved),
        "dry_run": request.dry_run,
        "overridden": list(moved.overridden),
        "replicas": moved.agreement.count,
    }
    return Answer(document=document, lines=lines)


def _line(proposal: Proposal, moved: Moved, request: MoveRequest) -> str:
    if proposal.in_place:
        return f"{proposal.task}: already {describe(proposal.after)}"
    change = f"{proposal.task}: {describe(proposal.before)} → {describe(proposal.after)}"
    gate = f"gates: {gate_text(proposal)}"
    if request.dry_run:
        return f"would change {change}, {gate}"
    return f"{change} at {iso(moved.at)}, {gate}"


def _action(to: str | None, stay: bool | None) -> Action:
    if to is not None or stay is None:
        return Action.MOVE
    return Action.STAY if stay else Action.UNPIN

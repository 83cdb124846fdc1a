"""`turnout rollback`: new runs back to the old provider, and every step seen to be done."""

from typing import Annotated, Any

import typer

from turnout.cli.opening import opened
from turnout.cli.options import AppName, Json
from turnout_cutover.moving import rows
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
from turnout_cutover.rolling_back import RolledBack, moved_tasks, roll_back, rollback_request
from turnout_cutover.stages import describe

commands = typer.Typer()


@commands.command()
def roll_tasks_back(
    tasks: Annotated[list[str] | None, typer.Argument(help="The tasks' ids.")] = None,
    all_tasks: Annotated[
        bool,
        typer.Option("--all", help="Every task that has left its old provider; not pinned ones."),
    ] = False,
    wave: WaveName = None,
    reason: Reason = None,
    ticket: Ticket = None,
    by: OperatorName = None,
    override: Override = None,
    dry_run: DryRun = False,
    app: AppName = None,
    file: Declared = DECLARED,
    json: Json = False,
) -> None:
    """Send new runs to the old provider again. Exit 5: written, and not all steps verified."""
    if [bool(tasks), bool(wave), all_tasks].count(True) != 1:
        raise typer.BadParameter("name the tasks, or a --wave, or give --all")
    signature = sign(by, reason, ticket, dry_run=dry_run)

    async def work(operations: Operations) -> Answer:
        """Go back, and verify it."""
        names = tasks or moved_tasks(await operations.log.routes())
        if wave is not None:
            names = list(operations.move_file.wave(wave).tasks)
        if not names:
            return Answer(document={"tasks": []}, lines=["already: no task has left its provider"])
        request = rollback_request(operations, names, signature, override=override, dry_run=dry_run)
        return _answer(await roll_back(operations, request, lambda: opened(app)), dry_run=dry_run)

    run(work, as_json=json, declared=file)


def _answer(result: RolledBack, *, dry_run: bool) -> Answer:
    document: dict[str, Any] = {
        "tasks": rows(result.moved),
        "dry_run": dry_run,
        "steps": [
            {"step": step.step, "done": step.verified, "ms": step.duration, "text": step.text}
            for step in result.steps
        ],
        "staying": [runs.document() for runs in result.staying],
    }
    word = "would go" if dry_run else "go"
    lines = [
        f"{proposal.task}: already {describe(proposal.after)}"
        if proposal.in_place
        else f"{proposal.task}: new runs {word} to {proposal.after.old}"
        f" ({describe(proposal.before)} → {describe(proposal.after)})"
        for proposal in result.moved.proposals
    ]
    lines += [f"{'would stay' if dry_run else 'stays'}: {runs.text()}" for runs in result.staying]
    if not dry_run:
        total = sum(step.duration for step in result.steps)
        lines.append(
            f"done: {len(result.steps)} of {len(result.steps)} steps in {total / 1_000:.1f} s"
        )
    return Answer(document=document, lines=lines)

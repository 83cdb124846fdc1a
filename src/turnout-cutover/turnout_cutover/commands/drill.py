"""`turnout drill`: there and back with the probe's task, timed."""

import typer

from turnout.cli.opening import opened
from turnout.cli.options import AppName, Json
from turnout_cutover.drilling import Drill, Leg, drill, planned
from turnout_cutover.moving import rows
from turnout_cutover.opening import Answer, run
from turnout_cutover.operations import Operations
from turnout_cutover.options import (
    DECLARED,
    Declared,
    DryRun,
    OperatorName,
    Reason,
    Ticket,
    sign,
)
from turnout_cutover.stages import describe

commands = typer.Typer()


@commands.command()
def run_drill(
    reason: Reason = None,
    ticket: Ticket = None,
    by: OperatorName = None,
    dry_run: DryRun = False,
    app: AppName = None,
    file: Declared = DECLARED,
    json: Json = False,
) -> None:
    """Send the probe's task to the new provider and back. Exit 5: it did not come back."""
    signature = sign(by, reason, ticket, dry_run=dry_run)

    async def work(operations: Operations) -> Answer:
        """Go there and back, or say what would be done."""
        if dry_run:
            moved = await planned(operations, signature)
            (proposal,) = moved.proposals
            line = f"would send {proposal.task} to {proposal.after.new} and back"
            return Answer(
                document={"tasks": rows(moved), "dry_run": True},
                lines=[f"{line} (now {describe(proposal.before)})"],
            )
        return _answer(await drill(operations, signature, lambda: opened(app)))

    run(work, as_json=json, declared=file)


def _answer(result: Drill) -> Answer:
    outward, homeward = result.outward, result.homeward
    times = outward.duration / 1_000, homeward.duration / 1_000
    line = f"there {times[0]:.1f} s, back {times[1]:.1f} s, 0 lost"
    return Answer(
        document={"there": _leg(outward), "back": _leg(homeward), "lost": 0, "dry_run": False},
        lines=[line],
    )


def _leg(leg: Leg) -> dict[str, object]:
    return {
        "ms": leg.duration,
        "run_id": leg.run.run_id,
        "provider": leg.run.provider,
        "ms_until_called": leg.run.until_called,
    }

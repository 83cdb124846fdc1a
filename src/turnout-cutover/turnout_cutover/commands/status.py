"""`turnout status`: the whole move on one screen."""

import typer

from turnout.cli.options import Json
from turnout_cutover.opening import Answer, run
from turnout_cutover.operations import Operations
from turnout_cutover.options import DECLARED, Declared
from turnout_cutover.outcome import Exit
from turnout_cutover.overview import overview
from turnout_cutover.stages import describe

commands = typer.Typer()


@commands.command()
def show_status(file: Declared = DECLARED, json: Json = False) -> None:
    """Show where each task is, what is open where, and the next command. Exit 1: see to it."""

    async def work(operations: Operations) -> Answer:
        """Read the whole move."""
        move, now = await overview(operations), operations.clock.now()
        default = "no default: no replica has started at dual"
        if move.default is not None:
            default = f"tasks without a route: {describe(move.default)}"
        objection = move.agreement.objection()
        lines = [task.line(now) for task in move.tasks]
        lines += [
            default,
            f"replicas {move.agreement.count}{f': {objection}' if objection else ''}",
        ]
        lines.append(f"next: {move.next_command}")
        document = {
            "tasks": [task.document() for task in move.tasks],
            "default": None if move.default is None else describe(move.default),
            "replicas": move.agreement.count,
            "objection": objection,
            "next": move.next_command,
        }
        code = Exit.CLEAN if move.clean else Exit.FINDINGS
        return Answer(document=document, lines=lines, code=code)

    run(work, as_json=json, declared=file)

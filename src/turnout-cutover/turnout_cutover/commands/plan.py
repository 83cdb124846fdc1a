"""`turnout plan`: the steps to come, every gate evaluated now."""

from typing import Annotated

import typer

from turnout.cli.options import Json
from turnout.errors import WrongUse
from turnout_cutover.opening import Answer, run
from turnout_cutover.operations import Operations
from turnout_cutover.options import DECLARED, Declared
from turnout_cutover.outcome import Exit
from turnout_cutover.planning import plan

commands = typer.Typer()


@commands.command()
def show_plan(
    wave: Annotated[str | None, typer.Option(metavar="NAME", help="Only this wave.")] = None,
    file: Declared = DECLARED,
    json: Json = False,
) -> None:
    """Say of every declared step whether it would pass now. Exit 4: one would be refused."""

    async def work(operations: Operations) -> Answer:
        """Evaluate the steps."""
        declared = operations.move_file
        waves = declared.waves if wave is None else (declared.wave(wave),)
        if not waves:
            raise WrongUse(f"no wave is declared in {file}: [[waves]] name = …, tasks = […]")
        result = await plan(operations, waves)
        lines = [step.line() for step in result.steps] or ["nothing is to come"]
        lines += [] if result.objection is None else [f"against any change: {result.objection}"]
        return Answer(
            document={
                "steps": [step.document() for step in result.steps],
                "objection": result.objection,
            },
            lines=lines,
            code=Exit.REFUSED if result.refused else Exit.CLEAN,
        )

    run(work, as_json=json, declared=file)

"""`turnout retire`: whether a provider may be given up, and what is left of it."""

from typing import Annotated

import typer

from turnout.cli.opening import opened
from turnout.cli.options import AppName, Json
from turnout_cutover.opening import Answer, run
from turnout_cutover.operations import Operations
from turnout_cutover.options import DECLARED, Declared
from turnout_cutover.outcome import Exit
from turnout_cutover.retiring import DAY, requirements

commands = typer.Typer()


@commands.command()
def retire_provider(
    provider: Annotated[str, typer.Argument(help="The provider that is to be given up.")],
    check: Annotated[bool, typer.Option("--check", help="Say what is left; change nothing.")],
    days: Annotated[int, typer.Option(min=0, help="For so long nothing may have moved.")] = 14,
    app: AppName = None,
    file: Declared = DECLARED,
    json: Json = False,
) -> None:
    """Say whether a provider may be given up. Exit 4: something is left."""
    del check  # it is all that there is, and is to be typed

    async def work(operations: Operations) -> Answer:
        """Check each requirement."""
        operations.check_providers(provider)
        results = await requirements(operations, provider, lambda: opened(app), stable=days * DAY)
        complete = all(result.satisfied for result in results)
        last = "nothing is left; now turnout audit, for its traces in code and documents"
        if not complete:
            count = sum(not result.satisfied for result in results)
            last = f"{provider} is not to be given up: {count} requirement(s) not met"
        return Answer(
            document={
                "provider": provider,
                "may_be_retired": complete,
                "requirements": [
                    {"name": result.name, "met": result.satisfied, "text": result.text}
                    for result in results
                ],
            },
            lines=[*(result.line() for result in results), last],
            code=Exit.CLEAN if complete else Exit.REFUSED,
        )

    run(work, as_json=json, declared=file)

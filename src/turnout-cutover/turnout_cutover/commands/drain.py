"""`turnout drain`: what is still at a provider."""

from typing import Annotated

import typer

from turnout.cli.options import AppName, Json
from turnout.model.routing import Stage
from turnout.model.time import Millis, iso
from turnout_cutover.changes import Action, Signature
from turnout_cutover.draining import Drain, Phase, drain
from turnout_cutover.moving import MoveRequest, move, rows
from turnout_cutover.opening import Answer, opened_caller, run
from turnout_cutover.operations import Operations
from turnout_cutover.options import DECLARED, Declared, OperatorName, Ticket, reason_text, sign
from turnout_cutover.outcome import Exit
from turnout_cutover.stages import Target, describe

commands = typer.Typer()

PAUSE: Millis = 2_000
"""Time between two looks, with --wait."""


@commands.command()
def drain_provider(
    provider: Annotated[str, typer.Argument(help="The provider that is to be left.")],
    wait: Annotated[bool, typer.Option("--wait", help="Look again until it is drained.")] = False,
    close: Annotated[
        str | None,
        typer.Option(
            "--close",
            metavar="REASON",
            callback=reason_text,
            help="Once it is drained, disarm its schedules: stage drained; the reason is kept.",
        ),
    ] = None,
    ticket: Ticket = None,
    by: OperatorName = None,
    app: AppName = None,
    file: Declared = DECLARED,
    json: Json = False,
) -> None:
    """Say what is still at a provider, by both lists. Exit 1: something is, or they disagree."""

    async def work(operations: Operations) -> Answer:
        """Look at the provider, again and again with --wait."""
        operations.check_providers(provider)
        async with opened_caller(app, provider) as caller:
            result = await drain(operations, provider, caller)
            while wait and not result.drained:
                operations.report(f"{iso(result.checked_at)}: {_count(result)} open")
                await operations.clock.sleep(PAUSE)
                result = await drain(operations, provider, caller)
        answer = _answer(result)
        if close is None or not result.drained:
            return answer
        return await _closed(operations, result, answer, sign(by, close, ticket))

    run(work, as_json=json, declared=file)


def _answer(result: Drain) -> Answer:
    busy = [task for task in result.tasks if task.phase is not Phase.DRAINED]
    word = f"{len(busy)} task(s) not drained" if busy else "nothing is open by the run store alone"
    if result.drained:
        word = "drained"
    return Answer(
        document={
            "provider": result.provider,
            "drained": result.drained,
            "checked_at": iso(result.checked_at),
            "tasks": [task.document() for task in result.tasks],
            "list": {
                "available": result.comparison.available,
                "open": result.comparison.count,
                "only_there": list(result.comparison.only_there),
                "only_here": list(result.comparison.only_here),
            },
        },
        lines=[
            *(task.line() for task in result.tasks),
            result.comparison.line(),
            f"{result.provider}: {word}",
        ],
        code=_code(result, any_left=bool(busy)),
    )


def _code(result: Drain, *, any_left: bool) -> Exit:
    if result.drained:
        return Exit.CLEAN
    comparison = result.comparison
    untold = comparison.needed and not comparison.available
    return Exit.UNSURE if untold and not any_left else Exit.FINDINGS


async def _closed(
    operations: Operations, result: Drain, answer: Answer, signature: Signature
) -> Answer:
    """Set the tasks that have left the provider to drained."""
    routes = await operations.log.routes()
    tasks = [
        task
        for task, route in routes.items()
        if route.old == result.provider and route.stage is Stage.NEW
    ]
    if not tasks:
        return answer
    request = MoveRequest(
        tasks=tasks, target=Target(stage=Stage.DRAINED), action=Action.DRAIN, signature=signature
    )
    moved = await move(operations, request)
    lines = [f"{item.task}: {describe(item.after)}" for item in moved.proposals]
    return Answer(
        document={**answer.document, "closed": rows(moved)}, lines=[*answer.lines, *lines]
    )


def _count(result: Drain) -> int:
    return sum(task.open.count for task in result.tasks if task.open is not None)

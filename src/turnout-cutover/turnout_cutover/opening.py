"""What a command opens and how it ends: the first line, the answer, and the exit code."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from turnout.bootstrap.adapters import EMBEDDED, installed
from turnout.bootstrap.settings import read_settings
from turnout.cli.exits import INTERRUPTED, describe
from turnout.cli.opening import opened, opened_store
from turnout.cli.output import print_json
from turnout.cli.printable import printable
from turnout.errors import ProviderUnavailable, TurnoutError, Unavailable
from turnout.ports.caller import DurableCaller
from turnout.service.clock import ReplicaClock
from turnout_cutover.banner import Banner, read_banner
from turnout_cutover.move_file import read_move_file
from turnout_cutover.operations import Operations, whoami
from turnout_cutover.outcome import Exit, Failure, Stopped
from turnout_cutover.route_log import route_log


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command found or did."""

    document: dict[str, Any]
    lines: list[str] = field(default_factory=list)
    code: Exit = Exit.CLEAN


def run(work: Callable[[Operations], Awaitable[Answer]], *, as_json: bool, declared: Path) -> None:
    """Run a command, print its first line and its answer, and end with its exit code."""
    try:
        code = asyncio.run(_run(work, as_json=as_json, declared=declared))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(int(code))


@asynccontextmanager
async def opened_caller(app: str | None, provider: str) -> AsyncIterator[DurableCaller | None]:
    """Open the app for a provider's caller; None: the provider is not set up here.

    The run store knows all of a provider in the service's own processes: no app is opened for it.
    """
    if provider in EMBEDDED:
        yield None
        return
    async with opened(app) as live:
        yield live.callers.get(provider)


@asynccontextmanager
async def opened_operations(declared: Path) -> AsyncIterator[Operations]:
    """Open the run store that the settings name, and read what the team declares."""
    settings, move_file = read_settings(os.environ), read_move_file(declared)
    async with opened_store() as store:
        clock = ReplicaClock(store.replicas.database_time)
        await clock.read()
        yield Operations(
            store=store,
            log=route_log(store),
            clock=clock,
            settings=settings,
            move_file=move_file,
            providers=tuple(installed()),
            report=lambda line: typer.echo(printable(line), err=True),
        )


async def _run(
    work: Callable[[Operations], Awaitable[Answer]], *, as_json: bool, declared: Path
) -> Exit:
    banner: Banner | None = None
    try:
        async with opened_operations(declared) as operations:
            banner = await read_banner(operations)
            if not as_json:
                typer.echo(printable(banner.line()))
            answer = await work(operations)
    except Stopped as stopped:
        return _fail(banner, stopped.exit, stopped.failure, as_json=as_json)
    except Unavailable as error:
        return _fail(banner, Exit.UNSURE, _unreachable(error), as_json=as_json)
    except (TurnoutError, OSError) as error:
        text = describe(error) if isinstance(error, OSError) else str(error)
        typer.secho(printable(f"turnout: {text}"), err=True, fg=typer.colors.RED)
        return Exit.WRONG_USE
    _show(banner, answer, as_json=as_json)
    return answer.code


def _show(banner: Banner, answer: Answer, *, as_json: bool) -> None:
    if as_json:
        print_json({**banner.document(), **answer.document, "exit": int(answer.code)})
        return
    for line in answer.lines:
        typer.echo(printable(line))


def _fail(banner: Banner | None, code: Exit, failure: Failure, *, as_json: bool) -> Exit:
    if as_json:
        head = {} if banner is None else banner.document()
        print_json({**head, "exit": int(code), "failure": failure.document()})
    for line in failure.lines():
        typer.echo(printable(line), err=True)
    return code


def _unreachable(error: Unavailable) -> Failure:
    if isinstance(error, ProviderUnavailable):
        return Failure(
            text=f"could not tell: {error}",
            state="as before; a provider could not be read",
            users="no, by this command",
            safe_until="you move a task: do not, before it can be read",
            next_command="turnout doctor",
            owner=whoami(),
        )
    return Failure(
        text=f"could not tell: {error}",
        state="not known: the run store does not answer",
        users="new runs wait or are refused until it answers; those at providers go on",
        safe_until="the run store answers again",
        next_command="turnout doctor; break-glass: restart with ORCHESTRATOR_PROVIDER=<old>",
        owner=whoami(),
    )

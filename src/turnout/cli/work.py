"""`turnout work`: the pump and the embedded provider's runs, without an endpoint."""

import asyncio
import signal

import typer

from turnout.cli.exits import run
from turnout.cli.opening import opened
from turnout.cli.options import Target

app = typer.Typer()


@app.command()
def work(target: Target = None) -> None:
    """Move what is due and run steps, until stopped; several processes share a run store."""
    run(_work(target))


async def _work(target: str | None) -> None:
    from turnout.service.memory import collect_rarely

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with opened(target, serve=True) as live:
        collect_rarely()
        typer.echo(
            f"working for {live.app.name} ({live.selection.provider}); stop with ^C", err=True
        )
        await stop.wait()

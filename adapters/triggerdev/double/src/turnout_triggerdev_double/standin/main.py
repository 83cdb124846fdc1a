"""Starts the stand-in, and stops it on a signal."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence

from turnout_triggerdev_double.standin.definition import WrongDefinition, read_definition
from turnout_triggerdev_double.standin.runner import StandInRunner
from turnout_triggerdev_double.standin.server import ServerRefused
from turnout_triggerdev_double.standin.settings import WrongSettings, settings

WRONG_USE = 2


def main(argv: Sequence[str] | None = None) -> None:
    """Work until stopped; wrong settings or a wrong definition end with 2 and say why."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        options = settings(argv, os.environ)
        runner = StandInRunner(read_definition(options.definition), options)
    except (WrongSettings, WrongDefinition, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(WRONG_USE) from None
    try:
        asyncio.run(_until_stopped(runner))
    except ServerRefused as error:
        sys.stderr.write(f"the server refuses this worker: {error}\n")
        raise SystemExit(1) from None


async def _until_stopped(runner: StandInRunner) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await runner.run(stop)

"""Opens a provider whose processes can be killed, and tries the kill group on it."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from turnout_dev.devserver import Process
from turnout_dev.installed import devserver
from turnout_dev.supervisor import free_port

from turnout.bootstrap.adapters import EMBEDDED
from turnout.errors import WrongUse
from turnout_testing.backends import (
    VARIABLES,
    dev_setup,
    logs_folder,
    patience,
    processes_of,
    settings_of_service,
)
from turnout_testing.kills.behaviours import KILLS, KillBehaviour
from turnout_testing.kills.outage import Outage, Victim
from turnout_testing.kills.stage import KillStage, staged
from turnout_testing.kills.tasks import service

OUTAGE = 60.0
"""Seconds that a provider is away."""
LEASE = "3s"
"""The lease of the service that is killed: short, so that a lost attempt is noticed soon."""
IN_MEMORY = "memory"
"""The provider whose run store dies with its process."""


async def try_kills(
    name: str, environ: Mapping[str, str], *, outage: float = OUTAGE
) -> Mapping[str, BaseException | None]:
    """Kill each process of a provider once; return the error of each behaviour, or None, by name.

    Behaviours whose victim the provider does not have are absent. WrongUse for a provider whose
    run store is in memory.
    """
    if name == IN_MEMORY:
        raise WrongUse(f"{name!r} keeps its runs in the memory of the process that is killed")
    outcomes: dict[str, BaseException | None] = {}
    async with open_killable(name, environ) as stage:
        for victim in Victim:
            if stage.children[victim]:
                chosen = [behaviour for behaviour in KILLS if behaviour.victim is victim]
                seconds = outage if victim is Victim.SERVER else 0.0
                outcomes |= await _try_together(stage, victim, chosen, seconds)
    return outcomes


async def _try_together(
    stage: KillStage, victim: Victim, behaviours: list[KillBehaviour], seconds: float
) -> Mapping[str, BaseException | None]:
    """Try behaviours on one kill."""
    outage, children = Outage(), stage.children[victim]

    async def try_one(behaviour: KillBehaviour) -> None:
        """Try a behaviour; one that fails holds up no other."""
        share = outage.share()
        try:
            await behaviour.trial(stage, share)
        finally:
            share.end()

    async def kill() -> None:
        """Kill every process of the victim."""
        await asyncio.gather(*(child.kill() for child in children))

    async def restart() -> None:
        """Start them again, in order."""
        for child in children:
            await child.start()

    trials = [asyncio.create_task(try_one(behaviour)) for behaviour in behaviours]
    await asyncio.sleep(0)  # each takes its share
    try:
        await outage.happen(kill, restart, seconds)
    except BaseException:
        for trial in trials:
            trial.cancel()
        raise
    outcomes = await asyncio.gather(*trials, return_exceptions=True)
    return {behaviour.name: error for behaviour, error in zip(behaviours, outcomes, strict=True)}


@asynccontextmanager
async def open_killable(name: str, environ: Mapping[str, str]) -> AsyncIterator[KillStage]:
    """Open a provider: its offline server, or a real one that the environment names, and a service.

    A real server is not killed: it is not ours.
    """
    with tempfile.TemporaryDirectory(prefix="kills-") as text:
        folder, port = Path(text), free_port()
        settings = {
            **{key: value for key, value in environ.items() if key not in VARIABLES},
            **settings_of_service(name, folder, port, environ),
            "TURNOUT_LEASE": LEASE,
        }
        server = None if name in EMBEDDED else devserver(name)
        processes: Mapping[Victim, Sequence[Process]] = {}
        if server is not None:
            setup = dev_setup(server, service, folder, settings, environ)
            real = server.real(environ)
            settings |= server.environ(setup) if real is None else real
            servers, workers = processes_of(server, setup, real)
            processes = {Victim.SERVER: servers, Victim.WORKER: workers}
        async with staged(
            settings,
            folder=folder,
            logs=logs_folder(folder, environ),
            port=port,
            processes=processes,
            longer=patience(environ),
        ) as stage:
            yield stage

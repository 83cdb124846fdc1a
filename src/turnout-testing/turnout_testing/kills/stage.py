"""The processes that are killed, and what trials do with the runs on them."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnout_dev.devserver import Process
from turnout_dev.supervisor import Child

from turnout import Event, Turnout, open_turnout, read_settings
from turnout.model.ids import new_run_id
from turnout.model.reports import RunReport
from turnout.model.runs import Run
from turnout.model.status import ParkReason, RunStatus
from turnout.ports.caller import recovery_of
from turnout_testing.backends import VARIABLES
from turnout_testing.kills import tasks
from turnout_testing.kills.outage import OutageShare, Victim

READY_IN = 60.0
"""Seconds until a service that was started must answer."""


@dataclass(kw_only=True)
class KillStage:
    """A provider with a service, its worker and its server, each a process that can be killed."""

    live: Turnout
    """Emits and reads on the service's run store; it is not killed and works on nothing."""
    folder: Path
    """Where bodies write what they do."""
    children: Mapping[Victim, Sequence[Child]]
    """What there is to kill; empty for a provider that has none of it."""
    longer: float = 1.0
    """How many times longer than declared runs may take, on a busy machine."""

    @property
    def patience(self) -> float:
        """Seconds within which a run goes on after a kill, as the adapter declares."""
        (caller,) = [self.live.callers[name] for name in self.live.selection.names]
        declared = recovery_of(caller) + self.live.settings.lease
        return declared / 1_000 * self.longer

    def fresh(self) -> str:
        """Make an id that no other trial uses."""
        return new_run_id(time.time_ns() // 1_000_000)

    async def start(self, task: str, **payload: Any) -> str:
        """Emit the event of a task; returns the id of its run."""
        (emitted,) = await self.live.orchestrator.emit(Event(name=f"kills/{task}", payload=payload))
        return emitted.runs[0].run_id

    async def emit(self, name: str, **payload: Any) -> None:
        """Emit an event that starts nothing."""
        await self.live.orchestrator.emit(Event(name=name, payload=payload))

    def release(self, name: str) -> None:
        """Let the body that waits under this name go on."""
        tasks.release(self.folder, name)

    def count(self, name: str, label: str) -> int:
        """Count how often a body wrote a label of a name."""
        return tasks.count(self.folder, name, label)

    async def noted(self, name: str, label: str) -> None:
        """Wait until a body has written a label."""

        async def written() -> bool:
            return self.count(name, label) > 0

        await self._until(written, self.patience + READY_IN, f"{label!r} of {name}")

    async def parked(self, run_id: str, reason: ParkReason) -> None:
        """Wait until a run is parked for this reason: it is parked for its steps, too."""

        async def waits() -> bool:
            run = (await self._report(run_id)).journal.run
            assert not run.state.terminal, f"run {run_id} is {run.state}: {_error(run)}"
            return run.parked and reason in run.parked_for

        await self._until(waits, self.patience + READY_IN, f"run {run_id} is parked for {reason}")

    async def completes(self, run_id: str, outage: OutageShare, *, after: float = 0.0) -> RunReport:
        """Wait for a run's end: in the time that the adapter declares, and `after` seconds more.

        The time counts from when what was killed is back.
        """
        reports: list[RunReport] = []

        async def ended() -> bool:
            reports[:] = [await self._report(run_id)]
            return reports[0].journal.run.state.terminal

        passed = time.monotonic() - outage.back_at
        within = max(0.0, self.patience + after - passed)
        condition = f"run {run_id} has ended, {self.patience + after:.0f} s after the kill was over"
        await self._until(ended, within, condition)
        run = reports[0].journal.run
        assert run.state is RunStatus.COMPLETED, f"run {run_id} is {run.state}: {_error(run)}"
        return reports[0]

    async def _report(self, run_id: str) -> RunReport:
        return await self.live.orchestrator.status(run_id)

    async def _until(
        self, holds: Callable[[], Awaitable[bool]], seconds: float, condition: str
    ) -> None:
        until = time.monotonic() + seconds
        while not await holds():
            assert time.monotonic() < until, f"not in {seconds:.0f} s: {condition}"
            await asyncio.sleep(0.1)


def _error(run: Run) -> str:
    return "no error" if run.error is None else f"{run.error.name}: {run.error.message}"


@asynccontextmanager
async def staged(
    settings: Mapping[str, str],
    *,
    folder: Path,
    logs: Path,
    port: int,
    processes: Mapping[Victim, Sequence[Process]],
    longer: float,
) -> AsyncIterator[KillStage]:
    """Start a server, a service and workers, in this order, and open the service's run store."""
    ledger = folder / "ledger"
    ledger.mkdir()
    service = Process(
        name="service",
        argv=(
            "env",
            *(f"--unset={name}" for name in VARIABLES),  # the suite's are no settings
            sys.executable,
            "-c",
            "from turnout.cli.main import run; run()",
            "serve",
            "turnout_testing.kills.tasks:service",
            "--port",
            str(port),
        ),
        environ={**settings, tasks.LEDGER: str(ledger), "PYTHONPATH": os.pathsep.join(sys.path)},
        ready_url=f"http://127.0.0.1:{port}/turnout/health",
        ready_in=READY_IN * longer,
    )
    started = {**processes, Victim.SERVICE: (service,)}
    children = {
        victim: [Child(process, logs) for process in started.get(victim, ())]
        for victim in (Victim.SERVER, Victim.SERVICE, Victim.WORKER)
    }
    async with AsyncExitStack() as stack:
        for child in (child for group in children.values() for child in group):
            stack.push_async_callback(child.kill)
            await child.start()
        live = open_turnout(tasks.service, settings=read_settings(settings), serve=False)
        await stack.enter_async_context(live)
        yield KillStage(live=live, folder=ledger, children=children, longer=longer)

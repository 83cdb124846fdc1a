"""What the version before left in flight goes on in this one, each step run once."""

import asyncio
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

# Test modules are imported by path, so what they share is put on the path by hand.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[3] / "tests"))

import triggerdev_in_flight
from previous_version import previous_environ
from triggerdev_in_flight import LEDGER
from triggerdev_stage import Stage, ended, process, until
from turnout_triggerdev.definition import write_definition

from turnout import Event
from turnout.model.status import RunStatus

HERE = Path(__file__).parent
STARTED = ("sleeping", "waiting", "failing")
TRIES = {"sleeping": (1, 1), "waiting": (1, 1), "failing": (2, 1)}
"""How often each run's two steps are tried: the backoff lies between two tries of one."""
STOPPED_IN = 10.0


@pytest.mark.parametrize("worker_stays", [True, False], ids=["worker-stays", "worker-replaced"])
async def test_what_the_version_before_parked_ends_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, worker_stays: bool
) -> None:
    """Asleep, waiting for an event, backing off; with the worker that called it, and with ours."""
    stage = Stage(tmp_path / "stage")
    monkeypatch.setenv(LEDGER, str(stage.folder / "ledger"))
    app = triggerdev_in_flight.app()
    async with stage.server(), _previous_worker(stage) as worker:
        async with _previous_service(stage):
            await until(lambda: _emitted(stage))
            await until(lambda: _parked(stage))
        if not worker_stays:
            await _stop(worker)
        async with stage.service(app) as live, AsyncExitStack() as workers:
            if not worker_stays:
                await workers.enter_async_context(stage.worker(app))
            await live.orchestrator.emit(Event(name="said/yes", payload={"run": "waiting"}))
            reports = {name: await ended(live, name) for name in STARTED}
    for name, report in reports.items():
        assert report.journal.run.state is RunStatus.COMPLETED, report.journal.run
        assert _tries(stage, name) == TRIES[name]
    deliveries = {len(report.deliveries) for report in reports.values()}
    assert deliveries == ({1} if worker_stays else {2})


@asynccontextmanager
async def _previous_worker(stage: Stage) -> AsyncIterator[asyncio.subprocess.Process]:
    definition = write_definition(
        stage.folder / "definition", triggerdev_in_flight.app(), stage.service_url
    )
    argv = ("-m", "turnout_triggerdev.standin", "--definition", str(definition))
    async with process(argv, previous_environ() | stage.environ) as running:
        yield running


@asynccontextmanager
async def _previous_service(stage: Stage) -> AsyncIterator[None]:
    """Run the version before as a service, and stop it well."""
    environ = previous_environ() | stage.environ
    environ["PYTHONPATH"] += f":{HERE}"
    options = ("--factory", "--port", str(stage.service_port), "--log-level", "warning")
    async with process(
        ("-m", "uvicorn", *options, "triggerdev_in_flight:service"), environ
    ) as running:
        yield
        await _stop(running)


async def _stop(running: asyncio.subprocess.Process) -> None:
    running.terminate()
    await asyncio.wait_for(running.wait(), STOPPED_IN)


async def _emitted(stage: Stage) -> Any:
    """Start one run of each task, as soon as the service answers."""
    async with httpx.AsyncClient(base_url=stage.service_url) as client:
        with suppress(httpx.HTTPError):
            answers = [await client.post(f"/emit/{name}") for name in STARTED]
            return all(answer.is_success for answer in answers)
    return False


async def _parked(stage: Stage) -> bool:
    """Whether every run waits at the vendor, on a token that its service knows."""
    with closing(sqlite3.connect(stage.folder / "runs.db")) as store:
        ((waiting,),) = store.execute(
            "SELECT count(*) FROM turnout_deliveries WHERE token IS NOT NULL"
        )
    return bool(waiting == len(STARTED))


def _tries(stage: Stage, run_id: str) -> tuple[int, int]:
    ledger = Counter((stage.folder / "ledger").read_text().splitlines())
    return ledger[f"{run_id} one"], ledger[f"{run_id} two"]

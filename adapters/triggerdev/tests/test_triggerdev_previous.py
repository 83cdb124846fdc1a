"""The version before: what it left in flight goes on here, and its workers serve this one."""

import asyncio
import os
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
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
from triggerdev_visible_app import run_orders, visible_app, waits_for_payment

from turnout import Event, Turnout
from turnout.model.status import RunStatus

HERE = Path(__file__).parent
STARTED = ("sleeping", "waiting", "failing")
TRIES = {"sleeping": (1, 1), "waiting": (1, 1), "failing": (2, 1)}
"""How often each run's two steps are tried: the backoff lies between two tries of one."""
STOPPED_IN = 10.0
REGISTERED_IN = 120.0
Worker = Callable[..., AbstractAsyncContextManager[Any]]


STAND_IN = pytest.param(Stage.worker_process, id="stand-in")
TYPESCRIPT = pytest.param(
    Stage.real_worker_process,
    id="typescript",
    marks=[
        pytest.mark.timeout(240),
        pytest.mark.skipif(
            not os.environ.get("TURNOUT_TRIGGER_CLI"),
            reason="set TURNOUT_TRIGGER_CLI to a folder with the worker's packages",
        ),
    ],
)


@pytest.mark.parametrize("worker", [STAND_IN, TYPESCRIPT])
async def test_what_the_version_before_parked_ends_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker: Worker
) -> None:
    """Asleep, waiting for an event, backing off: the worker stays, as the one in a repository."""
    stage = _stage(tmp_path, monkeypatch)
    app = triggerdev_in_flight.app()
    async with stage.server(), worker(stage, app, previous=previous_environ()):
        await _park(stage)
        async with stage.service(app) as live:
            await _end(stage, live, deliveries=1)


async def test_what_the_version_before_parked_ends_in_todays_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is replaced, too, so that its vendor runs end, and others are started."""
    stage = _stage(tmp_path, monkeypatch)
    app = triggerdev_in_flight.app()
    async with stage.server():
        async with stage.worker_process(app, previous=previous_environ()) as previous:
            await _park(stage)
            await _stop(previous)
        async with stage.service(app) as live, stage.worker(app):
            await _end(stage, live, deliveries=2)


@pytest.mark.parametrize("worker", [STAND_IN, TYPESCRIPT])
async def test_a_worker_of_the_version_before_serves_todays_service(
    tmp_path: Path, worker: Worker
) -> None:
    """Steps, retries, branches, a child, a wait, an end without success, a hook, a cancel."""
    stage, app = Stage(tmp_path / "stage"), visible_app()
    waiting = Event(name="do/order", payload={"order": 8, "customer": "c"}, run_id="order-2")
    async with (
        stage.server(),
        stage.service(app) as live,
        worker(stage, app, previous=previous_environ()),
    ):
        await run_orders(stage, live)
        await live.orchestrator.emit(waiting)
        await until(lambda: waits_for_payment(stage, live, "order-2"))
        await live.orchestrator.emit(Event(name="shop/withdrawn", payload={"order": 8}))
        cancelled = await ended(live, "order-2")
        order = await ended(live, "order-1")
        vendor_run = await stage.vendor_run(cancelled.deliveries[-1].provider_run_id)
    assert cancelled.journal.run.state is RunStatus.CANCELLED
    assert vendor_run["status"] in {"CANCELED", "COMPLETED"}
    tries = {step: len(attempts) for step, attempts in order.journal.attempts.items()}
    assert tries.pop("charge") == 2
    assert set(tries.values()) == {1}


async def test_todays_double_reads_what_the_one_before_left(tmp_path: Path) -> None:
    """A folder of `turnout dev` stays good: its runs and tokens are there again."""
    stage = Stage(tmp_path / "stage")
    token = {"idempotencyKey": "a.1.1", "timeout": "1h", "tags": ["turnout"]}
    async with stage.server_process(previous=previous_environ()):
        run = (await stage.api.post("/api/v1/tasks/any/trigger", json={"payload": {"n": 1}})).json()
        before = (await stage.api.get(f"/api/v3/runs/{run['id']}")).json()
        made = (await stage.api.post("/api/v1/waitpoints/tokens", json=token)).json()
    async with stage.server_process():
        after = (await stage.api.get(f"/api/v3/runs/{run['id']}")).json()
        again = (await stage.api.post("/api/v1/waitpoints/tokens", json=token)).json()
    assert (after, after["payload"]) == (before, {"n": 1})
    assert again["id"] == made["id"]


def _stage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage(folder / "stage")
    monkeypatch.setenv(LEDGER, str(stage.folder / "ledger"))
    return stage


async def _park(stage: Stage) -> None:
    """Run the version before as a service, until its runs are parked; then stop it."""
    async with _previous_service(stage):
        await until(lambda: _emitted(stage), REGISTERED_IN)
        await until(lambda: _parked(stage), REGISTERED_IN)


async def _end(stage: Stage, live: Turnout, *, deliveries: int) -> None:
    """Send what one run waits for, and see all of them end, after these many deliveries."""
    await live.orchestrator.emit(Event(name="said/yes", payload={"run": "waiting"}))
    for name in STARTED:
        report = await ended(live, name)
        assert report.journal.run.state is RunStatus.COMPLETED, report.journal.run
        assert len(report.deliveries) == deliveries
        assert _tries(stage, name) == TRIES[name]


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

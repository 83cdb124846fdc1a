"""Opens any installed provider as a world for the conformance suite.

A vendor's offline server is started as a separate process, unless the environment names a real
server; beside that one a worker is started where the vendor needs one. An adapter without an
offline server is opened with the settings of the environment. The service runs in this process, and
is called over HTTP.
"""

import asyncio
import base64
import contextlib
import itertools
import os
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypedDict

import uvicorn
from turnout_dev.devserver import DevServer, DevSetup, Process, StartsWorkers
from turnout_dev.installed import devserver
from turnout_dev.supervisor import Supervisor, free_port

from turnout import Turnout, open_turnout, read_settings
from turnout.bootstrap.adapters import EMBEDDED
from turnout.errors import InvalidSettings, Unavailable
from turnout.model.tasks import App
from turnout.model.time import Millis
from turnout.ports.caller import DurableCaller, Probes
from turnout.ports.clock import Clock
from turnout.service.clock import SystemClock
from turnout.web.app import asgi
from turnout_testing.clock import TurnableClock
from turnout_testing.conformance.tasks import suite_app
from turnout_testing.conformance.world import Trace, World

REAL_WORKER = "TURNOUT_REAL_WORKER"
"""Set it to have a vendor's own worker run the tasks, where its adapter has one."""
REAL_SLACK: Millis = 30_000
REAL_AT_ONCE = 8
REAL_PATIENCE = 240.0
"""With a real worker: the delay that is allowed, behaviours at a time, and seconds for a run.

A real worker starts a process for each run.
"""
PATIENCE = "TURNOUT_PATIENCE"
"""A factor for all waiting times of the suite, for example 3 on a busy machine."""
MAX_PATIENCE = 20
RESULTS = "TURNOUT_RESULTS"
"""A folder for logs of servers and workers, and for the results of the suite."""
BACKEND = "TURNOUT_BACKEND"
"""The provider that `tests/conformance` opens."""
ONLY = "TURNOUT_ONLY"
"""Names of the behaviours that are tried, separated by commas; unset: all."""
VARIABLES = frozenset({REAL_WORKER, PATIENCE, RESULTS, BACKEND, ONLY})
"""Variables that only the suite reads; they are no settings of a service."""
READY_IN = 60.0
"""Seconds until a provider must know the tasks, and a real server's worker takes runs."""
CLOCK_STEP, CLOCK_INTERVAL = "1s", 0.03
"""A turned clock advances by CLOCK_STEP every CLOCK_INTERVAL real seconds."""


@asynccontextmanager
async def open_backend(
    name: str,
    *,
    environ: Mapping[str, str] | None = None,
    turned: bool = False,
    app: App | None = None,
) -> AsyncIterator[World]:
    """Open a provider with an app, the conformance tasks unless another is given.

    turned: use a fast clock; only embedded providers, which have no server, can.
    Unavailable says why the provider was not ready in time.
    """
    variables = dict(os.environ if environ is None else environ)
    settings = {name: value for name, value in variables.items() if name not in VARIABLES}
    longer = patience(variables)
    clock: Clock = TurnableClock() if turned else SystemClock()
    trace = Trace(clock=clock)
    app = app or suite_app(trace, longer=longer)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="conformance-")))
        port = free_port()
        service_settings = settings_of_service(name, folder, port, settings)
        server = None if name in EMBEDDED else devserver(name)
        if server is not None:
            setup = dev_setup(server, app, folder, service_settings, variables)
            real = server.real(variables)
            processes = await stack.enter_async_context(Supervisor(logs_folder(folder, variables)))
            for process in itertools.chain(*processes_of(server, setup, real)):
                await processes.start(process)
            service_settings |= server.environ(setup) if real is None else real
        live = open_turnout(
            app, settings=read_settings({**settings, **service_settings}), clock=clock
        )
        await stack.enter_async_context(live)
        await stack.enter_async_context(_served(live, port))
        if isinstance(clock, TurnableClock):
            await stack.enter_async_context(_turning(clock))
        await _ready(live, name, READY_IN * longer)
        if name not in EMBEDDED and (server is None or server.real(variables) is not None):
            await _worker_ready(live.callers[name], READY_IN * longer)
        yield World(
            name=name,
            app=app,
            orchestrator=live.orchestrator,
            store=live.store,
            clock=clock,
            caller=live.callers[name],
            worker=live.worker,
            trace=trace,
            embedded=name in EMBEDDED,
            **_pace(real_worker=bool(variables.get(REAL_WORKER)), longer=longer),
        )


class BackendPace(TypedDict):
    """How long a backend may take, and how many behaviours are tried at the same time."""

    slack: Millis
    patience: float
    at_once: int
    longer: float


def _pace(*, real_worker: bool, longer: float) -> BackendPace:
    """Choose the pace: with a real worker or on a busy machine, longer times and fewer at once."""
    slack = REAL_SLACK if real_worker else World.slack
    seconds = REAL_PATIENCE if real_worker else World.patience
    at_once = REAL_AT_ONCE if real_worker else World.at_once
    return BackendPace(
        slack=round(slack * longer),
        patience=seconds * longer,
        at_once=max(1, round(at_once / longer)),
        longer=longer,
    )


def patience(environ: Mapping[str, str]) -> float:
    """Read the factor of waiting times, 1 by default. Raises InvalidSettings."""
    text = environ.get(PATIENCE) or "1"
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 1 <= factor <= MAX_PATIENCE:
        raise InvalidSettings(f"{PATIENCE} is a number from 1 to {MAX_PATIENCE}, not {text!r}")
    return factor


def conditions(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the conditions of a result: whether a real worker ran, and the factor of times."""
    return {"real_worker": bool(environ.get(REAL_WORKER)), "patience": patience(environ)}


def new_key() -> str:
    """Make a signing key."""
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


def settings_of_service(
    name: str, folder: Path, port: int, environ: Mapping[str, str]
) -> dict[str, str]:
    """Give the settings of a service on a provider that keeps all it has in a folder."""
    return {
        "ORCHESTRATOR_PROVIDER": name,
        "TURNOUT_DATABASE_URL": f"sqlite:///{folder}/run-store.db",
        "TURNOUT_ARTIFACTS": str(folder / "artifacts"),
        "TURNOUT_SERVICE_URL": f"http://127.0.0.1:{port}",
        "TURNOUT_SIGNING_KEYS": environ.get("TURNOUT_SIGNING_KEYS") or new_key(),
    }


def dev_setup(
    server: DevServer,
    app: App,
    folder: Path,
    service_settings: Mapping[str, str],
    environ: Mapping[str, str],
) -> DevSetup:
    """Say where an offline server runs for a service, and make the folder of its state."""
    setup = DevSetup(
        port=free_port(),
        data=folder / server.name,
        app=app,
        service_url=service_settings["TURNOUT_SERVICE_URL"],
        signing_key=service_settings["TURNOUT_SIGNING_KEYS"].partition(",")[0],
        real_worker=bool(environ.get(REAL_WORKER)),
    )
    setup.data.mkdir(parents=True, exist_ok=True)
    return setup


def processes_of(
    server: DevServer, setup: DevSetup, real: Mapping[str, str] | None
) -> tuple[Sequence[Process], Sequence[Process]]:
    """List the offline server, nothing where a real one is named; and the workers beside either."""
    if real is None:
        started = server.processes(setup)
        return started[:1], started[1:]
    return (), server.workers(setup, real) if isinstance(server, StartsWorkers) else ()


def logs_folder(folder: Path, environ: Mapping[str, str]) -> Path:
    """Return where servers and workers log to."""
    return Path(environ.get(RESULTS) or folder) / "logs"


@asynccontextmanager
async def _served(live: Turnout, port: int) -> AsyncIterator[None]:
    """Serve the endpoints of a service that has been started, in this process.

    The server does not run its lifespan: a server that stops at once would not end it properly.
    """
    config = uvicorn.Config(asgi(live), port=port, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving = asyncio.create_task(server.serve())
    try:
        while not server.started:
            if serving.done():
                await serving
            await asyncio.sleep(0.02)
        yield
    finally:
        server.should_exit = True
        server.force_exit = True
        await asyncio.gather(serving, return_exceptions=True)


@asynccontextmanager
async def _turning(clock: TurnableClock) -> AsyncIterator[None]:
    async def turn() -> None:
        while True:
            await asyncio.sleep(CLOCK_INTERVAL)
            await clock.advance(CLOCK_STEP)

    turning = asyncio.create_task(turn())
    try:
        yield
    finally:
        turning.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await turning


async def _ready(live: Turnout, name: str, seconds: float) -> None:
    """Wait until the provider knows the tasks."""
    until = time.monotonic() + seconds
    while not live.registrar.ready(name):
        if time.monotonic() > until:
            raise Unavailable(f"{name} is not ready: {live.registrar.problems.get(name)}")
        await asyncio.sleep(0.05)


async def _worker_ready(caller: DurableCaller, seconds: float) -> None:
    """Wait until our worker takes runs: a real server may know the tasks from an earlier worker."""
    if not isinstance(caller, Probes):
        return
    until = time.monotonic() + seconds
    while faults := [finding.text for finding in await caller.probe(seconds) if not finding.ok]:
        if time.monotonic() > until:
            raise Unavailable(f"the worker takes no runs: {'; '.join(faults)}")
        await asyncio.sleep(1.0)

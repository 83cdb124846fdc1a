"""Opens any installed provider as a world for the conformance suite.

A vendor's is its offline server, started as a separate process, unless the environment names a
real one; the service runs in this process and is called over HTTP.
"""

import asyncio
import base64
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import entry_points
from pathlib import Path

import uvicorn

from turnout.bootstrap import open_turnout, read_settings
from turnout.bootstrap.adapters import EMBEDDED
from turnout.bootstrap.live import Turnout
from turnout.conformance.tasks import Tasks
from turnout.conformance.world import Trace, World
from turnout.errors import UnknownProvider
from turnout.local.clock import SystemClock
from turnout.local.processes import Supervisor, free_port
from turnout.model.tasks import App
from turnout.model.time import Millis
from turnout.ports.clock import Clock
from turnout.ports.devserver import DevServer, DevSetup
from turnout.testing.clock import TurnableClock
from turnout.web.app import asgi

GROUP = "turnout.devservers"
REAL_WORKER = "TURNOUT_REAL_WORKER"
"""Set it to have a vendor's own worker run the tasks, where its adapter has one."""
REAL_SLACK: Millis = 30_000
REAL_TOGETHER = 8
REAL_PATIENCE = 240.0
"""What a real worker may be late by, behaviours at a time, and seconds for a run: it starts a
process for each."""
TURN, EVERY = "1s", 0.03
"""A turned clock goes on by so much, every so many real seconds."""


@asynccontextmanager
async def open_backend(
    name: str,
    *,
    environ: Mapping[str, str] | None = None,
    turned: bool = False,
    app: App | None = None,
) -> AsyncIterator[World]:
    """Open a provider with an app, the conformance tasks unless another is given.

    A turned clock only where it is our own.
    """
    clock: Clock = TurnableClock() if turned else SystemClock()
    trace = Trace(clock=clock)
    app = app or Tasks(trace).app()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="conformance-")))
        port = free_port()
        setting = {
            "ORCHESTRATOR_PROVIDER": name,
            "TURNOUT_DATABASE_URL": f"sqlite:///{folder}/run-store.db",
            "TURNOUT_ARTIFACTS": str(folder / "artifacts"),
            "TURNOUT_SERVICE_URL": f"http://127.0.0.1:{port}",
            "TURNOUT_SIGNING_KEYS": "whsec_" + base64.b64encode(os.urandom(32)).decode(),
        }
        given = dict(os.environ if environ is None else environ)
        server = None if name in EMBEDDED else devserver(name)
        if server is not None:
            setup = DevSetup(
                port=free_port(),
                data=folder / name,
                app=app,
                service_url=setting["TURNOUT_SERVICE_URL"],
                signing_key=setting["TURNOUT_SIGNING_KEYS"],
                real_worker=bool(given.get(REAL_WORKER)),
            )
            setting |= await _provided(stack, server, setup, given)
        live = open_turnout(app, settings=read_settings({**given, **setting}), clock=clock)
        await stack.enter_async_context(live)
        await stack.enter_async_context(_served(live, port))
        if isinstance(clock, TurnableClock):
            await stack.enter_async_context(_turning(clock))
        await _ready(live, name)
        yield World(
            name=name,
            app=app,
            orchestrator=live.orchestrator,
            store=live.store,
            clock=clock,
            caller=live.callers[name],
            worker=live.worker,
            trace=trace,
            embedded=server is None,
            slack=REAL_SLACK if given.get(REAL_WORKER) else World.slack,
            patience=REAL_PATIENCE if given.get(REAL_WORKER) else World.patience,
            together=REAL_TOGETHER if given.get(REAL_WORKER) else World.together,
        )


def devserver(name: str) -> DevServer:
    """Load the offline server of a provider."""
    for each in entry_points(group=GROUP):
        if each.name == name:
            found: DevServer = each.load()()
            return found
    raise UnknownProvider(f"no installed adapter brings an offline server for {name!r}")


async def _provided(
    stack: AsyncExitStack, server: DevServer, setup: DevSetup, environ: Mapping[str, str]
) -> Mapping[str, str]:
    """Start the offline server and its worker, or take the real one that is named."""
    real = server.real(environ)
    if real is not None:
        return real
    setup.data.mkdir(parents=True, exist_ok=True)
    processes = await stack.enter_async_context(Supervisor(setup.data / "logs"))
    for process in server.processes(setup):
        await processes.start(process)
    return server.environ(setup)


@asynccontextmanager
async def _served(live: Turnout, port: int) -> AsyncIterator[None]:
    """Serve the endpoints of a service that has been started, in this process.

    Its lifespan is not the server's: one that is told to leave its connections leaves that, too.
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
            await asyncio.sleep(EVERY)
            await clock.advance(TURN)

    turning = asyncio.create_task(turn())
    try:
        yield
    finally:
        turning.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await turning


async def _ready(live: Turnout, name: str) -> None:
    """Wait until the provider knows the tasks."""
    for _ in range(1_200):
        if live.registrar.ready(name):
            return
        await asyncio.sleep(0.05)
    raise UnknownProvider(f"{name} is not ready: {live.registrar.problems.get(name)}")

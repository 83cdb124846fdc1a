"""The offline server, a service of Turnout's and a worker, on sockets, and what its steps did."""

import asyncio
import base64
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from triggerdev_faults import Broken
from turnout_dev.supervisor import die_with_parent
from turnout_triggerdev.definition import write_definition
from turnout_triggerdev.plugin import plugin
from turnout_triggerdev_double.server.app import build
from turnout_triggerdev_double.server.main import (
    ACCESS_TOKEN,
    CONCURRENCY,
    KEYS,
    PROJECT_REF,
    new_world,
)
from turnout_triggerdev_double.server.rates import TokenBuckets, rate
from turnout_triggerdev_double.server.world import OfflineWorld
from turnout_triggerdev_double.standin.definition import read_definition
from turnout_triggerdev_double.standin.runner import StandInRunner
from turnout_triggerdev_double.standin.settings import StandInSettings

import turnout
from turnout import App, Context, Event, Retries, Task, Turnout, task
from turnout.model.reports import RunReport
from turnout.model.status import RunStatus
from turnout.ports.caller import DurableCaller, Surroundings
from turnout.service.clock import SystemClock

SIGNING_KEY = "whsec_" + base64.b64encode(b"f" * 32).decode()
PATIENCE = 60.0
Look = Callable[[], Awaitable[Any]]


class Ledger:
    """How often each step's body ran, by run, and what bodies wait for."""

    def __init__(self) -> None:
        self.tried: Counter[tuple[str, str]] = Counter()
        self.go_on = asyncio.Event()

    def mark(self, run_id: str, step: str) -> str:
        """Note it."""
        self.tried[run_id, step] += 1
        return step

    async def hold(self, run_id: str, step: str) -> str:
        """Note it, and go on when the test says so."""
        self.mark(run_id, step)
        await self.go_on.wait()
        return step

    def of(self, run_id: str) -> dict[str, int]:
        """How often each step of a run was tried."""
        return {step: times for (run, step), times in self.tried.items() if run == run_id}


def plain(ledger: Ledger, name: str) -> Task:
    """Three steps in turn."""

    async def body(ctx: Context, payload: Any) -> str:
        for step in ("one", "two"):
            await ctx.step(step, ledger.mark, ctx.run_id, step)
        return await ctx.step("three", ledger.mark, ctx.run_id, "three")

    return task(name, on=f"do/{name}")(body)


def waiting(ledger: Ledger, name: str) -> Task:
    """A step, a wait for an event, a step."""

    async def body(ctx: Context, payload: Any) -> str:
        await ctx.step("one", ledger.mark, ctx.run_id, "one")
        await ctx.wait_for_event("said/yes", match={"payload.run": ctx.run_id}, timeout="1h")
        return await ctx.step("two", ledger.mark, ctx.run_id, "two")

    return task(name, on=f"do/{name}")(body)


def held(ledger: Ledger, name: str) -> Task:
    """A step, one that goes on when the test says so, a step."""

    async def body(ctx: Context, payload: Any) -> str:
        await ctx.step("one", ledger.mark, ctx.run_id, "one")
        await ctx.step("held", ledger.hold, ctx.run_id, "held")
        return await ctx.step("two", ledger.mark, ctx.run_id, "two")

    return task(name, on=f"do/{name}")(body)


def large(ledger: Ledger, name: str) -> Task:
    """A step's output of so many bytes, which is the result, too."""

    async def grown(run_id: str, size: int) -> str:
        ledger.mark(run_id, "large")
        return "x" * size

    async def body(ctx: Context, payload: dict[str, Any]) -> str:
        found = await ctx.step("large", grown, ctx.run_id, payload["bytes"])
        await ctx.step("after", ledger.mark, ctx.run_id, "after")
        return found

    return task(name, on=f"do/{name}", retries=Retries(max_attempts=2, min_delay="50ms"))(body)


class Stage:
    """Where the three are; each is started and ended by the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.port, self.service_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.service_url = f"http://127.0.0.1:{self.service_port}"
        self.ledger = Ledger()
        self.server_side = Broken(app=None)
        self.service_side = Broken(app=None)
        headers = {"authorization": f"Bearer {KEYS['dev']}", "x-trigger-api-version": "2025-07-16"}
        self.api = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=20)

    @property
    def environ(self) -> dict[str, str]:
        """What the service is opened with."""
        return {
            "ORCHESTRATOR_PROVIDER": "triggerdev",
            "TRIGGER_API_URL": self.url,
            "TRIGGER_SECRET_KEY": KEYS["dev"],
            "TRIGGER_ACCESS_TOKEN": ACCESS_TOKEN,
            "TRIGGER_PROJECT_REF": PROJECT_REF,
            "TURNOUT_SERVICE_URL": self.service_url,
            "TURNOUT_SIGNING_KEYS": SIGNING_KEY,
            "TURNOUT_DATABASE_URL": f"sqlite:///{self.folder}/runs.db",
            "TURNOUT_ARTIFACTS": str(self.folder / "artifacts"),
            "TURNOUT_LEASE": "2s",
        }

    def app(self, *tasks: Task) -> App:
        """An app of these tasks."""
        return turnout.app("faults", *tasks)

    @asynccontextmanager
    async def server(self, *, slots: int = CONCURRENCY) -> AsyncIterator[OfflineWorld]:
        """The offline server in this process, which executes so many runs at once."""
        world = new_world(url=self.url, data=self.folder / "server", concurrency=slots)
        self.server_side.app = build(world, TokenBuckets(rate("off")))
        async with serving(self.server_side, self.port, world.stop):
            yield world
        await self.api.aclose()

    @asynccontextmanager
    async def server_process(
        self, *, previous: Mapping[str, str] | None = None
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """The offline server as a process that may be killed.

        previous: the environment of the version before, to be run in place of today's.
        """
        module = "turnout_triggerdev.devserver" if previous else f"{_package(None)}.server"
        argv = ("-m", module, "--port", str(self.port), "--data", str(self.folder / "server"))
        async with process(argv, previous) as running:
            await until(self._answers)
            yield running

    @asynccontextmanager
    async def service(self, app: App, **settings: str) -> AsyncIterator[Turnout]:
        """The service in this process, with these settings more."""
        live = turnout.open_turnout(app, {**self.environ, **settings})
        self.service_side.app = turnout.asgi(live)
        async with serving(self.service_side, self.service_port):
            yield live

    @asynccontextmanager
    async def worker(self, app: App) -> AsyncIterator[None]:
        """The stand-in in this process."""
        definition = read_definition(
            write_definition(self.folder / "worker", app, self.service_url)
        )
        settings = StandInSettings(
            definition=self.folder,
            api_url=self.url,
            secret_key=KEYS["dev"],
            signing_keys=(SIGNING_KEY,),
            project=PROJECT_REF,
        )
        stop = asyncio.Event()
        working = asyncio.create_task(StandInRunner(definition, settings).run(stop))
        try:
            yield
        finally:
            stop.set()
            await working

    @asynccontextmanager
    async def worker_process(
        self, app: App, *, previous: Mapping[str, str] | None = None
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """The stand-in as a process that may be killed.

        previous: the environment of the version before, to be run in place of today's.
        """
        definition = write_definition(self.folder / app.definition[:8], app, self.service_url)
        argv = ("-m", f"{_package(previous)}.standin", "--definition", str(definition))
        async with process(argv, {**(previous or {}), **self.environ}) as running:
            yield running

    @asynccontextmanager
    async def real_worker_process(
        self, app: App, *, previous: Mapping[str, str] | None = None
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """The TypeScript worker, run by the vendor's CLI, as a process that is stopped well.

        previous: the environment of the version before, to be run in place of today's.
        """
        definition = write_definition(self.folder / "definition", app, self.service_url)
        options = ("--folder", str(self.folder / "worker"), "--definition", str(definition))
        argv = ("-m", f"{_package(previous)}.nodeworker", *options)
        async with process(argv, {**(previous or {}), **self.environ}) as running:
            yield running
            running.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(running.wait(), 10)

    async def ready(self, live: Turnout) -> None:
        """Return once the server knows the service's tasks."""

        async def look() -> Any:
            return live.registrar.ready("triggerdev")

        await until(look)

    async def vendor_run(self, provider_run_id: str | None) -> dict[str, Any]:
        """A vendor run, once it has ended."""

        async def look() -> Any:
            seen = (await self.api.get(f"/api/v3/runs/{provider_run_id}")).json()
            return seen if "finishedAt" in seen else None

        found: dict[str, Any] = await until(look)
        return found

    async def _answers(self) -> Any:
        with suppress(httpx.HTTPError):
            return (await self.api.get("/double/health")).status_code == 200
        return None


def _package(previous: Mapping[str, str] | None) -> str:
    """Name what holds the workers: the version before had them in the adapter."""
    return "turnout_triggerdev_double" if previous is None else "turnout_triggerdev"


@asynccontextmanager
async def ready_caller(stage: Stage) -> AsyncIterator[DurableCaller]:
    """The adapter alone, at the stage's server, with the tasks of a worker registered."""
    app = stage.app(plain(stage.ledger, "plain"))
    surroundings = Surroundings(
        settings=stage.environ,
        app=app,
        worker=None,  # type: ignore[arg-type]
        clock=SystemClock(),
    )
    caller = plugin.open(surroundings)
    async with stage.worker(app):

        async def defined() -> Any:
            return await caller.defined()

        await until(defined)
        try:
            yield caller
        finally:
            await caller.close()


async def start(live: Turnout, name: str, **payload: Any) -> str:
    """Emit; the id of the run that it starts."""
    (emitted,) = await live.orchestrator.emit(Event(name=f"do/{name}", payload=payload))
    return str(emitted.runs[0].run_id)


async def say_yes(live: Turnout, run_id: str) -> None:
    """Emit what a run waits for, once it does."""

    async def look() -> Any:
        return "event" in (await live.orchestrator.status(run_id)).journal.run.parked_for

    await until(look)
    await live.orchestrator.emit(Event(name="said/yes", payload={"run": run_id}))


async def ended(live: Turnout, run_id: str) -> RunReport:
    """The report of a run that has ended."""

    async def look() -> Any:
        report = await live.orchestrator.status(run_id)
        return report if report.journal.run.state.terminal else None

    found: RunReport = await until(look)
    return found


async def completes(stage: Stage, live: Turnout, run_id: str) -> RunReport:
    """The run ends well, each of its steps after one try."""
    report = await ended(live, run_id)
    assert report.journal.run.state is RunStatus.COMPLETED, report.journal.run
    assert {len(tries) for tries in report.journal.attempts.values()} == {1}
    assert set(stage.ledger.of(run_id).values()) == {1}, stage.ledger.of(run_id)
    return report


async def vendor_ends(stage: Stage, report: RunReport) -> list[tuple[str, int]]:
    """How each delivery's vendor run ended, and after how many attempts of the vendor's."""
    found = []
    for delivery in report.deliveries:
        seen = await stage.vendor_run(delivery.provider_run_id)
        found.append((str(seen["status"]), int(seen["attemptCount"])))
    return found


async def until(look: Look, seconds: float = PATIENCE) -> Any:
    """What `look` finds, as soon as it finds something."""
    async with asyncio.timeout(seconds):
        while not (found := await look()):
            await asyncio.sleep(0.03)
    return found


@asynccontextmanager
async def serving(
    app: Any, port: int, stop: Callable[[], None] = lambda: None
) -> AsyncIterator[None]:
    """Serve an application on a port of loopback; answers that break off are logged nowhere."""
    config = uvicorn.Config(app, port=port, log_level="critical", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    while not server.started:
        assert not task.done(), task.exception()
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        stop()
        server.should_exit = True
        await task


@asynccontextmanager
async def process(
    argv: Sequence[str], environ: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python process that ends with the block."""
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        *argv,
        env={**os.environ, **(environ or {})},
        preexec_fn=die_with_parent,
    )
    try:
        yield running
    finally:
        await kill(running)


async def kill(running: asyncio.subprocess.Process) -> None:
    """End a process without a word."""
    if running.returncode is None:
        running.send_signal(signal.SIGKILL)
        await running.wait()


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])

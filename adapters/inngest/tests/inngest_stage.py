"""The offline server as a process, a service of Turnout's on a socket, and the runs between."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from inngest_lab import free_port, serving
from turnout_inngest_double.main import devserver

import turnout
from turnout import App, Event, Turnout
from turnout.model.reports import RunReport
from turnout.model.status import RunStatus
from turnout.model.time import Millis
from turnout.ports.clock import Clock
from turnout.service.clock import SystemClock


class ShiftedClock(SystemClock):
    """The machine's clock, turned forward along with the server's."""

    ahead: Millis = 0

    def now(self) -> Millis:
        """Tell the time."""
        return super().now() + self.ahead


class Stage:
    """Where the two sides are, and what starts and stops them.

    The server is the double, unless TURNOUT_INNGEST_URL names a real one (with keys, if it has
    any); that one is started and killed by the commands that TURNOUT_INNGEST_UP and _DOWN name, if
    any, with the keys of TURNOUT_INNGEST_OPTIONS; its time goes on by itself.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.real = devserver().real(os.environ)
        self.port, self.service_port = free_port(), free_port()
        self.url = (
            os.environ["TURNOUT_INNGEST_URL"] if self.real else f"http://127.0.0.1:{self.port}"
        )
        key = self.real and self.real.get("INNGEST_SIGNING_KEY")
        headers = {"authorization": f"Bearer {key}"} if key else None
        self.api = httpx.AsyncClient(base_url=self.url, timeout=10, headers=headers)
        self.options: tuple[str, ...] = ("--retry-interval", "1", "--test-clock")
        self._server: asyncio.subprocess.Process | None = None

    @property
    def environ(self) -> dict[str, str]:
        return {
            "ORCHESTRATOR_PROVIDER": "inngest",
            **({"INNGEST_DEV": self.url} if self.real is None else self.real),
            "TURNOUT_SERVICE_URL": f"http://127.0.0.1:{self.service_port}",
            "TURNOUT_DATABASE_URL": f"sqlite:///{self.folder}/runs.db",
            "TURNOUT_ARTIFACTS": str(self.folder / "artifacts"),
            "TURNOUT_LEASE": "2s",
        }

    async def start_server(self) -> None:
        """Start the offline server, and wait until it answers."""
        if self.real is not None:
            if "--signing-key" in self.options:
                await self.kill_server()
            await self._told("TURNOUT_INNGEST_UP")
            return
        self._server = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "turnout_inngest_double", "--port", str(self.port)),
            *("--data", str(self.folder / "server"), *self.options),
        )
        await until(self._answers)

    async def kill_server(self) -> None:
        """End it without a word."""
        if self.real is not None and not await self._told("TURNOUT_INNGEST_DOWN"):
            pytest.skip("TURNOUT_INNGEST_DOWN, and _UP, are not set: commands of the real server")
        await kill(self._server)

    async def make_forget(self) -> None:
        """Have a killed real server lose its queue, and know its runs."""
        if self.real is None or not await self._told("TURNOUT_INNGEST_FORGET"):
            pytest.skip("TURNOUT_INNGEST_FORGET is not set: a command that empties its queue")

    @contextlib.asynccontextmanager
    async def server(self) -> AsyncIterator[None]:
        await self.start_server()
        try:
            yield
        finally:
            await kill(self._server)
            await self._keep_keys()
            await self.api.aclose()

    async def start_service(self, **environ: str) -> asyncio.subprocess.Process:
        """Serve the tasks from a process of its own."""
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "uvicorn", "--factory", "inngest_tasks:service"),
            *("--port", str(self.service_port), "--log-level", "error"),
            *("--timeout-graceful-shutdown", "1"),
            cwd=Path(__file__).parent,
            env={**os.environ, **self.environ, **environ},
        )

    @contextlib.asynccontextmanager
    async def service(
        self, app: App, *, clock: Clock | None = None, **environ: str
    ) -> AsyncIterator[Turnout]:
        """Serve an app from this process, and wait until the server knows it."""
        live = turnout.open_turnout(app, {**self.environ, **environ}, clock=clock)
        async with serving(turnout.asgi(live), self.service_port):
            await until(lambda: _ready(live))
            yield live

    async def advance(self, ms: int) -> None:
        """Time passes for the server."""
        if self.real is not None:
            pytest.skip("needs a clock that can be turned")
        answer = await self.api.post("/test/clock", json={"advance_ms": ms})
        assert answer.status_code == 200

    async def trace(self, report: RunReport) -> list[str]:
        """The names of a run's vendor steps, each once, in order."""
        run_id = report.deliveries[-1].provider_run_id
        answer = await self.api.get(f"/v2/runs/{run_id}/trace")
        spans = answer.json()["data"]["rootSpan"]["children"]
        return list(dict.fromkeys(span["name"] for span in spans if span.get("stepId")))

    async def _keep_keys(self) -> None:
        """Leave a real server with the keys that the environment names."""
        if self.real is not None and "--signing-key" in self.options:
            self.options = ()
            await self._told("TURNOUT_INNGEST_DOWN")
            await self._told("TURNOUT_INNGEST_UP")

    async def _told(self, name: str) -> bool:
        """Run a command that the environment names, and wait until it is done."""
        command = os.environ.get(name)
        if command:
            environ = {**os.environ, "TURNOUT_INNGEST_OPTIONS": " ".join(self.options)}
            made = await asyncio.create_subprocess_exec(command, env=environ)
            assert await made.wait() == 0, command
        return bool(command)

    async def _answers(self) -> bool | None:
        with contextlib.suppress(httpx.HTTPError):
            return (await self.api.get("/health")).status_code == 200 or None
        return None


async def kill(process: asyncio.subprocess.Process | None) -> None:
    """End a process without a word."""
    if process is not None and process.returncode is None:
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()


async def stop(process: asyncio.subprocess.Process) -> None:
    """End it as a deployment does."""
    process.terminate()
    async with asyncio.timeout(90):
        await process.wait()


async def start(live: Turnout, name: str, payload: Any = None) -> str:
    """Emit; the id of the run that it starts."""
    (emitted,) = await live.orchestrator.emit(Event(name=name, payload=payload or {}))
    return str(emitted.runs[0].run_id)


async def ended(live: Turnout, run_id: str, seconds: float = 80) -> RunReport:
    """The report of a run, once it has ended and its vendor run with it."""

    async def look() -> RunReport | None:
        report = await live.orchestrator.status(run_id)
        if not report.journal.run.state.terminal:
            return None
        report = await live.orchestrator.status(run_id, look=True)
        seen = report.sighting
        return report if seen is not None and seen.state in _ENDS else None

    return await until(look, seconds)


async def until(look: Callable[[], Awaitable[Any]], seconds: float = 80) -> Any:
    """What `look` finds, as soon as it finds something."""
    async with asyncio.timeout(seconds):
        while (found := await look()) is None:
            await asyncio.sleep(0.03)
    return found


async def _ready(live: Turnout) -> bool | None:
    return live.registrar.ready("inngest") or None


_ENDS = {None, *(each for each in RunStatus if each.terminal)}

"""Many parked runs, and a service that is cut off for a minute: what that costs the server."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import inngest
import orjson
import pytest
from inngest_lab import Lab, free_port, serving
from inngest_stage import ShiftedClock, until
from turnout_inngest_double.app import create_app
from turnout_inngest_double.engine import Engine
from turnout_inngest_double.matching import Matching
from turnout_inngest_double.options import Options

import turnout
from turnout import App, Context, Event, Turnout, task

PARKED = 2_000
SECOND, MINUTE = 1_000, 60_000
LONGEST = 15 * MINUTE


@task("sleeps", on="storm/sleeps")
async def sleeps(ctx: Context, payload: Any) -> None:
    """Sleep until some moment of the outage."""
    await ctx.sleep("nap", "1h")


@task("waits", on="storm/waits")
async def waits(ctx: Context, payload: Any) -> None:
    """Wait for the event that comes in the outage."""
    await ctx.wait_for_event("storm/word", id="word", timeout="1h")


class Storm:
    """The server, the service and another app, in this process, on clocks that go fast."""

    def __init__(self, options: Options, folder: Path) -> None:
        self.lab = Lab(options)
        self.clock = ShiftedClock()
        self.port = free_port()
        self._server = create_app(options)
        self.live: Turnout = turnout.open_turnout(
            App(name="storm", tasks=(sleeps, waits)),
            {
                "ORCHESTRATOR_PROVIDER": "inngest",
                "INNGEST_DEV": self.lab.url,
                "TURNOUT_SERVICE_URL": f"http://127.0.0.1:{self.port}",
                "TURNOUT_DATABASE_URL": f"sqlite:///{folder}/runs.db",
                "TURNOUT_ARTIFACTS": "none",
            },
            clock=self.clock,
        )

    @property
    def engine(self) -> Engine:
        """The server without its API."""
        engine: Engine = self._server.state.engine
        return engine

    @contextlib.asynccontextmanager
    async def started(self) -> AsyncIterator[None]:
        """Start the server, the other app and the service, whose endpoint stays closed."""
        async with serving(self._server, self.lab.options.port), self.lab.application(), self.live:
            yield
        await self.lab.api.aclose()

    @contextlib.asynccontextmanager
    async def reachable(self) -> AsyncIterator[None]:
        """Listen for the server's calls."""
        async with serving(_without_lifespan(turnout.asgi(self.live)), self.port):
            yield

    async def pass_until(self, done: Callable[[], bool]) -> None:
        """Let time pass for all, second by second, until something holds.

        No time passes while calls are under way: how fast this machine is must not count.
        """
        for _ in range(LONGEST // SECOND):
            if done():
                return
            self.skip(SECOND)
            await asyncio.sleep(0.05)
            await until(self._is_quiet, 240)
        assert done(), f"not within {LONGEST} ms"

    async def _is_quiet(self) -> bool | None:
        jobs = (job for run in self.engine.world.runs.values() for job in run.jobs.values())
        await asyncio.sleep(0.02)
        return not any(job.running for job in jobs) or None

    def skip(self, duration: int) -> None:
        """Let time pass for all at once."""
        self.clock.ahead += duration
        self.engine.clock.advance(duration)
        self.engine.scheduler.recheck()

    def until_sleeps_end(self) -> int:
        """Return how long the first sleep still takes."""
        waits = [wait for run in self.engine.world.runs.values() for wait in run.waits.values()]
        return min(wait.at for wait in waits if wait.kind == "sleep") - self.engine.clock.now()

    def vendor_runs(self, status: str) -> int:
        """Count the service's runs at the server that have a status."""
        runs = self.engine.world.runs.values()
        return sum(run.status == status and run.function.startswith("storm-") for run in runs)

    def wakes(self) -> Counter[str]:
        """Count the events that woke runs, by run."""
        events = self.engine.world.events.values()
        return Counter(
            str(orjson.loads(event.payload)["data"]["run_id"])
            for event in events
            if event.name.startswith("turnout/wake.")
        )


def _without_lifespan(application: Any) -> Any:
    """Serve requests alone: the service has been started, and goes on when its endpoint closes."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await application(scope, receive, send)

    return serve


@pytest.mark.timeout(300)
async def test_parked_runs_outlast_a_minute_without_the_service(
    options: Options, tmp_path: Path
) -> None:
    """Two wakes a run at most, none to a sleep; all end once; another app's runs go on."""
    storm = Storm(replace(options, workers=32), tmp_path)

    @storm.lab.function("beside")
    async def beside(ctx: inngest.Context) -> str:
        return "done"

    async with storm.started():
        async with storm.reachable():
            await until(lambda: _ready(storm.live))
            for name in ("storm/sleeps", "storm/waits"):
                await storm.live.orchestrator.emit(
                    *(Event(name=name, payload={}) for _ in range(PARKED // 2))
                )
            await until(lambda: _all_wait(storm), 240)
            storm.skip(storm.until_sleeps_end() - MINUTE // 2)
        before = storm.engine.world.matching.comparisons
        await storm.live.orchestrator.emit(Event(name="storm/word"))
        ids = []
        for _ in range(60):
            ids.append(await storm.lab.emit("lab/beside"))
            storm.skip(SECOND)
            await asyncio.sleep(0.05)
        for event_id in ids:
            await storm.lab.run_in(event_id, "COMPLETED")
        async with storm.reachable():
            await storm.pass_until(lambda: storm.vendor_runs("COMPLETED") == PARKED)
        comparisons = storm.engine.world.matching.comparisons - before
        wakes = storm.wakes()
    assert len(wakes) == PARKED // 2, "a sleep gets none"
    assert max(wakes.values()) <= 2
    assert comparisons < 10 * sum(wakes.values()), "a wake is compared with few waits"
    assert storm.vendor_runs("FAILED") == 0


async def _ready(live: Turnout) -> bool | None:
    return live.registrar.ready("inngest") or None


async def _all_wait(storm: Storm) -> bool | None:
    waiting = sum(len(run.waits) for run in storm.engine.world.runs.values())
    await asyncio.sleep(0.1)
    return waiting == PARKED or None


async def test_comparisons_hold_up_the_calls_of_all_apps(options: Options) -> None:
    """As on the vendor's server: an event that is compared with many waits costs it time."""
    matching = Matching(cost_s=0.001)
    loop = asyncio.get_running_loop()
    matching.compare(50)
    began = loop.time()
    await matching.done()
    assert loop.time() - began >= 0.045
    assert matching.comparisons == 50

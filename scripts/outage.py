"""Many parked runs, a service that is cut off for a while, and another app on the same server.

The service's endpoint is closed, so that the server cannot call it; its pump goes on. Figures are
in real time, of this machine as busy as it is.
"""

import argparse
import asyncio
import base64
import json
import logging
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from turnout_dev.devserver import DevSetup, StartsWorkers
from turnout_dev.installed import devserver
from turnout_dev.supervisor import Supervisor, free_port

from turnout import App, Context, Event, Turnout, open_turnout, task
from turnout.model.runs import RunFilter, Wake
from turnout.web.app import asgi

PARKED_IN = 300
"""Seconds until all runs must wait."""
STILL = 30.0
"""A run of the other app that takes longer, in seconds, has stood still."""

bodies: Counter[str] = Counter()
"""How often each run's body ran."""


async def count(who: str) -> None:
    """Be a step's body."""
    bodies[who] += 1


@task("sleeps", on="outage/sleeps")
async def sleeps(ctx: Context, payload: dict[str, Any]) -> None:
    """Sleep until some moment of the outage."""
    await ctx.sleep("nap", f"{payload['seconds']}s")
    await ctx.step("after", count, payload["who"])


@task("waits", on="outage/waits")
async def waits(ctx: Context, payload: dict[str, Any]) -> None:
    """Wait for the event that comes in the outage."""
    await ctx.wait_for_event("outage/word", id="word", timeout="1h")
    await ctx.step("after", count, payload["who"])


@task("neighbour", on="outage/neighbour")
async def neighbour(ctx: Context, payload: dict[str, Any]) -> None:
    """Have one step."""
    await ctx.step("only", count, payload["who"])


@dataclass
class Service:
    """One app's service in this process; its endpoint can be closed and opened again."""

    live: Turnout
    port: int
    wakes: Counter[str] = field(default_factory=Counter)
    """By run: the wakes that the provider took."""
    _server: uvicorn.Server | None = None
    _serving: asyncio.Task[None] | None = None

    def count_wakes(self, name: str) -> None:
        """Count what the provider is sent."""
        caller = self.live.callers[name]
        send = caller.wake

        async def wake(wakes: Sequence[Wake]) -> None:
            await send(wakes)
            self.wakes.update(wake.run_id for wake in wakes)

        caller.wake = wake  # type: ignore[method-assign]

    async def open(self) -> None:
        """Listen."""
        config = uvicorn.Config(asgi(self.live), port=self.port, log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        self._server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        self._serving = asyncio.create_task(self._server.serve())
        while not self._server.started:
            await asyncio.sleep(0.02)

    async def cut_off(self) -> None:
        """Stop listening, and break the connections."""
        assert self._server is not None
        assert self._serving is not None
        self._server.should_exit = self._server.force_exit = True
        await asyncio.gather(self._serving, return_exceptions=True)

    async def states(self) -> dict[str, str]:
        """Return the state of every run, by its id."""
        states_by_id: dict[str, str] = {}
        after = 0
        while True:
            page = await self.live.store.runs.find(RunFilter(after=after, limit=500))
            states_by_id |= {
                run.run_id: "parked" if run.parked else run.state.value for run in page
            }
            if len(page) < 500:
                return states_by_id
            after = page[-1].emit_seq

    async def wait_until(self, state: str, number: int, seconds: float) -> float:
        """Wait until so many runs are in a state, not for ever; return the seconds that it took."""
        began = time.monotonic()
        while list((await self.states()).values()).count(state) < number:
            if time.monotonic() > began + seconds:
                break
            await asyncio.sleep(0.5)
        return time.monotonic() - began


@asynccontextmanager
async def services(name: str, folder: Path, apps: Sequence[App]) -> AsyncIterator[list[Service]]:
    """Start the offline server, unless a real one is named, and a service for each app."""
    async with AsyncExitStack() as stack:
        ports = [free_port() for _ in apps]
        server = devserver(name)
        if server is None:
            raise SystemExit(f"{name} has no server that could be named")
        processes = await stack.enter_async_context(Supervisor(folder / "logs"))
        real, shared = server.real(os.environ), {"port": free_port(), "data": folder / name}
        vendor: Mapping[str, str] = real or {}
        opened = []
        for index, (app, port) in enumerate(zip(apps, ports, strict=True)):
            settings = {
                "ORCHESTRATOR_PROVIDER": name,
                "TURNOUT_DATABASE_URL": f"sqlite:///{folder}/{app.name}.db",
                "TURNOUT_ARTIFACTS": "none",
                "TURNOUT_SERVICE_URL": f"http://127.0.0.1:{port}",
                "TURNOUT_SIGNING_KEYS": "whsec_" + base64.b64encode(os.urandom(32)).decode(),
            }
            setup = DevSetup(
                **shared,  # type: ignore[arg-type]
                app=app,
                service_url=settings["TURNOUT_SERVICE_URL"],
                signing_key=settings["TURNOUT_SIGNING_KEYS"],
            )
            if real is None and index == 0:
                setup.data.mkdir(parents=True)
                for process in server.processes(setup):
                    await processes.start(process)
                vendor = server.environ(setup)
            elif real is not None and isinstance(server, StartsWorkers):
                for process in server.workers(setup, real):
                    await processes.start(process)
            live = open_turnout(app, {**settings, **vendor})
            service = Service(live, port)
            service.count_wakes(name)
            await stack.enter_async_context(live)
            await service.open()
            stack.push_async_callback(service.cut_off)
            while not live.registrar.ready(name):
                await asyncio.sleep(0.1)
            opened.append(service)
        yield opened


class Neighbour:
    """The other app: emits one run after the other, and notes how long each took."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.phases: dict[str, list[float]] = {}
        self.phase = "before"

    async def run(self) -> None:
        """Emit until cancelled."""
        number = 0
        while True:
            number += 1
            phase, began = self.phase, time.monotonic()
            event = Event(name="outage/neighbour", payload={"who": f"n{number}"})
            (emitted,) = await self._service.live.orchestrator.emit(event)
            run_id = emitted.runs[0].run_id
            while (
                not (await self._service.live.store.journals.load(run_id)).run.state.terminal
                and time.monotonic() < began + STILL
            ):
                await asyncio.sleep(0.05)
            self.phases.setdefault(phase, []).append(time.monotonic() - began)
            await asyncio.sleep(0.2)

    def figures(self) -> dict[str, dict[str, float]]:
        """Return the seconds of a run from emit to end, by phase."""
        return {
            phase: {
                "runs": len(took),
                "p50": round(statistics.median(took), 2),
                "p95": round(sorted(took)[int(len(took) * 0.95)], 2),
                "longest": round(max(took), 2),
            }
            for phase, took in self.phases.items()
        }


async def outage(
    name: str, folder: Path, *, runs: int, seconds: int, patience: int
) -> dict[str, Any]:
    """Park the runs, cut the service off, and wait for all of them to end."""
    apps = [App(name="outage", tasks=(sleeps, waits)), App(name="nextdoor", tasks=(neighbour,))]
    async with services(name, folder, apps) as (service, other):
        beside = Neighbour(other)
        emitting = asyncio.create_task(beside.run())
        half, nap = runs // 2, 60 + seconds // 4
        began = time.monotonic()
        for event, number in (("outage/waits", runs - half), ("outage/sleeps", half)):
            await service.live.orchestrator.emit(
                *(
                    Event(name=event, payload={"who": f"{event}-{index}", "seconds": nap})
                    for index in range(number)
                )
            )
        parking = await service.wait_until("parked", runs, PARKED_IN)
        await asyncio.sleep(max(0.0, began + nap - seconds / 4 - time.monotonic()))
        before = sum(service.wakes.values())
        beside.phase = "cut off"
        await service.cut_off()
        await asyncio.sleep(seconds / 4)
        await service.live.orchestrator.emit(Event(name="outage/word"))
        await asyncio.sleep(seconds * 3 / 4)
        within = sum(service.wakes.values()) - before
        beside.phase = "after"
        await service.open()
        draining = await service.wait_until("completed", runs, patience)
        emitting.cancel()
        states = Counter((await service.states()).values())
        deliveries = [
            delivery
            for run_id in await service.states()
            for delivery in await service.live.store.deliveries.read(run_id)
        ]
    wakes = service.wakes
    return {
        "server": name,
        "runs": runs,
        "seconds cut off": seconds,
        "parked in": round(parking, 1),
        "ended in": round(draining, 1),
        "states": states,
        "bodies that ran twice": sum(times > 1 for times in bodies.values()),
        "deliveries": len(deliveries),
        "wakes": sum(wakes.values()),
        "wakes in the outage": within,
        "most wakes of a run": max(wakes.values(), default=0),
        "the other app, seconds a run": beside.figures(),
    }


def main() -> int:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("backend")
    parser.add_argument("--runs", type=int, default=800)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--most", type=int, default=2)
    parser.add_argument("--patience", type=int, default=900)
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="outage-") as folder:
        figures = asyncio.run(
            outage(
                options.backend,
                Path(folder),
                runs=options.runs,
                seconds=options.seconds,
                patience=options.patience,
            )
        )
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    longest = max(phase["longest"] for phase in figures["the other app, seconds a run"].values())
    bad = (
        figures["most wakes of a run"] > options.most
        or figures["states"] != {"completed": options.runs}
        or figures["bodies that ran twice"] > 0
        or longest >= STILL
    )
    return int(bad)


if __name__ == "__main__":
    raise SystemExit(main())

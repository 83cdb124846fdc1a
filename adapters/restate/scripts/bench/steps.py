"""What a run of steps costs on Restate: through Turnout, and by a bare handler of the SDK.

    python adapters/restate/scripts/bench/steps.py [--runs 60] [--steps 3] [--rounds 3]

Both are served in this process, on one server, by turns. Prints one JSON object. Per side, in
milliseconds: from sending to the first step, from one step's body to the next, each p50; and runs a
second with so many at once.
"""

import argparse
import asyncio
import itertools
import json
import runpy
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import restate
from turnout_dev.supervisor import free_port
from turnout_testing.backends import open_backend

import turnout
from turnout import Context, Event

BARE = runpy.run_path(str(Path(__file__).parents[1] / "bare_client.py"))
Run = Callable[[], Awaitable[list[float]]]
"""Makes one run; the moments of its sending and of each step's body, in seconds."""

bodies: dict[str, list[float]] = {}
"""By run, when the bodies of its steps ran."""
last_body: dict[str, asyncio.Event] = {}
"""By run, set by the body of its last step."""
numbers = itertools.count()


async def body(run: str) -> None:
    """Be a step."""
    bodies[run].append(time.perf_counter())
    if len(bodies[run]) == int(run.rpartition("-")[2]):
        last_body[run].set()


async def measured(run: str, send: Callable[[], Awaitable[object]]) -> list[float]:
    """Send a run, and wait for the last of its steps."""
    bodies[run], last_body[run] = [], asyncio.Event()
    began = time.perf_counter()
    await send()
    await last_body[run].wait()
    return [began, *bodies.pop(run)]


def bare_service(steps: int) -> restate.Service:
    """Make the same by the SDK alone."""
    service = restate.Service("bare")

    @service.handler("steps")
    async def run(ctx: restate.Context, payload: dict[str, Any]) -> None:
        """Have the steps."""
        for number in range(steps):
            await ctx.run_typed(f"step {number}", body, restate.RunOptions(), payload["run"])

    return service


async def measure(runs: int, steps: int, rounds: int, at_once: int) -> dict[str, Any]:
    """Let the two sides run by turns."""

    @turnout.task("steps", on="bench/steps")
    async def task(ctx: Context, payload: dict[str, Any]) -> None:
        """Have the steps."""
        for number in range(steps):
            await ctx.step(f"step {number}", body, payload["run"])

    async with open_backend("restate", app=turnout.app("bench", task)) as world:
        settings = world.caller._settings  # noqa: SLF001 - where its server is
        port = free_port()
        served = BARE["served"](restate.app([bare_service(steps)]), port)
        async with served, httpx.AsyncClient(timeout=60) as client:
            await BARE["register"](client, settings.admin, port)

            async def ours() -> list[float]:
                """Make a run through Turnout."""
                name = f"ours-{next(numbers)}-{steps}"
                event = Event(name="bench/steps", payload={"run": name})
                return await measured(name, lambda: world.orchestrator.emit(event))

            async def bare() -> list[float]:
                """Make a run by the SDK alone."""
                name = f"bare-{next(numbers)}-{steps}"
                url = f"{settings.ingress}/bare/steps/send"
                return await measured(name, lambda: client.post(url, json={"run": name}))

            return await by_turns({"turnout": ours, "bare": bare}, runs, rounds, at_once)


async def by_turns(sides: dict[str, Run], runs: int, rounds: int, at_once: int) -> dict[str, Any]:
    """Measure each side in each round, and give its medians."""
    firsts: dict[str, list[float]] = {}
    gaps: dict[str, list[float]] = {}
    rates: dict[str, list[float]] = {}
    for make in sides.values():
        await make()
    for _ in range(rounds):
        for name, make in sides.items():
            for _ in range(runs):
                moments = await make()
                firsts.setdefault(name, []).append(moments[1] - moments[0])
                between = [after - before for before, after in itertools.pairwise(moments[1:])]
                gaps.setdefault(name, []).extend(between)
            began = time.perf_counter()
            await asyncio.gather(*(_several(make, runs // at_once + 1) for _ in range(at_once)))
            total = at_once * (runs // at_once + 1)
            rates.setdefault(name, []).append(total / (time.perf_counter() - began))
    figures = {
        name: {
            "to_first_step_p50_ms": round(statistics.median(firsts[name]) * 1e3, 2),
            "step_p50_ms": round(statistics.median(gaps[name]) * 1e3, 2),
            "runs_per_s": round(statistics.median(rates[name]), 1),
        }
        for name in sides
    }
    ours, bare = figures.values()
    return {**figures, "ratios": {key: round(ours[key] / bare[key], 2) for key in ours}}


async def _several(make: Run, count: int) -> None:
    for _ in range(count):
        await make()


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    for name, default in (("runs", 60), ("steps", 3), ("rounds", 3), ("at-once", 25)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parsed = parser.parse_args()
    figures = asyncio.run(measure(parsed.runs, parsed.steps, parsed.rounds, parsed.at_once))
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()

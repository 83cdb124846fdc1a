"""How fast a limited lane drains, how long an invoke takes, and what many steps of one run cost.

    python scripts/bench/lanes.py [--database sqlite|postgres|memory] [--steps 1000] [--json]

A lane: `--runs` runs with bodies of 50 ms, without a limit and then with `--limit`; ideal is the
longer of runs x body / limit and the unlimited lane. An invoke: a child without steps, one after
the other. Steps: one run with that many parallel steps, and one with as many in sequence.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from run_store import database

from turnout import App, Concurrency, Context, Event, open_turnout, task
from turnout.model.runs import RunFilter
from turnout.model.status import RunStatus
from turnout.service.memory import collect_rarely
from turnout.service.process import Turnout

BODY = 0.05
"""Seconds of a body in a lane."""
INVOKES = 50


async def body() -> int:
    """Take a while."""
    await asyncio.sleep(BODY)
    return 1


async def empty_step() -> int:
    """Do nothing."""
    return 1


@task("free", on="bench/free")
async def free(ctx: Context, _payload: dict[str, Any]) -> int:
    """Run one step, without a limit."""
    return await ctx.step("body", body)


@task("child", on="bench/child")
async def child(_ctx: Context, _payload: dict[str, Any]) -> int:
    """Return at once."""
    return 1


@task("parent", on="bench/parent")
async def parent(ctx: Context, _payload: dict[str, Any]) -> int:
    """Invoke one child after the other."""
    return sum([await ctx.invoke(child, id=f"child-{number}") for number in range(INVOKES)])


@task("parallel", on="bench/parallel")
async def parallel(ctx: Context, payload: dict[str, Any]) -> int:
    """Run many steps side by side."""
    steps = [ctx.step(f"step-{number}", empty_step) for number in range(payload["steps"])]
    return sum(await ctx.parallel(*steps))


@task("sequential", on="bench/sequential")
async def sequential(ctx: Context, payload: dict[str, Any]) -> int:
    """Run many steps, one after the other."""
    return sum([await ctx.step(f"step-{n}", empty_step) for n in range(payload["steps"])])


def bench_app(limit: int) -> App:
    """Make the app; the limited task differs from `free` in its limit only."""

    @task("limited", on="bench/limited", concurrency=Concurrency(limit=limit, key="payload.key"))
    async def limited(ctx: Context, _payload: dict[str, Any]) -> int:
        return await ctx.step("body", body)

    return App(name="bench", tasks=(free, limited, child, parent, parallel, sequential))


async def drained(live: Turnout, event: Event, count: int = 1) -> float:
    """Emit an event so many times, and wait for the end of all runs; in seconds."""
    unfinished = RunFilter(states=frozenset({RunStatus.QUEUED, RunStatus.RUNNING}), limit=1)
    began = time.perf_counter()
    await live.orchestrator.emit(*[event] * count)
    while await live.store.runs.find(unfinished):
        await asyncio.sleep(0.02)
    return time.perf_counter() - began


async def invoke_times(live: Turnout) -> list[float]:
    """Take the times of invokes of one run, in milliseconds."""
    (emitted,) = await live.orchestrator.emit(Event(name="bench/parent", payload={}))
    run_id = emitted.runs[0].run_id
    while not (journal := await live.store.journals.load(run_id)).run.state.terminal:
        await asyncio.sleep(0.1)
    times = [
        step.ended_at - step.asked_at
        for step in journal.steps.values()
        if step.ended_at is not None
    ]
    return sorted(times)


@asynccontextmanager
async def opened(limit: int, url: str | None) -> AsyncIterator[Turnout]:
    """Open the app on a database; None: in memory."""
    settings = {"ORCHESTRATOR_PROVIDER": "memory" if url is None else "local"}
    if url is not None:
        settings["TURNOUT_DATABASE_URL"] = url
    async with open_turnout(bench_app(limit), {**settings, "TURNOUT_ARTIFACTS": "none"}) as live:
        collect_rarely()
        yield live


async def measure(options: argparse.Namespace, url: str | None) -> dict[str, float]:
    """Take all figures."""
    async with opened(options.limit, url) as live:
        payload = {"key": "one", "steps": options.steps}
        free_s = await drained(live, Event(name="bench/free", payload=payload), options.runs)
        limited_s = await drained(live, Event(name="bench/limited", payload=payload), options.runs)
        invokes = await invoke_times(live)
        parallel_s = await drained(live, Event(name="bench/parallel", payload=payload))
        sequential_s = await drained(live, Event(name="bench/sequential", payload=payload))
    ideal_s = max(free_s, options.runs / options.limit * BODY)
    return {
        "free_runs_per_s": options.runs / free_s,
        "limited_runs_per_s": options.runs / limited_s,
        "limited_of_ideal": ideal_s / limited_s,
        "invoke_p50_ms": statistics.median(invokes),
        "invoke_p95_ms": invokes[len(invokes) * 95 // 100],
        "steps": options.steps,
        "parallel_s": parallel_s,
        "sequential_s": sequential_s,
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--database", choices=("sqlite", "postgres", "memory"), default="sqlite")
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with database(options.database) as url:
        figures = asyncio.run(measure(options, url))
    if options.json:
        sys.stdout.write(json.dumps({"database": options.database, **figures}) + "\n")
    else:
        lines = [f"{name:>20} {value:>10,.2f}" for name, value in figures.items()]
        sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

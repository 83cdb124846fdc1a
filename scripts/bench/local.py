"""Runs per second of the embedded provider: three steps a run, journal on SQLite or PostgreSQL.

    python scripts/bench/local.py [--runs 3000] [--database sqlite|postgres|memory] [--json]

Runs are emitted in batches and timed until the last one has ended.
"""

import argparse
import asyncio
import json
import sys
import time
from typing import Any

from run_store import database

from turnout import App, Context, Event, open_turnout, task
from turnout.model.runs import RunFilter
from turnout.model.status import RunStatus
from turnout.service.memory import collect_rarely

BATCH = 100


@task("three", on="bench/three")
async def three(ctx: Context, _payload: dict[str, Any]) -> int:
    """Run three steps that do nothing."""
    first = await ctx.step("first", empty_step)
    second = await ctx.step("second", empty_step)
    return first + second + await ctx.step("third", empty_step)


async def empty_step() -> int:
    """Do nothing."""
    return 1


async def measure(runs: int, url: str | None) -> dict[str, float]:
    """Emit, wait for the end of all, and give the figures."""
    settings = {"ORCHESTRATOR_PROVIDER": "memory" if url is None else "local"}
    if url is not None:
        settings["TURNOUT_DATABASE_URL"] = url
    app = App(name="bench", tasks=(three,))
    async with open_turnout(app, {**settings, "TURNOUT_ARTIFACTS": "none"}) as live:
        collect_rarely()  # as `turnout work` does
        began, cpu_began = time.perf_counter(), time.process_time()
        for _ in range(runs // BATCH):
            await live.orchestrator.emit(
                *(Event(name="bench/three", payload={}) for _ in range(BATCH))
            )
        emitted = time.perf_counter()
        unfinished = RunFilter(states=frozenset({RunStatus.QUEUED, RunStatus.RUNNING}), limit=1)
        while await live.store.runs.find(unfinished):
            await asyncio.sleep(0.02)
        ended = time.perf_counter()
    return {
        "runs": runs,
        "emits_per_s": runs / (emitted - began),
        "runs_per_s": runs / (ended - began),
        "steps_per_s": 3 * runs / (ended - began),
        "cpu_ms_per_run": 1_000 * (time.process_time() - cpu_began) / runs,
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=3_000)
    parser.add_argument("--database", choices=("sqlite", "postgres", "memory"), default="sqlite")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with database(options.database) as url:
        figures = asyncio.run(measure(options.runs, url))
    if options.json:
        sys.stdout.write(json.dumps({"database": options.database, **figures}) + "\n")
    else:
        sys.stdout.write(
            "  ".join(f"{name} {value:,.1f}" for name, value in figures.items()) + "\n"
        )


if __name__ == "__main__":
    main()

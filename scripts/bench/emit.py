"""What an emit costs: through Turnout, and by each vendor's bare client on its offline server.

    python scripts/bench/emit.py [--emits 200] [--rounds 3] [--postgres URL | --no-postgres]

One emit after the other, the sides by turns within each round, on one machine at one time. An emit
through Turnout returns when the run is recorded durably; delivery follows. Prints one JSON object:
milliseconds, and medians as ratios to each bare client's of the same rounds.
"""

import argparse
import asyncio
import contextlib
import json
import os
import runpy
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from run_store import postgres
from turnout_dev.devserver import DevSetup
from turnout_dev.installed import devservers
from turnout_dev.supervisor import Supervisor, free_port

from turnout import App, Context, Event, open_turnout, task

ROOT = Path(__file__).parents[2]
PAYLOAD = {"agent_id": "a-17", "notebook": "quarterly figures"}

Emit = Callable[[], Awaitable[object]]


@task("agent-run", on="agent/run.requested")
async def agent_run(ctx: Context, _payload: dict[str, Any]) -> None:
    """Be emitted."""
    await ctx.step("only", int)


APP = App(name="bench", tasks=(agent_run,))


@contextlib.asynccontextmanager
async def through_turnout(url: str) -> AsyncIterator[Emit]:
    """Emit as a process does that only emits."""
    settings = {"ORCHESTRATOR_PROVIDER": "local", "TURNOUT_ARTIFACTS": "none"}
    settings["TURNOUT_DATABASE_URL"] = url
    async with open_turnout(APP, settings, serve=False) as live:
        yield lambda: live.orchestrator.emit(Event(name="agent/run.requested", payload=PAYLOAD))


def bare_clients() -> dict[str, Callable[..., Any]]:
    """Load the vendors' own clients that adapters bring for this bench, by provider."""
    return {
        path.parents[1].name: runpy.run_path(str(path))["emitting"]
        for path in sorted(ROOT.glob("adapters/*/scripts/bare_client.py"))
    }


@contextlib.asynccontextmanager
async def sides(folder: Path, postgres_url: str | None) -> AsyncIterator[dict[str, Emit]]:
    """Open all that is compared."""
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        found = {"turnout_sqlite": await enter(through_turnout(f"sqlite:///{folder}/runs.db"))}
        if postgres_url is not None:
            found["turnout_postgres"] = await enter(through_turnout(postgres_url))
        processes, bare = await enter(Supervisor(folder / "logs")), bare_clients()
        for name, server in devservers().items():
            if name not in bare:
                continue
            setup = DevSetup(
                port=free_port(),
                data=folder / name,
                app=APP,
                service_url="http://127.0.0.1:9",
                signing_key="whsec_YmVuY2g=",
            )
            setup.data.mkdir()
            await processes.start(server.processes(setup)[0])
            found[f"bare_{name}"] = await enter(bare[name](server.environ(setup), PAYLOAD))
        yield found


async def measure(emits: int, rounds: int, postgres_url: str | None) -> dict[str, Any]:
    """Let the sides emit by turns, and give the figures."""
    took: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with sides(Path(folder), postgres_url) as found:
            for each in found.values():
                for _ in range(5):
                    await each()
            for _ in range(rounds):
                for name, each in found.items():
                    for _ in range(emits):
                        began = time.perf_counter()
                        await each()
                        took.setdefault(name, []).append((time.perf_counter() - began) * 1e3)
    told: dict[str, Any] = {
        name: {
            "median_ms": round(statistics.median(times), 3),
            "p95_ms": round(statistics.quantiles(times, n=20)[-1], 3),
        }
        for name, times in took.items()
    }
    ours = [name for name in took if name.startswith("turnout_")]
    bare = [name for name in took if name.startswith("bare_")]
    ratios = {
        f"{one}/{other}": round(told[one]["median_ms"] / told[other]["median_ms"], 3)
        for one in ours
        for other in bare
    }
    return {**told, "ratios_of_medians": ratios}


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--emits", type=int, default=200, help="of each side in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--postgres", metavar="URL")
    parser.add_argument("--no-postgres", action="store_true")
    given = parser.parse_args()
    told: dict[str, Any] = {"emits": given.emits, "rounds": given.rounds}
    told["load_before"] = os.getloadavg()
    with contextlib.nullcontext() if given.no_postgres else postgres(given.postgres) as url:
        told |= asyncio.run(measure(given.emits, given.rounds, url))
    told["load_after"] = os.getloadavg()
    sys.stdout.write(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()

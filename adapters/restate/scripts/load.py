"""Loads Restate's own server with runs, in three ways, and says whether the ledger balances.

    python adapters/restate/scripts/load.py steps  [--steps 10000]
    python adapters/restate/scripts/load.py asleep [--runs 10000] [--seconds 600]
    python adapters/restate/scripts/load.py kills  [--nodes 3] [--rate 50] [--seconds 60]

steps: one run of so many steps. asleep: so many runs that sleep at the same time, until so many
seconds after the start; one node of a cluster is killed meanwhile. kills: so many runs a second,
while one node after the other is killed (SIGKILL) every ten seconds and started again. With more
than one node they form a cluster with a replicated log, on loopback, and requests go to any node
that takes them.

Prints one JSON object; exit code 1 when a run was lost, or a step done twice. --patience: seconds
within which all runs must have ended, once nothing more is sent.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from turnout_dev.devserver import DevSetup, Process
from turnout_dev.supervisor import Supervisor, free_port
from turnout_restate.api import RestateApi
from turnout_restate.settings import read_settings
from turnout_restate_server.devserver import devserver
from turnout_testing.backends import open_backend
from turnout_testing.conformance.world import World

import turnout
from turnout import Context, Event
from turnout.errors import ProviderUnavailable
from turnout.model.runs import Run, RunFilter
from turnout.model.status import RunStatus

LIVE: Final = frozenset(state for state in RunStatus if not state.terminal)
BATCH: Final = 100
KILLED_EVERY: Final = 10.0
REPLICAS: Final = 2
"""Copies of each record of a cluster's log: any one node of three may be away."""
done: Counter[tuple[str, int]] = Counter()
"""How often the body of each step ran, by the run's name and the step's number."""


async def body(name: str, number: int) -> None:
    """Be a step."""
    done[name, number] += 1


@turnout.task("steps", on="load/steps")
async def with_steps(ctx: Context, payload: dict[str, Any]) -> None:
    """Have as many steps as the payload says."""
    for number in range(payload["steps"]):
        await ctx.step(f"step {number}", body, payload["name"], number)


@turnout.task("asleep", on="load/asleep")
async def asleep(ctx: Context, payload: dict[str, Any]) -> None:
    """Sleep until a moment, then have a step."""
    await ctx.sleep_until("nap", payload["until"])
    await ctx.step("step", body, payload["name"], 0)


@turnout.task("parked", on="load/parked")
async def parked(ctx: Context, payload: dict[str, Any]) -> None:
    """Have two steps with a short sleep between them."""
    await ctx.step("before", body, payload["name"], 0)
    await ctx.sleep("nap", "1s")
    await ctx.step("after", body, payload["name"], 1)


APP = turnout.app("load", with_steps, asleep, parked)


@dataclass(kw_only=True)
class Cluster:
    """The server's nodes, and an address that leads to any of them."""

    nodes: Supervisor
    names: Sequence[str]
    settings: Mapping[str, str]
    """How a service reaches it."""
    killed: Counter[str] = field(default_factory=Counter)

    async def kill_one(self, *, after: float) -> None:
        """Kill one node of several after so many seconds."""
        await asyncio.sleep(after)
        if len(self.names) > 1:
            await self._kill(self.names[0])

    async def kill_in_turn(self) -> None:
        """Kill one node after the other, without end; the supervisor starts it again."""
        for name in itertools.cycle(self.names):
            await asyncio.sleep(KILLED_EVERY)
            await self._kill(name)

    async def _kill(self, name: str) -> None:
        await self.nodes.kill(name)
        self.killed[name] += 1


@asynccontextmanager
async def cluster(count: int) -> AsyncIterator[Cluster]:
    """Start so many nodes; more than one form a cluster."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="restate-")))
        processes = [_node(number, folder) for number in range(count)]
        fabric = [f"http://{process.environ['RESTATE_BIND_ADDRESS']}" for process in processes]
        nodes = await stack.enter_async_context(Supervisor(folder))
        starting = [
            nodes.start(process if count == 1 else _member(process, fabric, number))
            for number, process in enumerate(processes)
        ]
        await asyncio.gather(*starting)
        ports = {
            name: [int(process.environ[variable].rpartition(":")[2]) for process in processes]
            for name, variable in (
                ("RESTATE_INGRESS_URL", "RESTATE_INGRESS__BIND_ADDRESS"),
                ("RESTATE_ADMIN_URL", "RESTATE_ADMIN__BIND_ADDRESS"),
            )
        }
        settings = {
            name: await stack.enter_async_context(_gate(targets)) for name, targets in ports.items()
        }
        yield Cluster(nodes=nodes, names=[process.name for process in processes], settings=settings)


def _node(number: int, folder: Path) -> Process:
    """Describe a node as `turnout dev` would start it, with a name of its own."""
    setup = DevSetup(
        port=free_port(),
        data=folder / f"node-{number}",
        app=APP,
        service_url="http://127.0.0.1:1",
        signing_key="",
        real_worker=False,
    )
    (process,) = devserver().processes(setup)
    name = f"node-{number}"
    argv = tuple(name if word == "dev" else word for word in process.argv)
    return Process(
        name=name, argv=argv, environ=process.environ, ready_url=process.ready_url, ready_in=120
    )


def _member(node: Process, fabric: Sequence[str], number: int) -> Process:
    """Describe the same node as a member of a cluster; the first one makes the cluster."""
    own = {
        "RESTATE_CLUSTER_NAME": "load",
        "RESTATE_ADVERTISED_ADDRESS": fabric[number],
        "RESTATE_AUTO_PROVISION": "false" if number else "true",
        "RESTATE_DEFAULT_REPLICATION": str(REPLICAS),
        "RESTATE_METADATA_CLIENT__ADDRESSES": json.dumps(list(fabric)),
        "RESTATE_ROCKSDB_TOTAL_MEMORY_SIZE": "512MiB",
    }
    return Process(
        name=node.name,
        argv=node.argv,
        environ={**node.environ, **own},
        ready_url=node.ready_url,
        ready_in=node.ready_in,
    )


@asynccontextmanager
async def _gate(ports: Sequence[int]) -> AsyncIterator[str]:
    """Pass each connection on to a node that takes it, as a load balancer does."""
    turns = itertools.count()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = next(turns)
        for offset in range(len(ports)):
            port = ports[(first + offset) % len(ports)]
            with contextlib.suppress(OSError):
                node_reader, node_writer = await asyncio.open_connection("127.0.0.1", port)
                await asyncio.gather(_pass(reader, node_writer), _pass(node_reader, writer))
                return
        writer.close()

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await source.read(65_536):
            target.write(chunk)
            await target.drain()
    with contextlib.suppress(OSError):
        target.close()


async def steps(world: World, _: Cluster, options: argparse.Namespace) -> dict[str, Any]:
    """Have one run of many steps."""
    payload = {"name": "long", "steps": options.steps}
    (emission,) = await world.orchestrator.emit(Event(name="load/steps", payload=payload))
    await _all_ended(world, options.patience)
    report = await world.orchestrator.status(emission.runs[0].run_id)
    return {"runs": 1, "steps": options.steps, "deliveries": len(report.deliveries)}


async def sleepers(world: World, servers: Cluster, options: argparse.Namespace) -> dict[str, Any]:
    """Have many runs asleep at the same time; a node of a cluster is killed meanwhile."""
    until = world.clock.now() + round(options.seconds * 1_000)
    tasks = [
        asyncio.create_task(_count_suspended(servers)),
        asyncio.create_task(servers.kill_one(after=0.8 * options.seconds)),
    ]
    for start in range(0, options.runs, BATCH):
        names = [f"sleeper-{number}" for number in range(start, min(start + BATCH, options.runs))]
        payloads = [{"name": name, "until": until} for name in names]
        await world.orchestrator.emit(
            *(Event(name="load/asleep", payload=payload) for payload in payloads)
        )
    emitted_in = options.seconds - (until - world.clock.now()) / 1_000
    await _all_ended(world, options.seconds + options.patience)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "runs": options.runs,
        "steps": options.runs,
        "emitted_per_s": round(options.runs / emitted_in, 1),
        "most_asleep": max(suspended, default=0),
        "killed": dict(servers.killed),
    }


suspended: list[int] = []
"""How many invocations the server called suspended, at each reading."""


async def _count_suspended(servers: Cluster) -> None:
    """Count again and again; a cluster that has just lost a node does not answer."""
    api = RestateApi(read_settings(servers.settings, "http://127.0.0.1:1"))
    sql = "SELECT count(*) AS count FROM sys_invocation WHERE status = 'suspended'"
    try:
        while True:
            with contextlib.suppress(ProviderUnavailable):
                suspended.append(int((await api.query(sql))[0]["count"]))
            await asyncio.sleep(2)
    finally:
        await api.close()


async def kills(world: World, servers: Cluster, options: argparse.Namespace) -> dict[str, Any]:
    """Emit at a rate, while nodes are killed."""
    killing = asyncio.create_task(servers.kill_in_turn())
    began, count, sent = time.monotonic(), round(options.rate * options.seconds), 0
    while sent < count:
        await asyncio.sleep(max(0.0, began + sent / options.rate - time.monotonic()))
        due = min(count, max(sent, int((time.monotonic() - began) * options.rate)) + 1)
        payloads = [{"name": f"run-{number}"} for number in range(sent, due)]
        await world.orchestrator.emit(
            *(Event(name="load/parked", payload=payload) for payload in payloads)
        )
        sent = due
    emitted_in = time.monotonic() - began
    killing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await killing
    await _all_ended(world, options.patience)
    return {
        "runs": count,
        "steps": 2 * count,
        "emitted_per_s": round(count / emitted_in, 1),
        "killed": dict(servers.killed),
    }


async def _all_ended(world: World, seconds: float) -> None:
    """Wait until no run is under way, or it takes too long."""
    until = time.monotonic() + seconds
    while await world.store.runs.find(RunFilter(states=LIVE, limit=1)):
        if time.monotonic() > until:
            return
        await asyncio.sleep(0.5)


SECONDS: Final = {"asleep": 600.0, "kills": 60.0}
KINDS: Final = {"steps": steps, "asleep": sleepers, "kills": kills}


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Make the load, and compare what was sent with what became of it."""
    async with (
        cluster(options.nodes) as servers,
        open_backend("restate", app=APP, environ=servers.settings) as world,
    ):
        began = time.monotonic()
        figures = await KINDS[options.kind](world, servers, options)
        seconds = round(time.monotonic() - began, 1)
        completed = await _runs(world, frozenset({RunStatus.COMPLETED}))
    twice = sum(count > 1 for count in done.values())
    balanced = (len(completed), len(done), twice) == (figures["runs"], figures["steps"], 0)
    return {
        "kind": options.kind,
        "nodes": options.nodes,
        **figures,
        "seconds": seconds,
        "completed": len(completed),
        "ended_after_s": _ended_after(completed),
        "load_average": os.getloadavg()[1],
        "steps_done": len(done),
        "steps_done_twice": twice,
        "balanced": balanced,
    }


async def _runs(world: World, states: frozenset[RunStatus]) -> Sequence[Run]:
    """Read the runs in these states, page by page."""
    runs: list[Run] = []
    before = None
    while page := await world.store.runs.find(RunFilter(states=states, limit=500, before=before)):
        runs += page
        before = page[-1].emit_seq
    return runs


def _ended_after(runs: Sequence[Run]) -> Mapping[str, float]:
    """Say how many seconds after its emit a run ended."""
    times = sorted(((run.ended_at or run.emitted_at) - run.emitted_at) / 1_000 for run in runs)
    ranks = {"p50": 0.5, "p99": 0.99, "most": 1.0}
    return {name: times[round(rank * (len(times) - 1))] for name, rank in ranks.items() if times}


def main() -> None:
    """Parse, load, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("kind", choices=list(KINDS))
    for name, default in (("nodes", 1), ("steps", 10_000), ("runs", 10_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, number in (("rate", 50.0), ("seconds", None), ("patience", 600.0)):
        parser.add_argument(f"--{name}", type=float, default=number)
    options = parser.parse_args()
    if options.seconds is None:
        options.seconds = SECONDS.get(options.kind)
    figures = asyncio.run(measure(options))
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    sys.exit(0 if figures["balanced"] else 1)


if __name__ == "__main__":
    main()

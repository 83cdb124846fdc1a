"""What a run, a step and a park cost, counted: `python scripts/bench/step_cost.py [PROVIDER …]`.

For each provider one run after the other of four tasks: no step, one, four, and a sleep of seven
seconds. Counted are the run store's operations, commits and statements (SQLite), the requests to
and from the vendor's offline server with the bytes of their bodies, and the artifacts. A step is a
third of the difference of four and one; a park is that of the sleep and no step. What is done
whether or not there is a run (polls, beats) is left out by name. Prints one JSON object.
"""

import argparse
import asyncio
import base64
import json
import os
import statistics
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from turnout_dev.devserver import DevSetup
from turnout_dev.installed import devserver, devservers
from turnout_dev.supervisor import Supervisor, free_port
from turnout_testing.failpoints import COMMITS, POLLS

from turnout import App, Context, Event, Turnout, asgi, open_turnout, read_settings, task
from turnout.bootstrap.adapters import EMBEDDED
from turnout.stores.sql.committer import Committer
from turnout.stores.sql.sqlite import SqliteTransaction
from turnout.stores.sql.statements import BatchStatement, Row, batches

COUNTED = frozenset({*COMMITS, "load", "transitions", "deliveries", "children"}) - POLLS
"""Operations that a run causes, beside polls that took something for it; the others are the pump's
turns and the replica's beats. The statements of polls are not counted."""
ROUNDS = 5
SLEEP = "7s"

counts: Counter[str] = Counter()


async def empty_step() -> int:
    """Do nothing."""
    return 1


@task("none", on="cost/none")
async def without_steps(_ctx: Context, _payload: dict[str, Any]) -> int:
    """Run no step."""
    return 0


@task("one", on="cost/one")
async def one_step(ctx: Context, _payload: dict[str, Any]) -> int:
    """Run one step."""
    return await ctx.step("step-0", empty_step)


@task("four", on="cost/four")
async def four_steps(ctx: Context, _payload: dict[str, Any]) -> int:
    """Run four steps, one after the other."""
    return sum([await ctx.step(f"step-{number}", empty_step) for number in range(4)])


@task("sleeps", on="cost/sleeps")
async def sleeps(ctx: Context, _payload: dict[str, Any]) -> int:
    """Park once, for longer than any worker waits in process."""
    await ctx.sleep("rest", SLEEP)
    return 0


COST = App(name="cost", tasks=(without_steps, one_step, four_steps, sleeps))


def count_the_store() -> None:
    """Count operations by name, and the statements inside those that a run causes."""
    inside: list[str] = []
    for name in ("write", "write_one", "read"):
        setattr(Committer, name, _operation(getattr(Committer, name), inside))
    for name in ("rows", "changed", "write"):
        setattr(SqliteTransaction, name, _statement(getattr(SqliteTransaction, name), inside))
    for name in ("write_rows", "returning"):
        setattr(SqliteTransaction, name, _statements(getattr(SqliteTransaction, name), inside))


def _operation(original: Callable[..., Awaitable[Any]], inside: list[str]) -> Callable[..., Any]:
    async def counted(
        self: Committer, name: str, work: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        def counted_work(*tx: Any) -> Any:
            inside.append(name)
            try:
                result = work(*tx)
            finally:
                inside.pop()
            if name in COUNTED or (name in POLLS and result):
                counts[f"operation {name}"] += 1
                counts["operations"] += 1
                counts["commits"] += original.__name__ != "read"
            return result

        return await original(self, name, counted_work, *args, **kwargs)

    return counted


def _statement(original: Callable[..., Any], inside: list[str]) -> Callable[..., Any]:
    def counted(self: SqliteTransaction, *args: Any, **kwargs: Any) -> Any:
        counts["statements"] += bool(inside) and inside[-1] in COUNTED
        return original(self, *args, **kwargs)

    return counted


def _statements(original: Callable[..., Any], inside: list[str]) -> Callable[..., Any]:
    def counted(self: SqliteTransaction, batch: BatchStatement, rows: Sequence[Row]) -> Any:
        counts["statements"] += len(list(batches(rows))) if inside and inside[-1] in COUNTED else 0
        return original(self, batch, rows)

    return counted


def count_requests_out() -> None:
    """Count what adapters send, and the bytes of bodies both ways."""
    original = httpx.AsyncClient.send

    async def counted(self: httpx.AsyncClient, request: httpx.Request, **options: Any) -> Any:
        answer = await original(self, request, **options)
        if request.url.path != "/turnout/health":
            counts["requests out"] += 1
            counts["bytes out"] += len(await request.aread()) + len(await answer.aread())
        return answer

    httpx.AsyncClient.send = counted  # type: ignore[method-assign]


def counting(application: Any) -> Any:
    """Count what the vendor's side sends to the service, and the bytes of bodies both ways."""

    async def counted(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        counts["requests in"] += 1

        async def received() -> Any:
            message = await receive()
            counts["bytes in"] += len(message.get("body", b""))
            return message

        async def count_sent(message: Any) -> None:
            counts["bytes in"] += len(message.get("body", b""))
            await send(message)

        await application(scope, received, count_sent)

    return counted


async def measure(provider: str) -> dict[str, Any]:
    """Run each task some times on a provider; medians of what one run costs."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="step-cost-")))
        live = await stack.enter_async_context(_opened(provider, folder))
        costs = {task.id: await _cost(live, task.id, folder) for task in COST.tasks}
    names = sorted({name for cost in costs.values() for name in cost})
    return {
        "run": {name: costs["none"].get(name, 0) for name in names},
        "step": {
            name: round((costs["four"].get(name, 0) - costs["one"].get(name, 0)) / 3, 2)
            for name in names
        },
        "park": {
            name: round(costs["sleeps"].get(name, 0) - costs["none"].get(name, 0), 2)
            for name in names
        },
    }


async def _cost(live: Turnout, name: str, folder: Path) -> dict[str, float]:
    rounds = [await _once(live, name, folder) for _ in range(ROUNDS)]
    names = {name for round_ in rounds for name in round_}
    return {
        name: statistics.median(round_.get(name, 0) for round_ in rounds) for name in sorted(names)
    }


async def _once(live: Turnout, name: str, folder: Path) -> dict[str, float]:
    """Count one run, from its emit until its artifacts are written and nothing moves."""
    await asyncio.sleep(0.5)
    counts.clear()
    (emitted,) = await live.orchestrator.emit(Event(name=f"cost/{name}"))
    run_folder = folder / "artifacts" / "runs" / emitted.runs[0].run_id
    while not (run_folder / "manifest.json").exists():
        await asyncio.sleep(0.05)
    await asyncio.sleep(1.0)
    sizes = [path.stat().st_size for path in run_folder.rglob("*.json")]
    return {**counts, "objects": len(sizes), "bytes of objects": sum(sizes)}


@asynccontextmanager
async def _opened(provider: str, folder: Path) -> AsyncIterator[Turnout]:
    """Serve the tasks under a provider; a vendor's is its offline server, a double."""
    port = free_port()
    environ = {
        "ORCHESTRATOR_PROVIDER": provider,
        "TURNOUT_DATABASE_URL": f"sqlite:///{folder}/run-store.db",
        "TURNOUT_ARTIFACTS": str(folder / "artifacts"),
        "TURNOUT_SERVICE_URL": f"http://127.0.0.1:{port}",
        "TURNOUT_SIGNING_KEYS": "whsec_" + base64.b64encode(os.urandom(32)).decode(),
    }
    async with AsyncExitStack() as stack:
        if provider not in EMBEDDED:
            server = devserver(provider)
            setup = DevSetup(
                port=free_port(),
                data=folder / provider,
                app=COST,
                service_url=environ["TURNOUT_SERVICE_URL"],
                signing_key=environ["TURNOUT_SIGNING_KEYS"],
            )
            setup.data.mkdir()
            processes = await stack.enter_async_context(Supervisor(folder / "logs"))
            for process in server.processes(setup):
                await processes.start(process)
            environ |= server.environ(setup)
        live = open_turnout(COST, settings=read_settings(environ, folder=folder))
        await stack.enter_async_context(_served(live, port))
        while not live.registrar.ready(provider):
            await asyncio.sleep(0.1)
        yield live


@asynccontextmanager
async def _served(live: Turnout, port: int) -> AsyncIterator[None]:
    application = counting(asgi(live))
    server = uvicorn.Server(
        uvicorn.Config(application, port=port, log_level="error", timeout_graceful_shutdown=1)
    )
    serving = asyncio.create_task(server.serve())
    while not server.started and not serving.done():
        await asyncio.sleep(0.05)
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the providers that are named, and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("providers", nargs="*", default=["local", *devservers()])
    providers = parser.parse_args(arguments).providers
    count_the_store()
    count_requests_out()
    print(json.dumps({name: asyncio.run(measure(name)) for name in providers}, indent=2))


if __name__ == "__main__":
    main()

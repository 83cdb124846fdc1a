"""The server is killed, loses its state or gets another key: nothing is lost or doubled."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from restate_keys import PUBLIC_KEY, SECOND_PUBLIC_KEY, SECOND_SEED, SEED, key_file
from turnout_dev.devserver import DevSetup
from turnout_dev.supervisor import Child, free_port
from turnout_restate.caller import RestateCaller
from turnout_restate_server.devserver import devserver
from turnout_testing.backends import open_backend
from turnout_testing.conformance.world import World

import turnout
from turnout import Concurrency, Context, Event, Schedule
from turnout.errors import TurnoutError
from turnout.model.runs import RunFilter
from turnout.model.status import ParkReason, RunStatus

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
PATIENCE = 120.0
done: list[str] = []
may_end = asyncio.Event()


async def _note(label: str) -> None:
    done.append(label)


async def _held(label: str) -> None:
    await asyncio.wait_for(may_end.wait(), PATIENCE)
    done.append(label)


@turnout.task("short", on="do/short")
async def short(ctx: Context, payload: Any) -> None:
    """Have one step."""
    await ctx.step("only", _note, f"short {payload['id']}")


@turnout.task("sleeping", on="do/sleeping")
async def sleeping(ctx: Context, payload: Any) -> None:
    """Sleep between two steps."""
    await ctx.step("before", _note, "sleeping before")
    await ctx.sleep("nap", "3s")
    await ctx.step("after", _note, "sleeping after")


@turnout.task("waiting", on="do/waiting")
async def waiting(ctx: Context, payload: Any) -> None:
    """Wait for an event."""
    assert await ctx.wait_for_event("go/on", timeout="1h") is not None
    await ctx.step("after", _note, "waiting after")


@turnout.task("parent", on="do/parent")
async def parent(ctx: Context, payload: Any) -> None:
    """Invoke a task that waits for an event."""
    await ctx.invoke("waiting", {})
    await ctx.step("after", _note, "parent after")


@turnout.task("working", on="do/working", concurrency=Concurrency(limit=1, key="payload.key"))
async def working(ctx: Context, payload: Any) -> None:
    """Have a step that ends when it may; one run of a key at a time."""
    await ctx.step("held", _held, "working held")
    await ctx.step("after", _note, "working after")


APP = turnout.app("restate-outages", short, sleeping, waiting, parent, working)
OPEN = ("sleeping", "waiting", "parent", "working", "working")
"""Tasks of the runs that are open when the server forgets: the last one waits for its turn."""
NIGHTLY = Schedule(id="nightly", task="short", cron="30 2 * * *", payload={"id": "nightly"})


@dataclass
class OwnServer:
    """A server that a test kills, and starts again with what it has kept or without."""

    child: Child
    data: Path
    settings: dict[str, str]

    async def restart(self, *, forget: bool = False, **environ: str) -> None:
        """Kill it and start it again."""
        await self.child.kill()
        if forget:
            await asyncio.to_thread(shutil.rmtree, self.data)
        process = self.child.process
        self.child.process = replace(process, environ={**process.environ, **environ})
        await self.child.start()


@asynccontextmanager
async def own_server(folder: Path, **environ: str) -> AsyncIterator[OwnServer]:
    """Start a server of the test's own."""
    server, data = devserver(), folder / "server"
    setup = DevSetup(
        port=free_port(), data=data, app=APP, service_url="http://127.0.0.1:1", signing_key=""
    )
    (process,) = server.processes(setup)
    process = replace(process, environ={**process.environ, **environ})
    child = Child(process, folder)
    try:
        await child.start()
        yield OwnServer(child=child, data=data, settings=dict(server.environ(setup)))
    finally:
        await child.kill()


@asynccontextmanager
async def service(server: OwnServer, **environ: str) -> AsyncIterator[World]:
    """Open a service on it that soon notices what is lost."""
    done.clear()
    may_end.clear()
    environ = {"TURNOUT_LEASE": "3s", **server.settings, **environ}
    async with open_backend("restate", app=APP, environ=environ) as world:
        yield world


async def start(world: World, task: str, **payload: Any) -> str:
    """Start a run."""
    (emission,) = await world.orchestrator.emit(Event(name=f"do/{task}", payload=payload))
    return emission.runs[0].run_id


async def until(check: Callable[[], Awaitable[Any]], condition: str) -> None:
    """Wait for a condition; errors of a provider that is away are no answer."""
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(TurnoutError):
                    if await check():
                        return
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"not in {PATIENCE:.0f} s: {condition}") from None


async def all_end(world: World, run_ids: list[str]) -> list[RunStatus]:
    """Wait for the end of runs; their states."""
    states: list[RunStatus] = []

    async def ended() -> bool:
        states[:] = [
            (await world.orchestrator.status(run_id)).journal.run.state for run_id in run_ids
        ]
        return all(state.terminal for state in states)

    try:
        await until(ended, "all runs have ended")
    except AssertionError:
        raise AssertionError(dict(zip(run_ids, states, strict=True))) from None
    return states


async def fired(world: World, schedule: Schedule) -> list[int | None]:
    """Read when the server will fire a schedule next, once for each pending call."""
    assert isinstance(world.caller, RestateCaller)
    return [item.next_at for item in await world.caller.armed() if item.id == schedule.id]


async def test_a_server_that_has_forgotten_everything_gets_every_open_run_again(
    tmp_path: Path,
) -> None:
    """It is told of the service and its schedules again, and each open run ends, step by step."""
    async with own_server(tmp_path) as server, service(server) as world:
        await world.orchestrator.schedule_recurring(NIGHTLY)
        run_ids = [await start(world, task, key="one") for task in OPEN]

        async def under_way() -> bool:
            asleep = (await world.orchestrator.status(run_ids[0])).journal.run
            waits = await world.store.runs.find(RunFilter(task="waiting"))
            return (
                (ParkReason.SLEEP in asleep.parked_for or asleep.state.terminal)
                and [run.parked_for for run in waits] == [(ParkReason.EVENT,)] * 2
                and bool(await fired(world, NIGHTLY))
            )

        await until(under_way, "one run sleeps, and two wait, of which one is a child")
        await server.restart(forget=True)
        may_end.set()
        late = await start(world, "short", id="late")
        await world.orchestrator.emit(Event(name="go/on", payload={}))
        states = await all_end(world, [*run_ids, late])
        assert set(states) == {RunStatus.COMPLETED}
        counts = {label: done.count(label) for label in done}
        twice = {"waiting after", "working held", "working after"}  # of two runs each
        assert counts == {label: 2 if label in twice else 1 for label in counts}
        await world.orchestrator.schedule_recurring(NIGHTLY)
        assert await fired(world, NIGHTLY) == [next(NIGHTLY.slots(world.clock.now()))]


async def test_kills_during_emits_arms_cancels_and_registrations_lose_nothing(
    tmp_path: Path,
) -> None:
    """Whatever a kill cut off is done again: every run ends once, each schedule is armed once."""
    async with own_server(tmp_path) as server, service(server) as world:
        assert isinstance(world.caller, RestateCaller)
        killing = asyncio.create_task(_killed_again_and_again(server))
        run_ids, cancelled, schedules = [], [], [NIGHTLY]
        number = 0
        while not killing.done():
            number += 1
            run_ids.append(await start(world, "short", id=number))
            cancelled.append(await start(world, "waiting"))
            schedules = [replace(NIGHTLY, cron=f"{number % 60} 2 * * *")]
            calls = (
                world.orchestrator.cancel(cancelled[-1]),
                world.caller.arm(schedules),
                world.caller.define(APP),
            )
            for outcome in await asyncio.gather(*calls, return_exceptions=True):
                assert not isinstance(outcome, Exception) or isinstance(outcome, TurnoutError)
            await asyncio.sleep(0.05)
        await killing
        assert set(await all_end(world, run_ids)) == {RunStatus.COMPLETED}
        assert set(await all_end(world, cancelled)) == {RunStatus.CANCELLED}
        assert sorted(done) == sorted(f"short {name}" for name in range(1, number + 1))
        await _nothing_goes_on(world, schedules)


async def _killed_again_and_again(server: OwnServer) -> None:
    for _ in range(4):
        await asyncio.sleep(1.5)
        await server.restart()
    await asyncio.sleep(1)


async def _nothing_goes_on(world: World, schedules: list[Schedule]) -> None:
    """At the server no invocation of a run is left, and one call of each schedule is pending."""
    caller = world.caller
    assert isinstance(caller, RestateCaller)

    async def drained() -> bool:
        return not (await caller.list_runs())[0]

    await until(drained, "the server has no invocation of a run")

    async def armed() -> bool:
        await caller.arm(schedules)
        return [item.cron for item in await caller.armed()] == [schedules[0].cron]

    await until(armed, "the schedule is armed as it was last")
    assert await _pending_ticks(caller) == 1


async def _pending_ticks(caller: RestateCaller) -> int:
    rows = await caller._api.query(
        "SELECT id FROM sys_invocation WHERE target_handler_name = 'tick' AND status != 'completed'"
    )
    return len(rows)


async def test_replicas_that_register_and_arm_at_once_agree(tmp_path: Path) -> None:
    """One address is registered, and one call of each schedule is pending."""
    names = ("a", "b", "c")
    schedules = [replace(NIGHTLY, id=name) for name in names]
    async with own_server(tmp_path) as server, service(server) as world:
        caller = world.caller
        assert isinstance(caller, RestateCaller)
        await asyncio.gather(*(caller.define(APP) for _ in range(6)))
        listed = await caller._api.admin("GET", "/deployments")
        assert len(listed["deployments"]) == 1
        await asyncio.gather(*(caller.arm(schedules) for _ in range(6)))
        assert sorted(item.id for item in await caller.armed()) == sorted(names)

        async def settled() -> bool:
            return await _pending_ticks(caller) == len(names)

        await until(settled, "one call of each is pending")
        assert set(await all_end(world, [await start(world, "short", id=1)])) == {
            RunStatus.COMPLETED
        }


async def test_a_servers_key_is_rotated_while_a_run_waits(tmp_path: Path) -> None:
    """A service that names both keys is called by the server before and after."""
    variable = "RESTATE_REQUEST_IDENTITY_PRIVATE_KEY_PEM_FILE"
    first, second = key_file(tmp_path / "1.pem", SEED), key_file(tmp_path / "2.pem", SECOND_SEED)
    keys = f"{PUBLIC_KEY},{SECOND_PUBLIC_KEY}"
    async with (
        own_server(tmp_path, **{variable: str(first)}) as server,
        service(server, RESTATE_IDENTITY_KEYS=keys) as world,
    ):
        run_id = await start(world, "waiting")

        async def parked() -> bool:
            return bool((await world.orchestrator.status(run_id)).deliveries[-1].token)

        await until(parked, "the run is parked")
        await server.restart(**{variable: str(second)})
        await world.orchestrator.emit(Event(name="go/on", payload={}))
        later = await start(world, "short", id=1)
        assert set(await all_end(world, [run_id, later])) == {RunStatus.COMPLETED}
        assert len((await world.orchestrator.status(run_id)).deliveries) == 1

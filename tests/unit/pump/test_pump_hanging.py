"""The pump beside providers that hang, break or answer nonsense."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from turnout_testing.clock import TurnableClock

from turnout import Context, Event, Timeouts, Turnout, app, open_turnout, task
from turnout.model.status import RunStatus
from turnout.pump.backoff import Backoff
from turnout.pump.lanes import Lanes

pytestmark = pytest.mark.usefixtures("made_up_adapters")
KEY = "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
PATIENCE = 30.0


@task("quick", on="quick/go")
async def quick(_ctx: Context, _payload: dict[str, Any]) -> int:
    """End at once."""
    return 1


@task("gone", on="gone/go", timeouts=Timeouts(run="300ms"))
async def gone(ctx: Context, _payload: dict[str, Any]) -> int:
    """Wait for longer than it may."""
    await ctx.sleep("s", "1h")
    return 1


@task("stay", on="stay/go", timeouts=Timeouts(run="300ms"))
async def stay(ctx: Context, _payload: dict[str, Any]) -> int:
    """Wait for longer than it may."""
    await ctx.sleep("s", "1h")
    return 1


OLD, NEW = app("pumped", gone, stay, quick), app("pumped", stay, quick)


@contextlib.asynccontextmanager
async def server(answer: Callable[[bytes], Awaitable[bytes]]) -> AsyncIterator[str]:
    """Answer every request by its path, on a real socket."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        await reader.readexactly(int(line.split(b":")[1]))
                body = await answer(head.split(b" ")[1])
                kind = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                writer.write(kind + b"content-length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()


def environment(folder: Path, url: str, provider: str) -> dict[str, str]:
    """Settings with a vendor at the url."""
    return {
        "TURNOUT_DATABASE_URL": f"sqlite:///{folder}/t.db",
        "TURNOUT_ARTIFACTS": f"{folder}/artifacts",
        "TURNOUT_SERVICE_URL": "http://127.0.0.1:1",
        "TURNOUT_SIGNING_KEYS": KEY,
        "TURNOUT_LEASE": "2s",
        "ACME_URL": url,
        "ACME_KEY": "right",
        "ORCHESTRATOR_PROVIDER": provider,
    }


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something to be true."""
    async with asyncio.timeout(PATIENCE):
        while not await true():
            await asyncio.sleep(0.05)


async def ended(live: Turnout, name: str) -> RunStatus:
    """Emit an event, and wait for the end of its run."""
    (emitted,) = await live.orchestrator.emit(Event(name=name, payload={}))
    run_id = emitted.runs[0].run_id

    async def over() -> bool:
        return (await live.orchestrator.status(run_id)).journal.run.state.terminal

    await until(over)
    return (await live.orchestrator.status(run_id)).journal.run.state


async def never(_path: bytes) -> bytes:
    """Hang."""
    await asyncio.Event().wait()
    return b""


def usual(path: bytes) -> bytes:
    """Answer as a vendor does that knows the tasks, and whose runs never end."""
    if path == b"/tasks":
        return json.dumps([task.id for task in OLD.tasks]).encode()
    return json.dumps({"state": "calling"}).encode()


async def test_a_hanging_provider_holds_up_no_other_run(tmp_path: Path) -> None:
    """While a vendor hangs on its runs, runs of other providers end and deadlines pass."""
    hanging = False

    async def answer(path: bytes) -> bytes:
        return await never(path) if hanging else usual(path)

    async with server(answer) as url:
        async with open_turnout(OLD, environment(tmp_path, url, "acme")) as live:
            (emitted,) = await live.orchestrator.emit(Event(name="quick/go", payload={}))
            run_id = emitted.runs[0].run_id

            async def sent() -> bool:
                return (await live.store.deliveries.read(run_id))[0].sent_at is not None

            await until(sent)
        hanging = True
        async with open_turnout(OLD, environment(tmp_path, url, "local")) as live:
            async with asyncio.timeout(12):  # one call to the vendor alone hangs for longer
                assert await ended(live, "quick/go") is RunStatus.COMPLETED
                assert await ended(live, "stay/go") is RunStatus.TIMED_OUT


@pytest.mark.parametrize("refusing", [False, True])
async def test_local_is_ready_beside_a_provider_that_is_not(
    tmp_path: Path, *, refusing: bool
) -> None:
    """A provider that hangs or refuses connections keeps only itself from being ready."""
    async with server(never) as url:
        there = "http://127.0.0.1:9" if refusing else url
        async with open_turnout(OLD, environment(tmp_path, there, "local")) as live:

            async def local() -> bool:
                return bool((await live.health())["ready"]["local"])

            await until(local)
            assert not (await live.health())["ready"]["acme"]
            assert await ended(live, "quick/go") is RunStatus.COMPLETED


async def test_a_delivery_that_gets_no_answer_counts_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An adapter that returns nothing is called again, as one whose call fails is."""

    async def answer(path: bytes) -> bytes:
        return usual(path)

    async def nothing(_deliveries: Any) -> None:
        return None

    async with (
        server(answer) as url,
        open_turnout(OLD, environment(tmp_path, url, "acme")) as live,
    ):
        with monkeypatch.context() as patched:
            patched.setattr(live.callers["acme"], "deliver", nothing)
            (emitted,) = await live.orchestrator.emit(Event(name="quick/go", payload={}))
            run_id = emitted.runs[0].run_id

            async def failed() -> bool:
                (delivery,) = await live.store.deliveries.read(run_id)
                return delivery.failures > 1

            await until(failed)

        async def sent() -> bool:
            return (await live.store.deliveries.read(run_id))[0].sent_at is not None

        await until(sent)


@pytest.mark.parametrize("wrong", [b"[1]", b'"x"', b'{"data":"x","pagination":[]}'])
async def test_a_wrong_answer_is_asked_for_again(tmp_path: Path, wrong: bytes) -> None:
    """A provider that answers JSON of a wrong shape becomes ready once it answers rightly."""
    healed = False

    async def answer(path: bytes) -> bytes:
        return usual(path) if healed else wrong

    async with (
        server(answer) as url,
        open_turnout(OLD, environment(tmp_path, url, "acme")) as live,
    ):
        problems = live.registrar.problems

        async def told() -> bool:
            return "acme answered" in problems["acme"]

        await until(told)
        healed = True

        async def ready() -> bool:
            return live.registrar.ready("acme")

        await until(ready)


async def test_a_run_of_an_unknown_task_stops_no_deadline(tmp_path: Path) -> None:
    """A run of a task that this code lacks times out without a hook, and so do later ones."""
    settings = environment(tmp_path, "http://127.0.0.1:9", "local")
    async with open_turnout(OLD, settings) as live:
        (emitted,) = await live.orchestrator.emit(Event(name="gone/go", payload={}))
        run_id = emitted.runs[0].run_id

        async def started() -> bool:
            return (await live.store.journals.load(run_id)).run.started_at is not None

        await until(started)
    async with open_turnout(NEW, settings) as live:
        assert await ended(live, "stay/go") is RunStatus.TIMED_OUT

        async def over() -> bool:
            return (await live.store.journals.load(run_id)).run.state is RunStatus.TIMED_OUT

        await until(over)


async def test_failing_rows_do_not_starve_later_ones() -> None:
    """A batch full of runs that cannot be moved is set aside, and later rows come into sight."""
    rows = [f"bad-{each}" for each in range(20)] + ["good"]
    backoff = Backoff(TurnableClock(), batch=5, wait=10_000)
    moved: list[str] = []

    async def move(run_id: str) -> None:
        if run_id.startswith("bad"):
            raise ValueError(run_id)
        moved.append(run_id)

    for _ in range(10):
        await backoff.move("test", rows[: backoff.limit], move)
    assert moved[:1] == ["good"]


async def test_a_full_lane_takes_no_more_until_it_answers() -> None:
    """What is under way is not begun again, and a lane has bounded calls and bounded keys."""
    gate, calls = asyncio.Event(), list[str]()
    lanes = Lanes(TurnableClock(), at_once=2, capacity=3, hold=1_000)

    async def work(few: Any) -> None:
        calls.extend(few)
        await gate.wait()

    for each in ["a", "a", "b", "c", "d"]:
        lanes.begin("lane", [each], str, work)
    lanes.begin("other", ["a"], str, work)
    await asyncio.sleep(0)
    assert sorted(calls) == ["a", "a", "b"]
    assert lanes.room("lane") == 0
    gate.set()
    await lanes.settle()
    assert sorted(calls) == ["a", "a", "b", "c"]
    assert lanes.room("lane") == 3

"""What a run streams reaches the platform: service, TypeScript worker, offline server, SDK.

`TURNOUT_TRIGGER_CLI` names a folder in which the worker's packages are installed
(`../scripts/worker` does it); without it this is skipped aloud.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

# Test modules are imported by path, so what they share is put on the path by hand.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[3] / "tests"))

from previous_version import previous_environ
from starlette.responses import JSONResponse, Response
from triggerdev_faults import Asked
from triggerdev_stage import Stage, completes, ended, start, until

import turnout
from turnout import Context, Retries, Turnout
from turnout.model.status import RunStatus

pytestmark = [
    pytest.mark.real,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        not os.environ.get("TURNOUT_TRIGGER_CLI"),
        reason="set TURNOUT_TRIGGER_CLI to a folder with the worker's packages",
    ),
]
READER = Path(__file__).parent / "fixtures" / "read_stream.mjs"
SLOW = 150.0
"""Seconds in which the vendor's CLI builds, registers and starts a process on a busy machine."""
BYTES = 200


@dataclass(frozen=True, kw_only=True)
class Set:
    """Where the tests play."""

    stage: Stage
    live: Turnout
    worker: asyncio.subprocess.Process

    async def vendor_run(self, run_id: str) -> str:
        """The vendor run that a run was handed to."""

        async def look() -> Any:
            deliveries = (await self.live.orchestrator.status(run_id)).deliveries
            return deliveries[-1].provider_run_id if deliveries else None

        return str(await until(look, SLOW))

    @asynccontextmanager
    async def reading(
        self, vendor_run: str, stream: str, patience: int = 600
    ) -> AsyncIterator[asyncio.StreamReader]:
        """What the vendor's SDK reads of a stream, a line for each part, as it comes.

        The reading ends when no part has come for some seconds, whether its run has ended or not.
        """
        program = self.stage.folder / "worker" / READER.name
        shutil.copyfile(READER, program)
        reader = await asyncio.create_subprocess_exec(
            "node",
            str(program),
            vendor_run,
            stream,
            str(patience),
            env={**os.environ, **self.stage.environ},
            stdout=asyncio.subprocess.PIPE,
        )
        assert reader.stdout is not None
        try:
            yield reader.stdout
        finally:
            if reader.returncode is None:
                reader.kill()
            await reader.wait()

    async def whole(self, vendor_run: str, stream: str) -> list[Any]:
        """A stream of a run that has ended, from its begin."""
        async with self.reading(vendor_run, stream, patience=2) as lines:
            text = await asyncio.wait_for(lines.read(), SLOW)
        return [json.loads(line) for line in text.splitlines()]

    async def metadata(self, vendor_run: str) -> dict[str, Any]:
        """What the vendor shows of a run beside its state."""
        found = (await self.stage.api.get(f"/api/v3/runs/{vendor_run}")).json()
        shown: dict[str, Any] = (found.get("metadata") or {}).get("turnout", {})
        return shown


def tasks(stage: Stage) -> list[turnout.Task]:
    """Tasks that stream."""
    ledger = stage.ledger

    @turnout.task("writes", on="do/writes")
    async def writes(ctx: Context, payload: Any) -> None:
        async def words() -> None:
            ledger.mark(ctx.run_id, "words")
            for word in ("Once ", "upon "):
                ctx.stream("words", word)
            ctx.progress({"written": 2})
            await ledger.go_on.wait()
            ctx.stream("words", "a time")

        ctx.stream("log", {"at": "begin"})
        await ctx.step("words", words)
        ctx.stream("log", {"at": "end"})

    @turnout.task("again", on="do/again", retries=Retries(max_attempts=2, min_delay="50ms"))
    async def again(ctx: Context, payload: Any) -> None:
        async def words() -> None:
            ctx.stream("words", ["try", ctx.attempt])
            if ctx.attempt == 1:
                raise ValueError("once more")

        await ctx.step("words", words)

    @turnout.task("many", on="do/many")
    async def many(ctx: Context, payload: dict[str, int]) -> None:
        async def words() -> None:
            for number in range(payload["chunks"]):
                ctx.stream("numbers", [number, "ä" * BYTES])

        await ctx.step("words", words)

    return [writes, again, many]


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=[False, True], ids=["today's", "previous"]
)
async def here(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Set]:
    """The offline server, a service and the vendor's CLI with a worker: ours, the one before."""
    previous = previous_environ() if request.param else None
    stage = Stage(tmp_path_factory.mktemp("streams") / "stage")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(stage.server())
        app = stage.app(*tasks(stage))
        live = await stack.enter_async_context(stage.service(app))
        worker = await stack.enter_async_context(stage.real_worker_process(app, previous=previous))

        async def ready() -> Any:
            return live.registrar.ready("triggerdev")

        await until(ready, SLOW)
        yield Set(stage=stage, live=live, worker=worker)


async def test_the_vendors_own_sdk_reads_a_stream_while_it_is_written(here: Set) -> None:
    """Chunks and progress are there while the step goes on; the rest follows, once, in order."""
    stage = here.stage
    stage.ledger.go_on.clear()
    run_id = await start(here.live, "writes")
    vendor_run = await here.vendor_run(run_id)

    async def told() -> Any:
        return "told" in await here.metadata(vendor_run)

    async with here.reading(vendor_run, "words") as lines:
        first = [await asyncio.wait_for(lines.readline(), SLOW) for _ in range(2)]
        await until(told, SLOW)
        stage.ledger.go_on.set()
        last = await asyncio.wait_for(lines.readline(), SLOW)
    words = ["Once ", "upon ", "a time"]
    assert [json.loads(each) for each in [*first, last]] == words
    await completes(stage, here.live, run_id)
    assert await here.whole(vendor_run, "words") == words
    assert await here.whole(vendor_run, "log") == [{"at": "begin"}, {"at": "end"}]
    shown = await here.metadata(vendor_run)
    assert (shown["told"], shown["passed"]) == ({"written": 2}, 5)


async def test_an_attempt_that_is_made_again_shows_again(here: Set) -> None:
    """A stream tells what happened: what each attempt streamed."""
    run_id = await start(here.live, "again")
    report = await ended(here.live, run_id)
    assert report.journal.run.state is RunStatus.COMPLETED
    found = await here.whole(await here.vendor_run(run_id), "words")
    assert found == [["try", 1], ["try", 2]]


async def test_many_chunks_are_passed_on_whole(here: Set) -> None:
    """More than fit into one answer: all of them, in order."""
    run_id = await start(here.live, "many", chunks=3_000)
    report = await ended(here.live, run_id)
    assert report.journal.run.chunks == 3_000
    found = await here.whole(await here.vendor_run(run_id), "numbers")
    assert found == [[number, "ä" * BYTES] for number in range(3_000)]


async def test_a_worker_that_dies_writes_no_chunk_twice(here: Set) -> None:
    """The vendor's next attempt of the run goes on after what the one before had passed on."""
    stage = here.stage
    stage.ledger.go_on.clear()
    run_id = await start(here.live, "writes")
    vendor_run = await here.vendor_run(run_id)

    async def passed() -> Any:
        return (await here.metadata(vendor_run)).get("passed") == 3

    await until(passed, SLOW)
    for process in below(here.worker.pid):
        os.kill(process, signal.SIGKILL)
    stage.ledger.go_on.set()
    report = await ended(here.live, run_id)
    assert report.journal.run.state is RunStatus.COMPLETED
    seen = await stage.vendor_run(vendor_run)
    assert seen["attemptCount"] == 2
    assert await here.whole(vendor_run, "words") == ["Once ", "upon ", "a time"]
    assert await here.whole(vendor_run, "log") == [{"at": "begin"}, {"at": "end"}]


async def test_a_platform_that_takes_no_streams_leaves_the_run_alone(here: Set) -> None:
    """The run ends well, in its one attempt and its one process; the journal has the chunks."""
    stage = here.stage

    def refuse(asked: Asked) -> Response | None:
        refused = asked.method != "HEAD" and asked.path.startswith("/realtime/")
        return JSONResponse({"error": "no streams here"}, 403) if refused else None

    stage.server_side.fault = refuse
    try:
        run_id = await start(here.live, "again")
        report = await ended(here.live, run_id)
        seen = await stage.vendor_run(await here.vendor_run(run_id))
    finally:
        stage.server_side.fault = lambda _asked: None
    assert (seen["status"], seen["attemptCount"]) == ("COMPLETED", 1)
    assert report.journal.run.chunks == 2
    assert any(each.status == 403 for each in stage.server_side.asked)


def below(process: int) -> list[int]:
    """The processes in which the CLI runs tasks."""
    children = Path(f"/proc/{process}/task/{process}/children")
    found = [int(each) for each in children.read_text().split()]
    running = [each for each in found if "run-worker" in Path(f"/proc/{each}/cmdline").read_text()]
    assert running, found
    return running

"""The vendor's own CLI and SDK, unmodified, on the offline server.

`TURNOUT_TRIGGER_CLI` names a folder in which `npm install trigger.dev@4.8.3 @trigger.dev/sdk@4.8.3`
was run; without it this is skipped aloud.
"""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from turnout_triggerdev_double.nodeworker import importing

CLI = os.environ.get("TURNOUT_TRIGGER_CLI")
pytestmark = [
    pytest.mark.real,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(400),
    pytest.mark.skipif(not CLI, reason="set TURNOUT_TRIGGER_CLI to a folder with the vendor's CLI"),
]
PROJECT = Path(__file__).parent / "fixtures" / "cli"
SLOW = 60.0


@contextmanager
def running(url: str, settings: dict[str, str]) -> Iterator[None]:
    """`trigger dev` on a small project, until the block ends."""
    assert CLI
    folder = Path(CLI) / f"proof-{os.getpid()}"
    shutil.copytree(PROJECT, folder)
    (folder / "package.json").write_text('{"name": "proof", "type": "module"}')
    home = str(folder / "home")
    more = {"HOME": home, "XDG_CONFIG_HOME": home, "TRIGGER_API_URL": url}
    more["NODE_OPTIONS"] = importing(folder / "offline.mjs")
    quiet = ("--skip-update-check", "--skip-platform-notifications", "--skip-telemetry")
    process = subprocess.Popen(
        [str(Path(CLI) / "node_modules/.bin/trigger"), "dev", *quiet, "-a", url],
        cwd=folder,
        env={**os.environ, **settings, **more},
        stdin=subprocess.DEVNULL,
        stdout=(folder / "cli.log").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(server_process: Any) -> AsyncIterator[Any]:
    """The server's API, once the CLI has registered its tasks."""
    async with server_process() as served:
        with running(served.api.url, served.settings):
            await served.registered(120.0)
            yield served.api


async def ended(api: Any, task: str, payload: Any = None, **options: Any) -> Any:
    """A run of the task, ended."""
    return await api.ended(await api.trigger(task, payload, **options), SLOW)


async def test_a_task_runs_and_shows_its_metadata_and_tags(api: Any) -> None:
    """Payload in, output out; the SDK's metadata and tags arrive."""
    run = await ended(api, "hello", {"name": "cli"})
    assert (run["status"], run["output"]) == ("COMPLETED", {"greeting": "hello cli"})
    assert (run["metadata"], run["tags"]) == ({"attempt": 1}, ["seen"])


async def test_the_sdks_retries_and_aborts_are_followed(api: Any) -> None:
    """Three attempts in place; an abort is one attempt."""
    run = await ended(api, "flaky")
    assert (run["status"], run["attemptCount"], run["output"]) == ("COMPLETED", 3, 3)
    run = await ended(api, "aborts")
    assert (run["status"], run["attemptCount"]) == ("FAILED", 1)


async def test_a_parent_waits_for_children_and_batches(api: Any) -> None:
    """Good and failed children, and a batch in its order."""
    run = await ended(api, "parent")
    assert run["output"] == {"good": "a", "bad": False, "batch": ["x", "y"]}
    assert len(run["relatedRuns"]["children"]) == 4


async def test_waits_end_by_time_by_token_and_by_timeout(api: Any) -> None:
    """wait.for over the server, a token completed over REST, a token that times out."""
    run = await api.trigger("waiter")

    async def token() -> str | None:
        found = (await api.get("/api/v1/waitpoints/tokens"))["data"]
        return next((t["id"] for t in found if t["idempotencyKey"] == "cli-token"), None)

    async with asyncio.timeout(SLOW):
        while (wanted := await token()) is None:
            await asyncio.sleep(0.1)
    await api.post(f"/api/v1/waitpoints/tokens/{wanted}/complete", {"data": {"ok": 1}})
    seen = await api.ended(run, SLOW)
    assert seen["output"] == {"woken": {"ok": 1}, "timedOut": True}


async def test_large_payloads_and_outputs_are_handed_on_whole(api: Any) -> None:
    """Over 128 KB they are packets: from a task to its child and back, and to who reads them."""
    run = await ended(api, "reads-large")
    assert run["output"] == [163_840, 163_840, 163_840]
    for child in run["relatedRuns"]["children"]:
        seen = await api.run(child["id"])
        assert "output" not in seen
        answer = await api.client.get(seen["outputPresignedUrl"])
        is_text = answer.headers["content-type"] == "text/plain"
        assert len(answer.text if is_text else answer.json()["json"]["echoed"]) == 163_840


async def test_a_run_waits_for_an_input(api: Any) -> None:
    """The next one completes the wait, or its time limit; to listen needs streams of v2."""
    run = await api.trigger("approved")
    path = f"/realtime/v1/streams/{run}/input/approval"

    async def wait() -> bool:
        found = (await api.get("/api/v1/waitpoints/tokens"))["data"]
        return any(token["status"] == "WAITING" for token in found)

    async with asyncio.timeout(SLOW):
        while not await wait():
            await asyncio.sleep(0.1)
    assert (await api.post(path, {"data": {"by": "ann"}})) == {"ok": True}
    seen = await api.ended(run, SLOW)
    assert seen["output"] == {"by": "ann", "late": True}
    failed = await ended(api, "listens", maxAttempts=1)
    assert "Input streams require v2 realtime streams" in failed["error"]["message"]


async def test_a_queue_of_one_serialises_the_sdks_runs(api: Any) -> None:
    """No two runs overlap."""
    runs = [await api.trigger("serial") for _ in range(3)]
    outputs = [(await api.ended(run, SLOW))["output"] for run in runs]
    spans = sorted((each["start"], each["end"]) for each in outputs)
    assert all(spans[index][1] <= spans[index + 1][0] for index in range(2))


async def test_a_cancel_reaches_the_task_process(api: Any) -> None:
    """The CLI ends the run once it hears of the cancel."""
    run = await api.trigger("slow")
    async with asyncio.timeout(SLOW):
        while (await api.run(run))["attemptCount"] == 0:
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        await api.post(f"/api/v2/runs/{run}/cancel")
        while "finishedAt" not in (seen := await api.run(run)):
            await asyncio.sleep(0.1)
    assert seen["status"] == "CANCELED"


async def test_the_longest_duration_is_kept(api: Any) -> None:
    """TIMED_OUT, after one attempt."""
    run = await ended(api, "too-long")
    assert (run["status"], run["attemptCount"]) == ("TIMED_OUT", 1)


async def test_generated_tasks_and_schedules_work(api: Any) -> None:
    """Tasks made in a loop register; a scheduled task gets real dates at an exact tick."""
    assert (await ended(api, "generated-b"))["output"] == "generated-b"
    wanted = {"task": "tick", "cron": "* * * * *", "deduplicationKey": "d", "window": "0m"}
    made = await api.post("/api/v1/schedules", wanted | {"externalId": "e"})
    async with asyncio.timeout(120):
        path = f"/api/v1/runs?filter[schedule]={made['id']}"
        while not (found := (await api.get(path))["data"]):
            await asyncio.sleep(0.5)
    run = await api.ended(found[0]["id"], 2 * SLOW)
    assert run["output"] == {"isDate": True, "externalId": "e", "upcoming": 10}
    assert run["startedAt"] >= made["nextRun"]

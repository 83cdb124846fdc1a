"""The vendor's own SDK, unmodified, called from outside of a run, on the offline server.

`TURNOUT_TRIGGER_CLI` names a folder in which the worker's packages are installed
(`../scripts/worker` does it); without it this is skipped aloud.
"""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

CLI = os.environ.get("TURNOUT_TRIGGER_CLI")
pytestmark = [
    pytest.mark.real,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(400),
    pytest.mark.skipif(not CLI, reason="set TURNOUT_TRIGGER_CLI to a folder with the vendor's SDK"),
]
PROGRAM = Path(__file__).parent / "fixtures" / "sdk.mjs"
REFUSED = "The offline server has no {}: {} needs a real Trigger.dev server"
USED = "Cannot trigger work with a one-time use token as it has already been used."
VALUES: Mapping[str, Any] = {
    # Payloads over 128 KB, which the SDK puts into packets.
    "largeText": True,
    "largeObject": 163_840,
    "largeItem": 163_840,
    # Public tokens: signed by the SDK, for all, for a tag, for one use; and those of handles.
    "publicToken": [True, True, True, True, "TriggerApiError", "TriggerApiError"],
    "triggerTokenOnce": ["Unauthorized", True, USED],
    "triggerTokenOften": True,
    "batchToken": 1,
    "handlesOwnToken": True,
    "waitTokensOwnToken": {"status": "COMPLETED", "output": {"ok": 1}},
    "tokensByStatus": [[True], []],
    # Subscriptions: the runs as they are, and then their changes.
    "followedRun": ["DELAYED", "CANCELED"],
    "followedTag": [True, True, {"n": 1}],
    "followedWithFewColumns": [True, None, None],
    "followedWithAToken": True,
    # A batch has no runs at first; then they are made, and it waits for their ends.
    "batchAtOnce": {"status": "PROCESSING", "runs": 0, "runCount": 2},
    "batchSoon": {"status": "PENDING", "runs": 2, "done": True},
    # A date that has passed is refused.
    "rescheduled": [400, "DELAYED", "DELAYED"],
    # A stream ends when nothing comes for a time, also after its run.
    "endedStream": [["one", "two"], "CANCELED"],
    "emptyStream": [],
    "input": "Cannot send to input stream on a completed run",
}
REFUSALS: Mapping[str, str] = {
    "sessions": REFUSED.format("sessions", "GET /api/v1/sessions"),
    "sessionStream": "422 Could not subscribe to stream",
    "query": REFUSED.format("queries and dashboards", "POST /api/v1/query"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lines(server_process: Any) -> AsyncIterator[dict[str, Any]]:
    """What the program printed, by check."""
    assert CLI
    program = Path(CLI) / f"sdk-{os.getpid()}.mjs"
    shutil.copyfile(PROGRAM, program)
    try:
        async with server_process() as served:
            path = f"/api/v1/projects/{served.settings['TRIGGER_PROJECT_REF']}/background-workers"
            tasks = [{"id": "work", "filePath": "src/tasks.ts"}]
            await served.api.post(path, {"metadata": {"contentHash": "h", "tasks": tasks}})
            process = await asyncio.create_subprocess_exec(
                "node",
                str(program),
                env={**os.environ, **served.settings, "TRIGGER_API_URL": served.api.url},
                stdout=asyncio.subprocess.PIPE,
            )
            output, _ = await process.communicate()
        yield {line["name"]: line for line in map(json.loads, output.splitlines())}
    finally:
        program.unlink()


@pytest.mark.parametrize("check", VALUES)
async def test_the_sdk_gets_what_the_real_server_gives(lines: dict[str, Any], check: str) -> None:
    """Facts of a self-hosted 4.5.12 server and of the vendor's public source."""
    assert lines[check] == {"name": check, "value": VALUES[check]}


@pytest.mark.parametrize("check", REFUSALS)
async def test_what_is_not_served_is_refused_in_words(lines: dict[str, Any], check: str) -> None:
    """An error that names it, at the first try; never a wait without an end."""
    error = {"kind": "TriggerApiError", "message": REFUSALS[check]}
    assert lines[check] == {"name": check, "error": error}


async def test_all_checks_are_looked_at(lines: dict[str, Any]) -> None:
    """The program has no check that is not compared here."""
    assert lines.keys() == {**VALUES, **REFUSALS}.keys()

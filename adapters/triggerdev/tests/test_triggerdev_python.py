"""The vendor's own way for Python scripts, as the example in `examples/python` shows it.

By the unmodified CLI, on the offline server; `TURNOUT_TRIGGER_PYTHON` names a folder with the
worker's packages and @trigger.dev/python (`../scripts/worker --python`). Skipped aloud without it.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

pytestmark = [
    pytest.mark.real,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        not os.environ.get("TURNOUT_TRIGGER_PYTHON"),
        reason="set TURNOUT_TRIGGER_PYTHON (../scripts/worker --python)",
    ),
]
EXAMPLE = Path(__file__).parents[1] / "examples/python"
SLOW = 90.0
SLEEPS = """\
import os, sys, time
from pathlib import Path

Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(120)
"""
SLEEPER = """\
import { python } from "@trigger.dev/python";
import { task } from "@trigger.dev/sdk";

export const sleeper = task({
  id: "sleeper",
  retry: { maxAttempts: 1 },
  run: async ({ file }: { file: string }) => python.runScript("./scripts/sleeps.py", [file]),
});
"""


def with_example(folder: Path) -> None:
    """Put the example over a worker's folder, as a team would, and a script that only sleeps."""
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    (folder / "scripts/sleeps.py").write_text(SLEEPS)
    (folder / "src/trigger/sleeper.ts").write_text(SLEEPER)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scripts(rig_with: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """The offline server, and the worker with the example."""
    environ = {"TURNOUT_TRIGGER_CLI": os.environ["TURNOUT_TRIGGER_PYTHON"]}
    async with rig_with(tmp_path_factory.mktemp("python"), with_example, environ) as rig:
        yield rig


async def test_a_script_gets_json_and_gives_its_last_line(scripts: Any) -> None:
    """Its output is the run's; the secrets that the task empties are out of its reach."""
    run = await scripts.api.trigger("convert", {"celsius": [0, 100, -40]})
    ended = await scripts.api.ended(run, SLOW)
    assert (ended["status"], ended["output"]) == (
        "COMPLETED",
        {"fahrenheit": [32.0, 212.0, -40.0], "secrets": []},
    )


async def test_a_script_that_fails_is_run_again_from_its_start(scripts: Any) -> None:
    """The vendor's attempts are all there is: no step is kept; stderr is the error's text."""
    run = await scripts.api.trigger("convert", {"celsius": [0, -300]})
    ended = await scripts.api.ended(run, SLOW)
    assert (ended["status"], ended["attemptCount"]) == ("FAILED", 2)
    assert "-300 is colder than possible" in ended["error"]["message"]


async def test_a_wrong_payload_starts_no_script(scripts: Any) -> None:
    """What stays wrong is not tried again."""
    run = await scripts.api.trigger("convert", {"celsius": "warm"})
    ended = await scripts.api.ended(run, SLOW)
    assert (ended["status"], ended["attemptCount"]) == ("FAILED", 1)
    assert "must be a list of numbers" in ended["error"]["message"]


async def test_the_workers_own_tasks_are_there_beside_the_scripts(scripts: Any, rid: str) -> None:
    """The example takes nothing from the worker."""
    scripts.peer.run(rid, ("steps", "a"))
    run = await scripts.api.ended(await scripts.api.deliver(rid), SLOW)
    assert run["status"] == "COMPLETED"


async def test_a_script_outlives_the_cancel_of_its_run(scripts: Any, tmp_path: Path) -> None:
    """A limit of this way: nobody tells the script, and nobody ends it."""
    file = tmp_path / "pid"
    run = await scripts.api.trigger("sleeper", {"file": str(file)})
    async with asyncio.timeout(SLOW):
        while not file.exists() or not file.read_text():
            await asyncio.sleep(0.05)
    await scripts.api.post(f"/api/v2/runs/{run}/cancel")
    assert (await scripts.api.ended(run, SLOW))["status"] == "CANCELED"
    async with asyncio.timeout(SLOW):
        while "finishedAt" not in await scripts.api.run(run):
            await asyncio.sleep(0.05)
    pid = int(file.read_text())
    os.kill(pid, 0)  # It lives.
    os.kill(pid, 9)

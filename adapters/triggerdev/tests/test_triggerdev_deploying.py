"""A whole deployment by the vendor's unmodified CLI, against the offline server.

Only the image is missing: `fixtures/docker/docker` stands for Docker, and runs of the build what
speaks to the server. Then the stand-in takes the new version's runs, as a container would.
"""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from turnout_triggerdev.definition import FILE, write_definition
from turnout_triggerdev.deploy import DeployStep, Target, deployed, in_folder, read_target
from turnout_triggerdev_double.nodeworker import prepare, surroundings
from turnout_triggerdev_double.server.main import ACCESS_TOKEN, KEYS, PROJECT_REF

from turnout.model.tasks import App, app, task

pytestmark = [
    pytest.mark.real,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not os.environ.get("TURNOUT_TRIGGER_CLI"),
        reason="set TURNOUT_TRIGGER_CLI to a folder with the worker's packages",
    ),
]
SIGNING_KEY = "whsec_" + "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="
DOCKER = Path(__file__).parent / "fixtures/docker"


@task("work", on="work/wanted")
async def work(ctx: Any, payload: Any) -> None:
    """A task."""


class Deploying:
    """A worker's folder, a service that answers probes, the server, and what was called."""

    def __init__(self, url: str, folder: Path, service: str, peer: Any) -> None:
        self.folder, self.peer = folder, peer
        self.service: App = app("mine", work)
        self.calls = folder / "docker.calls"
        self.environ = {
            "TRIGGER_API_URL": url,
            "TRIGGER_SECRET_KEY": KEYS["prod"],
            "TRIGGER_ACCESS_TOKEN": ACCESS_TOKEN,
            "TRIGGER_PROJECT_REF": PROJECT_REF,
            "TURNOUT_SIGNING_KEYS": SIGNING_KEY,
        }
        write_definition(folder.parent, self.service, service)
        prepare(folder, folder.parent / FILE, os.environ)
        self.target: Target = read_target(self.environ, "prod", folder, self.service, service)
        self.worker: subprocess.Popen[bytes] | None = None

    async def steps(self) -> list[DeployStep]:
        """Deploy; the stand-in runs what Docker would."""
        return [step async for step in deployed(self.target, self._run)]

    def _run(self, command: Sequence[str]) -> int:
        code = in_folder(self.folder, self._surroundings())(command)
        if code == 0 and self.worker is None:
            argv = [sys.executable, "-m", "turnout_triggerdev_double.standin", "--no-register"]
            argv += ["--definition", str(self.folder / FILE)]
            self.worker = subprocess.Popen(argv, env={**os.environ, **self.environ})
        return code

    def _surroundings(self) -> Mapping[str, str]:
        path = f"{DOCKER}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": path, "CI": "1", "TURNOUT_DOCKER_CALLS": str(self.calls)}
        return surroundings(self.folder.resolve(), {**os.environ, **self.environ, **own})

    def stop(self) -> None:
        """End the stand-in."""
        if self.worker is not None:
            self.worker.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.worker.wait(10)


@pytest_asyncio.fixture(loop_scope="module")
async def deploying(
    server_process: Any, scripted: Any, listening: Any, tmp_path: Path
) -> AsyncIterator[tuple[Deploying, Any]]:
    """All that a deployment needs, and the server's API as the production environment."""
    async with server_process() as served, listening(scripted.app()) as service:
        made = Deploying(served.api.url, tmp_path / "worker", service, scripted)
        try:
            yield made, served.api
        finally:
            made.stop()


async def test_the_cli_deploys_the_worker_and_the_recipe_promotes_it(
    deploying: tuple[Deploying, Any],
) -> None:
    """Built, indexed and finalized by the CLI, not promoted; looked through; then promoted."""
    made, api = deploying
    headers = {"authorization": f"Bearer {KEYS['prod']}"}

    async def ask(path: str) -> Any:
        return (await api.call("GET", f"/api/v1/deployments{path}", headers=headers)).json()

    steps = await made.steps()
    assert all(each.ok for each in steps), steps
    names = [each.name.rpartition(": ")[2] for each in steps]
    assert names[-6:] == ["worker", "network", "clock", "signature", "definition", "promote"]
    (listed,) = (await ask(""))["data"]
    assert (listed["status"], (await ask("/current"))["version"]) == ("DEPLOYED", listed["version"])
    shown = await ask(f"/{listed['id']}")
    assert [each["slug"] for each in shown["worker"]["tasks"]] == [
        *("work", "turnout-tick", "turnout-probe"),
    ]
    assert shown["imageReference"].endswith("@sha256:" + "0" * 64)
    assert KEYS["prod"] not in made.calls.read_text()
    calls = [json.loads(line) for line in made.calls.read_text().splitlines()]
    assert [each[:2] for each in calls if each[:1] == ["buildx"]] == [
        *(["buildx", "version"], ["buildx", "ls"], ["buildx", "build"]),
    ]


async def test_a_worker_that_does_not_load_is_no_version(deploying: tuple[Deploying, Any]) -> None:
    """What fails at indexing fails the deployment, and the CLI, and so the recipe."""
    made, api = deploying
    broken = made.folder / "src/trigger/broken.ts"
    broken.write_text('throw new Error("cannot be loaded");\n')
    *_, last = await made.steps()
    assert (last.name, last.ok) == ("worker", False)
    headers = {"authorization": f"Bearer {KEYS['prod']}"}
    (listed,) = (await api.call("GET", "/api/v1/deployments", headers=headers)).json()["data"]
    assert listed["status"] == "FAILED"
    assert "cannot be loaded" in json.dumps(listed["error"])

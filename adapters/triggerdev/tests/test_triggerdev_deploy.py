"""A deployment, step by step, against the offline server; only the vendor's build is left out.

In its place the stand-in registers with the environment's key, which counts as deployed.
"""

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from starlette.responses import JSONResponse, Response
from turnout_triggerdev.definition import FILE, write_definition
from turnout_triggerdev.deploy import DeployStep, Target, deployed, read_target
from turnout_triggerdev_double.server.main import ACCESS_TOKEN, KEYS, PROJECT_REF

from turnout.errors import InvalidSettings
from turnout.model.tasks import app, task

pytestmark = pytest.mark.asyncio(loop_scope="module")
SIGNING_KEY = "whsec_" + "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="
VARIABLES = f"/api/v1/projects/{PROJECT_REF}/envvars/prod"


@task("work", on="work/wanted")
async def work(ctx: Any, payload: Any) -> None:
    """A task."""


@task("more", on="more/wanted")
async def more(ctx: Any, payload: Any) -> None:
    """Another."""


@dataclass(kw_only=True)
class Deployment:
    """A target, and what stands for the vendor's build."""

    target: Target
    peer: Any
    exit_code: int = 0
    commands: list[Sequence[str]] = field(default_factory=list)
    worker: subprocess.Popen[bytes] | None = None

    async def steps(self, **changed: Any) -> list[DeployStep]:
        return [step async for step in deployed(replace(self.target, **changed), self._run)]

    def refuse(self, status: int) -> None:
        def refuse(message: dict[str, Any]) -> Response:
            return JSONResponse({"code": "no", "message": "said no"}, status)

        self.peer.overrides.append(refuse)

    def _run(self, command: Sequence[str]) -> int:
        self.commands.append(command)
        if self.exit_code == 0:
            argv = [sys.executable, "-m", "turnout_triggerdev_double.standin", "--definition"]
            environ = {**os.environ, **given(self.target.settings.api_url)}
            self.worker = subprocess.Popen([*argv, str(self.target.folder / FILE)], env=environ)
            self._registered()
        return self.exit_code

    def _registered(self) -> None:
        url = f"{self.target.settings.api_url}/api/v1/deployments"
        headers = {"authorization": f"Bearer {KEYS['prod']}"}
        end = time.monotonic() + 20
        while not httpx.get(url, headers=headers).json()["data"]:
            assert time.monotonic() < end, "the stand-in does not register"
            time.sleep(0.05)


def given(url: str) -> dict[str, str]:
    """The environment that a deployment reads."""
    return {
        "TRIGGER_API_URL": url,
        "TRIGGER_SECRET_KEY": KEYS["prod"],
        "TRIGGER_ACCESS_TOKEN": ACCESS_TOKEN,
        "TRIGGER_PROJECT_REF": PROJECT_REF,
        "TURNOUT_SIGNING_KEYS": SIGNING_KEY,
    }


def platform(deployment: Deployment) -> httpx.AsyncClient:
    """The platform, as the environment that is deployed to."""
    url = deployment.target.settings.api_url
    headers = {"authorization": f"Bearer {KEYS['prod']}"}
    return httpx.AsyncClient(base_url=url, headers=headers)


@pytest_asyncio.fixture(loop_scope="module")
async def deployment(
    server_process: Any, scripted: Any, listening: Any, tmp_path: Path
) -> AsyncIterator[Deployment]:
    """A built worker's folder, a service that answers probes, and the server."""
    service = app("mine", work)
    async with server_process() as served, listening(scripted.app()) as url:
        write_definition(tmp_path, service, url)
        target = read_target(given(served.api.url), "prod", tmp_path, service, url)
        made = Deployment(target=target, peer=scripted)
        try:
            yield made
        finally:
            if made.worker is not None:
                made.worker.terminate()
                made.worker.wait(10)


async def test_a_deployment_takes_its_steps_in_order(deployment: Deployment) -> None:
    """The service first, then the worker, secrets, a look through it, and the promotion."""
    steps = await deployment.steps()
    names = [each.name.rpartition(": ")[2] for each in steps]
    assert names[:4] == ["definition", "service", "worker", "secrets"]
    assert names[4:] == ["worker", "network", "clock", "signature", "definition", "promote"]
    assert all(each.ok for each in steps), steps
    (command,) = deployment.commands
    assert command[:6] == ["npx", "--no-install", "trigger", "deploy", "--env", "prod"]
    assert "--skip-promotion" in command


async def test_secrets_reach_the_workers_environment_and_nobody_else(
    deployment: Deployment,
) -> None:
    """Both names are set; no step shows a value."""
    steps = await deployment.steps()
    async with platform(deployment) as client:
        listed = {each["name"]: each for each in (await client.get(VARIABLES)).json()}
        assert listed["TURNOUT_SIGNING_KEYS"]["value"] == "<redacted>"
        assert listed["TURNOUT_SIGNING_KEYS"]["isSecret"]
        assert listed["TURNOUT_SERVICE_URL"]["value"] == deployment.target.service_url
        cli = await client.get(f"/api/v1/projects/{PROJECT_REF}/envvars")
        assert cli.json()["variables"]["TURNOUT_SIGNING_KEYS"] == SIGNING_KEY
    assert not any(SIGNING_KEY[6:20] in each.text + each.fix for each in steps)
    assert SIGNING_KEY not in repr(deployment.target)


@pytest.mark.parametrize(("status", "told"), [(401, "TURNOUT_SIGNING_KEYS"), (426, "first")])
async def test_a_service_that_is_not_ready_ends_it_before_anything_is_changed(
    deployment: Deployment, status: int, told: str
) -> None:
    """A worker that the service would refuse is not deployed."""
    deployment.refuse(status)
    *_, last = await deployment.steps()
    assert (last.name, last.ok, told in last.fix) == ("service", False, True)
    assert deployment.commands == []


async def test_a_service_that_is_away_is_told(deployment: Deployment) -> None:
    """Nothing is deployed for an address that nobody answers."""
    *_, last = await deployment.steps(service_url="http://127.0.0.1:1")
    assert (last.name, last.ok) == ("service", False)


async def test_a_stale_definition_is_not_deployed(deployment: Deployment) -> None:
    """The file must be of the app; what is committed is what runs."""
    (only,) = await deployment.steps(app=app("mine", work, more))
    assert (only.name, only.ok) == ("definition", False)
    assert "build" in only.fix


async def test_a_failed_build_is_not_promoted(deployment: Deployment) -> None:
    """The CLI's exit code ends it."""
    deployment.exit_code = 1
    *_, last = await deployment.steps()
    assert (last.name, last.ok) == ("worker", False)
    async with platform(deployment) as client:
        assert (await client.get(VARIABLES)).json() == []


async def test_a_worker_that_was_not_promoted_leaves_the_running_one_its_variables(
    deployment: Deployment,
) -> None:
    """What could be read is put back, what was not there is taken away, the rest is named."""
    old = "https://old.example.org"

    def refuse(message: dict[str, Any]) -> Response | None:
        # The deployment's own question is the first; the worker's come after.
        return None if not deployment.commands else JSONResponse({"code": "no"}, 401)

    deployment.peer.overrides.append(refuse)
    async with platform(deployment) as client:
        await client.post(VARIABLES, json={"name": "TURNOUT_SERVICE_URL", "value": old})
        *_, failed, told = await deployment.steps()
        assert (failed.name.startswith("through"), failed.ok, told.ok) == (True, False, True)
        assert failed.fix.startswith("deploy with the service's own TURNOUT_SIGNING_KEYS; then")
        assert failed.fix.endswith("is not promoted, runs start in the one before")
        assert told.text == "put back: TURNOUT_SIGNING_KEYS, TURNOUT_SERVICE_URL"
        (left,) = (await client.get(VARIABLES)).json()
        assert left == {"name": "TURNOUT_SERVICE_URL", "value": old, "isSecret": False}


async def test_a_secret_that_cannot_be_put_back_is_named(deployment: Deployment) -> None:
    """The platform shows no secret's value, so nobody could put it back unseen."""

    def refuse(message: dict[str, Any]) -> Response | None:
        return None if not deployment.commands else JSONResponse({"code": "no"}, 401)

    deployment.peer.overrides.append(refuse)
    async with platform(deployment) as client:
        old = {"name": "TURNOUT_SIGNING_KEYS", "value": "whsec_old", "isSecret": True}
        await client.post(VARIABLES, json=old)
        *_, told = await deployment.steps()
        assert not told.ok
        assert "read back: TURNOUT_SIGNING_KEYS" in told.text
        assert told.text.startswith("put back: TURNOUT_SERVICE_URL;")


async def test_a_keys_own_name_tells_its_environment(tmp_path: Path) -> None:
    """A key of another environment is refused, whatever else is said of it."""
    service = app("mine", work)
    wrong = {**given("http://a"), "TRIGGER_SECRET_KEY": "tr_dev_x"}
    for more in ({}, {"TRIGGER_ENVIRONMENT": "prod"}):
        with pytest.raises(InvalidSettings, match=r"SECRET_KEY is of dev, and --env is prod"):
            read_target({**wrong, **more}, "prod", tmp_path, service, "http://a")
    unnamed = {**given("http://a"), "TRIGGER_SECRET_KEY": "key"}
    assert read_target(unnamed, "staging", tmp_path, service, "http://a").settings.scope == "stg"


@pytest.mark.parametrize(
    "url", ["http://localhost:8", "http://a.localhost", "http://127.9.0.1", "http://[::1]:8"]
)
async def test_a_service_at_loopback_is_refused_for_a_platform_elsewhere(
    tmp_path: Path, url: str
) -> None:
    """A container's localhost is the container; a flag is for those who know better."""
    service, far = app("mine", work), given("https://trigger.example.org")
    with pytest.raises(InvalidSettings, match="--loopback"):
        read_target(far, "prod", tmp_path, service, url)
    assert read_target(far, "prod", tmp_path, service, url, loopback=True)
    assert read_target(given("http://127.0.0.1:3040"), "prod", tmp_path, service, url)


@pytest.mark.parametrize("given_as", ["stg", "staging"])
@pytest.mark.parametrize("asked", ["stg", "staging"])
async def test_staging_has_two_names(tmp_path: Path, given_as: str, asked: str) -> None:
    """What the API calls it and what the CLI does are both taken, in the setting and the option."""
    settings = {**given("http://a"), "TRIGGER_SECRET_KEY": "tr_stg_x"}
    settings["TRIGGER_ENVIRONMENT"] = given_as
    target = read_target(settings, asked, tmp_path, app("mine", work), "https://a.example")
    assert (target.environment, target.settings.environment) == ("staging", "stg")


async def test_a_deployment_names_all_that_is_missing(tmp_path: Path) -> None:
    """All at once, and an environment that the key is not of."""
    service = app("mine", work)
    with pytest.raises(InvalidSettings, match=r"TRIGGER_SECRET_KEY, .*TURNOUT_SIGNING_KEYS"):
        read_target({}, "prod", tmp_path, service, "http://a")
    with pytest.raises(InvalidSettings, match=r"--env is one of prod, staging, preview"):
        read_target({}, "dev", tmp_path, service, "http://a")
    other = {**given("http://a"), "TRIGGER_ENVIRONMENT": "stg"}
    with pytest.raises(InvalidSettings, match=r"--env is prod"):
        read_target(other, "prod", tmp_path, service, "http://a")

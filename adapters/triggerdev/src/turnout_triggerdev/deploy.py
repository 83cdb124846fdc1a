"""The steps of a deployment, in order; the first that fails ends it.

Ask the service, deploy the worker, set the variables, probe the service from the new version, and
only then promote that version.
"""

import asyncio
import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import orjson
from standardwebhooks.webhooks import Webhook

from turnout.errors import InvalidSettings, ProviderRefused, ProviderUnavailable, TurnoutError
from turnout.model.protocol import PROTOCOL
from turnout.model.providers import ProbeResult
from turnout.model.tasks import App
from turnout.model.time import Millis
from turnout_triggerdev.api import Api, items_of, text_of
from turnout_triggerdev.definition import FILE, PROBE_TASK, stale
from turnout_triggerdev.probe import probe
from turnout_triggerdev.settings import TriggerdevSettings, read_settings, slug_named_by
from turnout_triggerdev.variables import DesiredVariable, EnvironmentVariables, Restored

SLUGS: Final = {"prod": "prod", "staging": "stg", "preview": "preview"}
"""The CLI's name of an environment → the API's."""
NAME_OF_SLUG: Final = {slug: name for name, slug in SLUGS.items()}
PROBE_IN: Final = 120.0
"""Seconds for the first run of a new version, whose image must be pulled and started."""
KEYS: Final = "TURNOUT_SIGNING_KEYS"
SERVICE: Final = "TURNOUT_SERVICE_URL"
STEP_PATH: Final = "/turnout/v1/step"


@dataclass(frozen=True, kw_only=True)
class Target:
    """What to deploy, and where to."""

    environment: str
    folder: Path
    app: App
    service_url: str
    settings: TriggerdevSettings
    signing_keys: str = field(repr=False)
    promote: bool = True


@dataclass(frozen=True, kw_only=True)
class DeployStep:
    """One step of a deployment, and its outcome."""

    name: str
    ok: bool
    text: str
    fix: str = ""


class WallClock:
    """The machine's clock."""

    def now(self) -> Millis:
        """Milliseconds since the epoch."""
        return time.time_ns() // 1_000_000

    async def sleep(self, duration: Millis) -> None:
        """Wait for so many milliseconds."""
        await asyncio.sleep(duration / 1000)


def read_target(
    settings: Mapping[str, str],
    environment: str,
    folder: Path,
    app: App,
    service_url: str,
    *,
    promote: bool = True,
    loopback: bool = False,
) -> Target:
    """Read what a deployment needs; InvalidSettings names everything that is missing.

    loopback: whether the service may have a loopback address.
    """
    needed = ("TRIGGER_SECRET_KEY", "TRIGGER_ACCESS_TOKEN", "TRIGGER_PROJECT_REF", KEYS)
    missing = [name for name in needed if not settings.get(name)]
    environment = NAME_OF_SLUG.get(environment, environment)
    if environment not in SLUGS:
        raise InvalidSettings(f"--env is one of {', '.join(SLUGS)}")
    if missing:
        raise InvalidSettings(f"a deployment needs {', '.join(missing)}")
    target_settings = read_settings({"TRIGGER_ENVIRONMENT": SLUGS[environment], **settings})
    # A key that names its environment is of that one, whatever TRIGGER_ENVIRONMENT says.
    of = slug_named_by(target_settings.secret_key)
    if of not in {None, SLUGS[environment]}:
        raise InvalidSettings(f"TRIGGER_SECRET_KEY is of {of}, and --env is {environment}")
    if target_settings.environment != SLUGS[environment]:
        raise InvalidSettings(
            f"TRIGGER_ENVIRONMENT is {target_settings.environment}, and --env is {environment}"
        )
    if not loopback and is_loopback(service_url) and not is_loopback(target_settings.api_url):
        raise InvalidSettings(
            f"{service_url} means the worker's own machine, where the service is not; give"
            " --service, or --loopback where the platform runs containers in this machine's network"
        )
    return Target(
        environment=environment,
        folder=folder,
        app=app,
        service_url=service_url,
        settings=target_settings,
        signing_keys=settings[KEYS],
        promote=promote,
    )


def is_loopback(url: str) -> bool:
    """Whether a URL has a loopback address, or none that a network could route."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


async def deployed(
    target: Target, run: Callable[[Sequence[str]], int]
) -> AsyncIterator[DeployStep]:
    """Take the steps one after the other, up to the first that fails.

    All versions of an environment share its variables. So they are changed once the new version
    exists, and put back if it is not promoted.
    run: runs a command in the worker's folder and returns its exit code.
    """
    api = Api(target.settings, WallClock())
    variables = EnvironmentVariables(api, target.settings, _desired_variables(target))
    try:
        async for step in _failures_as_steps(_steps(target, run, api, variables)):
            yield step
            if not step.ok:
                restored = await variables.put_back()
                if restored is not None:
                    yield _restored(restored)
                return
        variables.keep = True
    finally:
        # The running version keeps its variables also when a deployment is interrupted.
        await variables.put_back()
        await api.close()


def _desired_variables(target: Target) -> tuple[DesiredVariable, ...]:
    return (
        DesiredVariable(name=KEYS, value=target.signing_keys, secret=True),
        DesiredVariable(name=SERVICE, value=target.service_url, secret=False),
    )


async def _failures_as_steps(steps: AsyncIterator[DeployStep]) -> AsyncIterator[DeployStep]:
    """Turn an error of the platform into a step that failed."""
    try:
        async for step in steps:
            yield step
    except TurnoutError as error:
        yield DeployStep(name="platform", ok=False, text=str(error), fix="deploy again")


async def _steps(
    target: Target, run: Callable[[Sequence[str]], int], api: Api, variables: EnvironmentVariables
) -> AsyncIterator[DeployStep]:
    yield _definition(target)
    yield await _service(target)
    before = await _latest(api)
    yield _worker(target, run)
    version = await _latest(api)
    if version is None or version == before:
        yield _no_version(before)
        return
    yield await _secrets(target, variables)
    async for step in _looked_through(target, api, version):
        yield step
    if target.promote:
        yield await _promoted(api, version, variables)


def _definition(target: Target) -> DeployStep:
    """Check that the definition file belongs to the app."""
    name = "definition"
    difference = stale(target.folder, target.app)
    if difference is None and (target.folder / FILE).exists():
        return DeployStep(name=name, ok=True, text=f"{target.app.definition[:12]} is built")
    text = difference or f"{target.folder / FILE} was never built"
    return DeployStep(
        name=name, ok=False, text=text, fix="turnout triggerdev build, and commit the file"
    )


async def _service(target: Target) -> DeployStep:
    """Check that the service knows the new definition, before a worker has it."""
    name, url = "service", target.service_url
    try:
        status, message = await ask_service(url, target.app.definition, target.signing_keys)
    except httpx.HTTPError as error:
        text = f"{url} does not answer from here: {type(error).__name__}"
        fix = "deploy and start the service first; --service names its address"
        return DeployStep(name=name, ok=False, text=text, fix=fix)
    fixes = {
        401: f"deploy with the service's own {KEYS}",
        426: "deploy the service of this version first, with TURNOUT_DEFINITIONS holding the"
        " definition of the worker that is still running",
    }
    if status == httpx.codes.OK:
        return DeployStep(name=name, ok=True, text=f"{url} knows the definition and takes the keys")
    return DeployStep(name=name, ok=False, text=f"{status}: {message}", fix=fixes.get(status, ""))


async def ask_service(url: str, definition: str, keys: str) -> tuple[int, str]:
    """Send the protocol's probe, as a worker does: the answer's status, and a refusal's message."""
    body = orjson.dumps({"protocol": PROTOCOL, "op": "probe", "definition": definition}).decode()
    message_id = f"msg_{uuid.uuid4().hex}"
    now = datetime.fromtimestamp(int(time.time()), UTC)
    signers = (Webhook(key.strip()) for key in keys.split(",") if key.strip())
    headers = {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(key.sign(message_id, now, body) for key in signers),
    }
    async with httpx.AsyncClient(timeout=15) as client:
        answer = await client.post(f"{url}{STEP_PATH}", content=body, headers=headers)
    try:
        message = str(answer.json().get("message", ""))
    except (ValueError, AttributeError):
        message = "not the service's step endpoint"
    return answer.status_code, message


async def _secrets(target: Target, variables: EnvironmentVariables) -> DeployStep:
    """Push the worker's variables: all signing keys, so that old and new ones work meanwhile."""
    try:
        await variables.push()
    except TurnoutError as error:
        return DeployStep(
            name="secrets", ok=False, text=str(error), fix="may this key set variables?"
        )
    text = f"{KEYS}, {SERVICE} are set in {target.environment}"
    return DeployStep(name="secrets", ok=True, text=text)


def _restored(restored: Restored) -> DeployStep:
    """Say which variables the version that stays current has now."""
    outcomes = (
        ("put back", restored.back),
        ("left as pushed, because a secret cannot be read back", restored.unreadable),
        ("not put back, the platform did not take it", restored.failed),
    )
    text = "; ".join(f"{outcome}: {', '.join(names)}" for outcome, names in outcomes if names)
    whole = not restored.unreadable and not restored.failed
    fix = "" if whole else "set these in the dashboard, where the running version needs others"
    return DeployStep(name="variables", ok=whole, text=text, fix=fix)


def _worker(target: Target, run: Callable[[Sequence[str]], int]) -> DeployStep:
    """Deploy with the vendor's CLI, without promoting: runs still start in the old version."""
    command = ["npx", "--no-install", "trigger", "deploy", "--env", target.environment]
    command += ["--skip-promotion", "--skip-update-check", "-a", target.settings.api_url]
    if target.settings.branch:
        command += ["--branch", target.settings.branch]
    code = run(command)
    text = " ".join(command)
    if code == 0:
        return DeployStep(name="worker", ok=True, text=text)
    fix = f"npm ci in {target.folder}; then read what the CLI said"
    return DeployStep(name="worker", ok=False, text=f"{text}: exit {code}", fix=fix)


async def _latest(api: Api) -> str | None:
    """Find the newest deployed version; the API's `latest` lists workers of another kind."""
    listing = await api.get("/api/v1/deployments", params={"status": "DEPLOYED"})
    versions = [text_of(deployment, "version") for deployment in items_of(listing or {})]
    return versions[0] if versions else None


def _no_version(before: str | None) -> DeployStep:
    return DeployStep(
        name="version",
        ok=False,
        text=f"no version came after {before or 'none'}",
        fix="look at the deployment in the dashboard",
    )


async def _looked_through(target: Target, api: Api, version: str) -> AsyncIterator[DeployStep]:
    """Probe the service from the new version, while no run depends on that version."""
    for probing in await probe(api, target.app.definition, PROBE_IN, version=version):
        name = f"through {version}: {probing.subject}"
        fix = "" if probing.ok else _fix_of_look(version, probing)
        yield DeployStep(name=name, ok=probing.ok, text=probing.text, fix=fix)


def _fix_of_look(version: str, probing: ProbeResult) -> str:
    """What to do about a new version that failed its look: what `doctor` says is of the old one."""
    fixes = {
        "worker": f"read the log of {version} and its run of {PROBE_TASK} in the dashboard",
        "signature": f"deploy with the service's own {KEYS}",
        "definition": "turnout triggerdev build",
    }
    fix = fixes.get(probing.subject, probing.fix)
    return f"{fix}; then deploy again: {version} is not promoted, runs start in the one before"


async def _promoted(api: Api, version: str, variables: EnvironmentVariables) -> DeployStep:
    """Make it the current version: new runs start in it, old runs end in the old version."""
    # From here on it may be current, and then needs these variables, unless the server refuses.
    variables.keep = True
    try:
        answered = await api.post(f"/api/v1/deployments/{version}/promote")
    except ProviderUnavailable as error:
        fix = f"{version} may be promoted, or not: look, and promote it by hand"
        return DeployStep(name="promote", ok=False, text=str(error), fix=fix)
    except ProviderRefused as error:
        # Someone else, or the server itself, has promoted it already.
        if "already" not in str(error):
            variables.keep = False
            return DeployStep(name="promote", ok=False, text=str(error), fix="promote it by hand")
        answered = version
    if answered is None:
        variables.keep = False
        return DeployStep(
            name="promote", ok=False, text=f"there is no {version}", fix="deploy again"
        )
    return DeployStep(name="promote", ok=True, text=f"{version} is the current version")


def in_folder(folder: Path, environ: Mapping[str, str]) -> Callable[[Sequence[str]], int]:
    """A function that runs a command in the worker's folder, with its output on stderr."""

    def run(command: Sequence[str]) -> int:
        try:
            return subprocess.run(  # noqa: S603 - the command is made above
                command,
                cwd=folder,
                env={**os.environ, **environ},
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
            ).returncode
        except OSError:
            return 127

    return run

"""Two made-up providers behind Turnout's port, as anyone would write for a provider of their own.

Acme calls our step endpoint, again and again until answered; it has no schedules, and it starts
runs in no order, so that limits in order of emit are refused. Bolt is the same under another name;
only Acme has an offline server.
"""

import contextlib
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from turnout_dev.devserver import DevSetup, Process

from turnout.errors import InvalidSettings, PolicyRefused, ProviderRefused, ProviderUnavailable
from turnout.model.providers import Delivered, Sighting
from turnout.model.runs import Delivery, Wake
from turnout.model.schedules import ArmedSchedule, Schedule
from turnout.model.status import Capability, Held, RunStatus
from turnout.model.tasks import App, Task
from turnout.ports.caller import PORT_VERSION, Surroundings
from turnout.ports.clock import Clock

STATES = {
    "waiting": RunStatus.QUEUED,
    "calling": RunStatus.RUNNING,
    "done": RunStatus.COMPLETED,
    "stopped": RunStatus.CANCELLED,
}
"""Acme's words, all of them."""


@dataclass(kw_only=True)
class AcmeCaller:
    """A `DurableCaller` over Acme's HTTP API."""

    http: httpx.AsyncClient
    service_url: str
    clock: Clock
    name: str
    capabilities: Mapping[Capability, Held] = field(
        default_factory=lambda: {
            **dict.fromkeys(Capability, Held.OURS),
            Capability.CONCURRENCY: Held.REFUSED,
        }
    )

    async def start(self) -> None:
        """Acme calls by itself."""

    async def close(self) -> None:
        """Let go of the connections."""
        await self.http.aclose()

    async def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Delivered]:
        """Start Acme's runs, in one request."""
        runs = [
            {
                "key": each.key,
                "task": each.task,
                "run_id": each.run_id,
                "delivery": each.number,
                "url": f"{self.service_url}/turnout/v1/step",
            }
            for each in deliveries
        ]
        await self._ask("POST", "/runs", json=runs)
        return [Delivered(key=each.key, provider_run_id=each.key) for each in deliveries]

    async def wake(self, wakes: Sequence[Wake]) -> None:
        """Have parked runs call in."""
        keys = [each.delivery.key for each in wakes if each.delivery is not None]
        await self._ask("POST", "/wake", json=keys)

    async def stop(self, delivery: Delivery) -> bool:
        """Stop one run."""
        await self._ask("POST", "/stop", json=delivery.key)
        return True

    async def look(self, delivery: Delivery) -> Sighting:
        """Ask for one run."""
        found = await self._ask("GET", f"/runs/{quote(delivery.key)}")
        word = found.json()["state"]
        state = None if word == "unknown" else STATES[word]
        return Sighting(state=state, word=word, seen_at=self.clock.now())

    async def arm(self, schedules: Sequence[Schedule]) -> None:
        """Acme has no schedules."""

    async def armed(self) -> Sequence[ArmedSchedule]:
        """None, ever."""
        return []

    def check(self, task: Task) -> None:
        """Refuse limits: Acme starts runs in no order."""
        if task.policies.concurrency is not None:
            raise PolicyRefused(
                f"task {task.id!r}: concurrency: {self.name} starts runs in no order; leave it"
                " out, or run this task on another provider"
            )

    async def define(self, app: App) -> None:
        """Tell Acme the tasks."""
        task_ids = [task.id for task in app.tasks]
        await self._ask("PUT", "/tasks", json=task_ids)
        if set(task_ids) - set(await self.defined()):
            raise ProviderUnavailable(f"{self.name} answered other tasks than it was told")

    async def defined(self) -> Sequence[str]:
        """Ask Acme for the tasks."""
        task_ids = (await self._ask("GET", "/tasks")).json()
        if not isinstance(task_ids, list) or not all(isinstance(name, str) for name in task_ids):
            raise ProviderUnavailable(f"{self.name} answered what is no list of tasks")
        return task_ids

    async def _ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        async with _translated(self.name):
            response = await self.http.request(method, path, **given)
            if response.status_code == httpx.codes.UNAUTHORIZED:
                raise ProviderRefused(
                    f"{self.name} refused the key; set {self.name.upper()}_KEY to the project's"
                )
            return response.raise_for_status()


@contextlib.asynccontextmanager
async def _translated(name: str) -> AsyncIterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        raise ProviderUnavailable(f"{name} does not answer: {type(error).__name__}") from error


@dataclass(frozen=True, kw_only=True)
class AcmePlugin:
    """The entry point."""

    name: str
    port_version: int = PORT_VERSION
    alarm_grace: int = 2_000

    def open(self, surroundings: Surroundings) -> AcmeCaller:
        """Make the caller; every missing setting is named at once."""
        settings, (url, key) = surroundings.settings, settings_of(self.name)
        missing = [name for name in (url, key) if not settings.get(name)]
        if missing:
            raise InvalidSettings(f"{self.name} needs {' and '.join(missing)}")
        http = httpx.AsyncClient(
            base_url=settings[url],
            headers={"authorization": f"Bearer {settings[key]}"},
            timeout=5,
            trust_env=False,
        )
        return AcmeCaller(
            name=self.name,
            http=http,
            service_url=surroundings.service_url or "",
            clock=surroundings.clock,
        )


def settings_of(name: str) -> tuple[str, str]:
    """Name the settings of a provider: its address and its key."""
    return f"{name.upper()}_URL", f"{name.upper()}_KEY"


acme, bolt = AcmePlugin(name="acme"), AcmePlugin(name="bolt")


@dataclass(frozen=True, kw_only=True)
class AcmeServer:
    """How `turnout dev` starts Acme's offline server."""

    name: str = "acme"
    label: str = "double, not production"
    default_port: int = 8_299

    def processes(self, setup: DevSetup) -> Sequence[Process]:
        """The server alone: it calls the service itself."""
        url = f"http://127.0.0.1:{setup.port}"
        script = str(Path(__file__).with_name("acme_server.py"))
        command = (sys.executable, script, str(setup.port), "right", setup.signing_key)
        return (Process(name="acme", argv=command, ready_url=f"{url}/up"),)

    def environ(self, setup: DevSetup) -> Mapping[str, str]:
        """Acme's own settings."""
        return {"ACME_URL": f"http://127.0.0.1:{setup.port}", "ACME_KEY": "right"}

    def real(self, environ: Mapping[str, str]) -> Mapping[str, str] | None:
        """The settings of a real Acme that the environment names."""
        names = settings_of(self.name)
        return {name: environ[name] for name in names} if environ.get(names[0]) else None


devserver = AcmeServer

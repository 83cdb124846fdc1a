"""Restate as a durable caller: an invocation carries a run, and calls our worker step by step."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from turnout.errors import TurnoutError
from turnout.model.providers import Delivered, Guard, Notice, Sighting
from turnout.model.runs import Delivery, Wake
from turnout.model.schedules import ArmedSchedule, Schedule
from turnout.model.status import Capability, Held
from turnout.model.tasks import App, Task
from turnout.model.time import Millis
from turnout.ports.caller import HasRun, Surroundings
from turnout_restate.api import RestateApi, text_in
from turnout_restate.deployments import Deployments
from turnout_restate.notices import notices_of
from turnout_restate.schedules import Schedules, object_name
from turnout_restate.serving import HANDLER, TASKS, application, service_name
from turnout_restate.settings import MOUNT, RestateSettings
from turnout_restate.vendor_runs import VendorRuns

CAPABILITIES: Final[Mapping[Capability, Held]] = {
    **dict.fromkeys(Capability, Held.OURS),
    Capability.SCHEDULE_RECURRING: Held.PROVIDER,
    Capability.DEFINE_TASK: Held.PROVIDER,
}


class RestateCaller:
    """One app on one Restate server; `DurableCaller`, `Serves`, `Lists` and `Notices`."""

    def __init__(self, surroundings: Surroundings, settings: RestateSettings) -> None:
        self._app = surroundings.app
        self._settings = settings
        self._service = service_name(surroundings.app)
        self._api = RestateApi(settings)
        services = frozenset({self._service, object_name(surroundings.app)})
        self._deployments = Deployments(self._api, settings, services)
        self._runs = VendorRuns(self._api, self._service, surroundings.clock)
        self._schedules = Schedules(self._api, self._deployments.invoke, surroundings.app)
        self._application = application(surroundings, settings)

    @property
    def name(self) -> str:
        """The provider's name."""
        return "restate"

    @property
    def capabilities(self) -> Mapping[Capability, Held]:
        """Who holds which capability."""
        return CAPABILITIES

    @property
    def mount(self) -> str:
        """Where the application is mounted."""
        return MOUNT

    def asgi(self) -> Any:
        """Return the application that the server calls."""
        return self._application

    def guards(self) -> Sequence[Guard]:
        """Return who may call the application: the servers of these keys, or whoever reaches it."""
        if self._settings.identity_keys:
            callers = "servers whose keys RESTATE_IDENTITY_KEYS names"
            return [Guard(path=MOUNT, callers=callers)]
        fix = "set RESTATE_IDENTITY_KEYS to the public keys of your servers"
        return [Guard(path=MOUNT, callers="whoever reaches it", open=True, fix=fix)]

    async def notices(self, has_run: HasRun) -> Sequence[Notice]:
        """Tell of another service of this app's name on the same server, and of stuck schedules."""
        return await notices_of(self._deployments, self._runs, self._schedules, has_run)

    async def start(self) -> None:
        """Do nothing: the server calls us."""

    async def close(self) -> None:
        """Close the connections to the server."""
        await self._api.close()

    async def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Delivered]:
        """Send one invocation for each; its idempotency key is the delivery's."""
        return await asyncio.gather(*map(self._deliver, deliveries))

    async def _deliver(self, delivery: Delivery) -> Delivered:
        message = {
            "task": delivery.task,
            "run_id": delivery.run_id,
            "delivery": delivery.number,
        }
        try:
            answer = await self._deployments.invoke(
                f"/{self._service}/{HANDLER}/send",
                message,
                headers={"idempotency-key": delivery.key},
            )
            return Delivered(key=delivery.key, provider_run_id=text_in(answer, "invocationId"))
        except TurnoutError as error:
            return Delivered(key=delivery.key, error=error)

    async def wake(self, wakes: Sequence[Wake]) -> None:
        """Complete the awakeable that each parked invocation waits for.

        An error of one is raised once all have been tried.
        """
        tokens = [wake.delivery.token for wake in wakes if wake.delivery is not None]
        calls = (self._wake(token) for token in tokens if token)
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            if outcome is not None:
                raise outcome

    async def _wake(self, token: str) -> None:
        await self._api.ingress(f"/restate/awakeables/{token}/resolve")

    async def stop(self, delivery: Delivery) -> bool:
        """End the invocation; True once the server itself says that it has ended."""
        return await self._runs.stop(delivery)

    async def look(self, delivery: Delivery) -> Sighting:
        """Read the state of the invocation."""
        return await self._runs.look(delivery)

    @property
    def list_lag(self) -> Millis:
        """How late the server's tables are: each partition answers from its own log."""
        return 1_000

    async def list_runs(
        self, *, since: Millis | None = None, cursor: str = ""
    ) -> tuple[Mapping[str, Sighting], str]:
        """Read one page of the invocations of this app's runs, in order of ids."""
        return await self._runs.list_page(since, cursor)

    def check(self, task: Task) -> None:
        """Refuse no task: Turnout keeps every policy itself."""

    async def define(self, app: App) -> None:
        """Register this service's address; its earlier addresses go once nothing runs there."""
        del app
        await self._deployments.register()

    async def defined(self) -> Sequence[str]:
        """Read back which tasks the server lists for the service."""
        service = await self._api.admin("GET", f"/services/{self._service}")
        metadata = service.get("metadata") if isinstance(service, dict) else None
        text = metadata.get(TASKS) if isinstance(metadata, dict) else None
        listed = str(text or "").split()
        return [task.id for task in self._app.tasks if task.id in listed]

    async def arm(self, schedules: Sequence[Schedule]) -> None:
        """Make these the schedules that the server fires."""
        await self._schedules.arm(schedules)

    async def armed(self) -> Sequence[ArmedSchedule]:
        """Read back what the server will fire."""
        return await self._schedules.armed()

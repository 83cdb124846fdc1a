"""Restate as a durable caller: an invocation carries a run, and calls our worker step by step."""

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from turnout.errors import ProviderRefused, ProviderUnavailable, TurnoutError
from turnout.model.providers import Delivered, Guard, Sighting
from turnout.model.runs import Delivery, Wake
from turnout.model.schedules import ArmedSchedule, Schedule
from turnout.model.status import Capability, Held
from turnout.model.tasks import App, Task
from turnout.model.time import Millis
from turnout.ports.caller import Surroundings
from turnout_restate.api import RestateApi, literal
from turnout_restate.schedules import Schedules, object_name
from turnout_restate.serving import HANDLER, TASKS, application, service_name
from turnout_restate.settings import MOUNT, RestateSettings
from turnout_restate.vendor_runs import VendorRuns

CAPABILITIES: Final[Mapping[Capability, Held]] = {
    **dict.fromkeys(Capability, Held.OURS),
    Capability.SCHEDULE_RECURRING: Held.PROVIDER,
    Capability.DEFINE_TASK: Held.PROVIDER,
}

_UNAUTHORIZED: Final = f"{HTTPStatus.UNAUTHORIZED.value} {HTTPStatus.UNAUTHORIZED.phrase}"
"""What the server quotes of a service that refuses its call."""


class RestateCaller:
    """One app on one Restate server; `DurableCaller`, `Serves` and `Lists`."""

    def __init__(self, surroundings: Surroundings, settings: RestateSettings) -> None:
        self._app = surroundings.app
        self._settings = settings
        self._service = service_name(surroundings.app)
        self._api = RestateApi(settings)
        self._runs = VendorRuns(self._api, self._service, surroundings.clock)
        self._schedules = Schedules(self._api, surroundings.app)
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
            answer = await self._api.ingress(
                f"/{self._service}/{HANDLER}/send",
                message,
                headers={"idempotency-key": delivery.key},
            )
        except TurnoutError as error:
            return Delivered(key=delivery.key, error=error)
        return Delivered(key=delivery.key, provider_run_id=answer["invocationId"])

    async def wake(self, wakes: Sequence[Wake]) -> None:
        """Complete the awakeable that each parked invocation waits for."""
        tokens = [wake.delivery.token for wake in wakes if wake.delivery is not None]
        await asyncio.gather(*(self._wake(token) for token in tokens if token))

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
        """Take every task: Turnout keeps every policy itself."""

    async def define(self, app: App) -> None:
        """Register this service's address; its earlier addresses go once nothing runs there."""
        del app
        answer = await self._register()
        if answer is None:
            raise ProviderRefused(
                f"{self._settings.admin} has no deployments; see that RESTATE_ADMIN_URL is the"
                " admin API of a Restate server"
            )
        await self._remove_drained(answer["id"])

    async def _register(self) -> Any:
        """Have the server read from this service what it serves; the server's answer."""
        uri = self._settings.served_at
        try:
            return await self._api.admin(
                "POST", "/deployments", {"uri": uri, "use_http_11": True, "force": True}
            )
        except ProviderUnavailable as error:
            if _UNAUTHORIZED not in str(error):
                raise
            fix = (
                f"{uri} refuses the server's calls: set RESTATE_IDENTITY_KEYS of this service to"
                " the public key of that server, and have the server sign its calls by"
                " RESTATE_REQUEST_IDENTITY_PRIVATE_KEY_PEM_FILE"
            )
            raise ProviderUnavailable(f"{fix}. {error}") from None

    async def defined(self) -> Sequence[str]:
        """Read back which tasks the server lists for the service."""
        service = await self._api.admin("GET", f"/services/{self._service}")
        listed = str(((service or {}).get("metadata") or {}).get(TASKS, "")).split()
        return [task.id for task in self._app.tasks if task.id in listed]

    async def arm(self, schedules: Sequence[Schedule]) -> None:
        """Make these the schedules that the server fires."""
        await self._schedules.arm(schedules)

    async def armed(self) -> Sequence[ArmedSchedule]:
        """Read back what the server will fire."""
        return await self._schedules.armed()

    async def _remove_drained(self, current: str) -> None:
        """Remove this app's deployments but the current one, where no invocation is pinned."""
        services_of_app = {self._service, object_name(self._app)}
        listed = await self._api.admin("GET", "/deployments")
        for deployment in listed["deployments"]:
            services = {service["name"] for service in deployment["services"]}
            if deployment["id"] == current or not services or not services <= services_of_app:
                continue
            pinned = await self._api.query(
                "SELECT id FROM sys_invocation WHERE status != 'completed'"  # noqa: S608
                f" AND pinned_deployment_id = {literal(deployment['id'])} LIMIT 1"
            )
            if not pinned:
                await self._api.admin("DELETE", f"/deployments/{deployment['id']}?force=true")

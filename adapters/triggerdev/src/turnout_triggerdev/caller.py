"""Trigger.dev as a durable caller: a vendor run calls our step endpoint through the worker.

The vendor delivers runs, waits on tokens and fires schedules. The run store keeps steps, retries,
limits and deadlines; the vendor's own limits are only ceilings, in the definition file.
"""

import asyncio
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from turnout.errors import ProviderRefused, ProviderUnavailable, TurnoutError
from turnout.model.protocol import PROTOCOL
from turnout.model.providers import Delivered, Guard, Notice, ProbeResult, Sighting
from turnout.model.runs import Delivery, Wake
from turnout.model.schedules import ArmedSchedule, Schedule
from turnout.model.status import Capability, DeliveryState, Held, RunStatus
from turnout.model.tasks import App, Task
from turnout.model.time import Millis
from turnout.ports.caller import HasRun, Surroundings
from turnout_triggerdev.alerts import MOUNT, alerts, secrets_of
from turnout_triggerdev.api import Api, items_of, number_of, text_of
from turnout_triggerdev.definition import stale
from turnout_triggerdev.probe import probe
from turnout_triggerdev.queueing import queueing
from turnout_triggerdev.registered import RegisteredTasks
from turnout_triggerdev.schedules import VendorSchedules
from turnout_triggerdev.settings import ALERT_SECRETS, WORKER, WORKER_FOLDER, TriggerdevSettings
from turnout_triggerdev.sightings import KEY_TAG, PERIOD, STORE_TAG, list_page, sighting_of
from turnout_triggerdev.statuses import status_of

CAPABILITIES: Final[Mapping[Capability, Held]] = {
    **dict.fromkeys(Capability, Held.OURS),
    Capability.SCHEDULE_RECURRING: Held.PROVIDER,
    Capability.DEFINE_TASK: Held.PROVIDER,
}
BATCH: Final = 500
"""Items of one batch: the default limit of a server."""
SINGLE_LIMIT: Final = 4
"""Up to this many deliveries are sent one by one: each answer has the vendor run's id."""
LONGEST_TAG: Final = 128
MAX_TAGS: Final = 10
"""Of one run; more are refused, so the last ones of a run's own are left out."""
CANCEL_IN: Final[Millis] = 2_000
"""How long to wait until a cancel, which is asynchronous, has taken effect."""
CANCEL_STEP: Final[Millis] = 100
LISTED_IN: Final[Millis] = 60_000
"""How long a started run may be missing from the vendor's list, which lags behind."""


class TriggerdevCaller:
    """A `DurableCaller` over the REST API of one environment; `Lists` its runs."""

    name = "triggerdev"
    recovery: Millis = 30_000
    """A killed worker's runs are looked at after a lease; calls are sent again 10 s apart."""

    def __init__(self, surroundings: Surroundings, settings: TriggerdevSettings) -> None:
        self._app = surroundings.app
        self._clock = surroundings.clock
        self._settings = settings
        self._worker = surroundings.worker
        self._stamps = surroundings.stamps
        self._worker_folder = surroundings.settings.get(WORKER) or WORKER_FOLDER
        self._alert_secrets = secrets_of(surroundings.settings)
        self._api = Api(settings, surroundings.clock)
        self._registered = RegisteredTasks(self._api, settings, surroundings.clock)
        self._schedules = VendorSchedules(self._api, settings, surroundings.app.name)

    @property
    def capabilities(self) -> Mapping[Capability, Held]:
        """Whether we or the vendor keep the promise of each capability."""
        return CAPABILITIES

    async def start(self) -> None:
        """Nothing to begin: the vendor's worker calls our endpoint."""

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Delivered]:
        """Start one vendor run a delivery: a few by single triggers, many in batches.

        A delivery whose task the environment has not registered is refused and not sent: the
        vendor would accept it and leave it in PENDING_VERSION.
        """
        missing = await self._registered.missing({delivery.task for delivery in deliveries})
        registered = [delivery for delivery in deliveries if delivery.task not in missing]
        delivered = {delivery.key: delivery for delivery in await self._send(registered)}
        return [delivered.get(delivery.key) or _unregistered(delivery) for delivery in deliveries]

    async def wake(self, wakes: Sequence[Wake]) -> None:
        """Complete the tokens on which parked runs wait; runs without a token poll themselves."""
        answers = await asyncio.gather(
            *(self._complete(wake) for wake in wakes), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    async def stop(self, delivery: Delivery) -> bool:
        """Cancel the vendor run and wait a little for the vendor to say that it has ended."""
        run_id = delivery.provider_run_id or await self._find(delivery)
        if run_id is None:
            # Nothing was sent, or so long ago that the list would have it.
            return delivery.state is not DeliveryState.SENT or not self._fresh(delivery)
        if await self._api.post(f"/api/v2/runs/{run_id}/cancel") is None:
            return True
        until = self._clock.now() + CANCEL_IN
        while self._clock.now() < until:
            run = await self._api.get(f"/api/v3/runs/{run_id}")
            if run is None or status_of(text_of(run, "status")).terminal:
                return True
            await self._clock.sleep(CANCEL_STEP)
        return False

    async def look(self, delivery: Delivery) -> Sighting:
        """Read the vendor run; find it by its tag while its id is not known."""
        now = self._clock.now()
        run_id = delivery.provider_run_id or await self._find(delivery)
        run = None if run_id is None else await self._api.get(f"/api/v3/runs/{run_id}")
        if run is None:
            if run_id is None and self._fresh(delivery):
                return Sighting(state=RunStatus.QUEUED, word="not listed yet", seen_at=now)
            return Sighting(state=None, word="not found", seen_at=now)
        return sighting_of(run, now)

    @property
    def list_lag(self) -> Millis:
        """How late the vendor's list may be."""
        return LISTED_IN

    async def list_runs(
        self, *, since: Millis | None = None, cursor: str = ""
    ) -> tuple[Mapping[str, Sighting], str]:
        """Read one page of the runs of this app's tasks, failure hooks included, the newest first.

        ProviderRefused: the vendor gave a page twice, or an empty one before the last.
        """
        tasks = [task.id for task in self._app.all_tasks]
        if not tasks:
            return {}, ""
        return await list_page(self._api, tasks, since, cursor, self._clock.now())

    async def stamp(self, provider_run_id: str, sighting: Sighting) -> Mapping[str, Any]:
        """Read what the delivery of a listed run carried, from its payload."""
        del sighting
        run = await self._api.get(f"/api/v3/runs/{provider_run_id}") or {}
        payload = run.get("payload")
        return payload if isinstance(payload, dict) else {}

    async def arm(self, schedules: Sequence[Schedule]) -> None:
        """Make these the app's only schedules at the server, exact to the minute."""
        await self._schedules.arm(schedules)

    async def armed(self) -> Sequence[ArmedSchedule]:
        """Read the app's schedules back from the server."""
        return await self._schedules.armed()

    def check(self, task: Task) -> None:
        """Accept every task: the run store keeps all policies, the vendor's are only ceilings."""

    async def define(self, app: App) -> None:
        """Raise ProviderUnavailable until the worker has registered: REST cannot register tasks."""
        missing = await self._registered.missing({task.id for task in app.tasks})
        if missing:
            raise ProviderUnavailable(
                f"triggerdev has no worker that knows {', '.join(sorted(missing))}; build the"
                " definition file and start or deploy the worker"
            )

    async def defined(self) -> Sequence[str]:
        """Read which of the app's tasks the environment has registered.

        With TRIGGER_PROJECT_REF and TRIGGER_ACCESS_TOKEN: in the current version. Without them: in
        any version, because an environment's key can read the queues only.
        """
        missing = await self._registered.missing({task.id for task in self._app.tasks})
        return [task.id for task in self._app.tasks if task.id not in missing]

    async def notices(self, has_run: HasRun) -> Sequence[Notice]:
        """Report a worker's definition file that is out of date, and runs that are queued for long.

        The file is one that can be read here, if there is one.
        """
        del has_run
        difference = stale(Path(self._worker_folder), self._app)
        fix = "turnout triggerdev build, then start or deploy the worker again"
        outdated = [] if difference is None else [Notice(text=difference, fix=fix)]
        return outdated + await queueing(self._api, await self.slots(), self._clock.now())

    async def slots(self) -> int | None:
        """Read how many runs the environment executes at once; in `dev` also what its CLI takes."""
        environment = await self._api.get("/api/v1/whoami") or {}
        limits = [number_of(environment, "maximumConcurrencyLimit")]
        if self._settings.environment == "dev":
            config = await self._api.get("/engine/v1/dev/config") or {}
            limits.append(number_of(config, "maxConcurrentRuns"))
        return min((limit for limit in limits if limit is not None), default=None)

    @property
    def mount(self) -> str:
        """The path below which `asgi` is mounted."""
        return MOUNT

    def asgi(self) -> Any:
        """Receive the vendor's alert webhooks, signed with TRIGGER_ALERT_WEBHOOK_SECRET."""
        return alerts(self._alert_secrets, self._worker, self._clock)

    def guards(self) -> Sequence[Guard]:
        """Return who may post alerts; runs call the service's step endpoint."""
        signed = f"alerts that are signed with {ALERT_SECRETS}"
        return [Guard(path=f"{MOUNT}/alerts", callers=signed if self._alert_secrets else "nobody")]

    async def probe(self, patience: float) -> Sequence[ProbeResult]:
        """Let the worker call the service, and report what it found."""
        return await probe(self._api, self._app.definition, patience)

    async def _send(self, deliveries: Sequence[Delivery]) -> list[Delivered]:
        if len(deliveries) <= SINGLE_LIMIT:
            return await asyncio.gather(*(self._trigger(delivery) for delivery in deliveries))
        pages = [deliveries[at : at + BATCH] for at in range(0, len(deliveries), BATCH)]
        return [delivered for page in pages for delivered in await self._batch(page)]

    async def _trigger(self, delivery: Delivery) -> Delivered:
        try:
            item = await self._item(delivery)
            triggered = await self._api.post(f"/api/v1/tasks/{delivery.task}/trigger", item)
            if triggered is None:
                raise ProviderRefused(f"triggerdev knows no task {delivery.task!r}")
            run_id = text_of(triggered, "id")
        except TurnoutError as error:
            return Delivered(key=delivery.key, error=error)
        return Delivered(key=delivery.key, provider_run_id=run_id)

    async def _batch(self, page: Sequence[Delivery]) -> list[Delivered]:
        """Send one batch; a repeated batch is harmless, because every item has its own key."""
        try:
            batch = await self._api.post("/api/v3/batches", {"runCount": len(page)})
            if batch is None:
                raise ProviderRefused("triggerdev has no /api/v3/batches; it is older than 4.3")
            lines = [
                {"index": at, "task": delivery.task, **await self._item(delivery)}
                for at, delivery in enumerate(page)
            ]
            receipt = await self._api.post_lines(
                f"/api/v3/batches/{text_of(batch, 'id')}/items", lines
            )
            if not receipt or not receipt.get("sealed"):
                raise ProviderUnavailable("triggerdev did not take the whole batch")
        except TurnoutError as error:
            return [Delivered(key=delivery.key, error=error) for delivery in page]
        return [Delivered(key=delivery.key) for delivery in page]

    async def _item(self, delivery: Delivery) -> dict[str, Any]:
        stamp = await self._stamps(delivery)
        payload = {
            "run_id": delivery.run_id,
            "delivery": delivery.number,
            "task": delivery.task,
            "protocol": PROTOCOL,
            **stamp,
        }
        own = [f"{KEY_TAG}{delivery.key}", f"task:{delivery.task}", f"run:{delivery.run_id}"]
        own += [f"{STORE_TAG}{stamp['store']}"] if stamp else []
        names = [*own, *delivery.tags][:MAX_TAGS]
        return {
            "payload": payload,
            # 0 here is no limit; 0 in the definition is the environment's own, 10 minutes in `dev`.
            "options": {
                "idempotencyKey": delivery.key,
                "tags": [_tag(name) for name in names],
                "ttl": 0,
            },
        }

    async def _complete(self, wake: Wake) -> None:
        token = wake.delivery.token if wake.delivery else None
        if token is not None:
            await self._api.post(f"/api/v1/waitpoints/tokens/{token}/complete", {"data": wake.seq})

    def _fresh(self, delivery: Delivery) -> bool:
        sent_at = delivery.sent_at
        return sent_at is not None and self._clock.now() - sent_at < LISTED_IN

    async def _find(self, delivery: Delivery) -> str | None:
        """Find a vendor run by the tag that its delivery gave it."""
        # Without a period the list goes back 7 days, and a run may be queued for longer.
        params = {
            "filter[tag]": _tag(f"{KEY_TAG}{delivery.key}"),
            "filter[createdAt][period]": PERIOD,
            "page[size]": 10,
        }
        listing = await self._api.get("/api/v1/runs", params=params) or {}
        runs = items_of(listing)
        return text_of(runs[0], "id") if runs else None


def _tag(name: str) -> str:
    """Return a name as a tag; one that is too long ends in a digest, so that no two share a tag."""
    if len(name) <= LONGEST_TAG:
        return name
    digest = sha256(name.encode()).hexdigest()[:32]
    return f"{name[: LONGEST_TAG - len(digest) - 1]}-{digest}"


def _unregistered(delivery: Delivery) -> Delivered:
    return Delivered(
        key=delivery.key,
        error=ProviderUnavailable(
            f"triggerdev has no worker that knows {delivery.task!r}; start or deploy the worker of"
            " this definition. Nothing was sent"
        ),
    )

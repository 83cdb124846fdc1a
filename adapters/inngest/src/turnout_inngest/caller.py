"""Inngest as a durable caller: events hand runs over, its engine calls our worker step by step."""

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import httpx
import orjson
from starlette.applications import Starlette

from turnout.errors import PolicyRefused, ProviderRefused, ProviderUnavailable
from turnout.model.protocol import PROTOCOL
from turnout.model.providers import Delivered, Guard, LinkStatus, Notice, Sighting
from turnout.model.runs import Delivery, Wake
from turnout.model.schedules import ArmedSchedule, Schedule
from turnout.model.status import Capability, Held
from turnout.model.tasks import App, Task
from turnout.model.time import Millis
from turnout.ports.caller import HasRun, Surroundings
from turnout_inngest.api import InngestApi
from turnout_inngest.connect import Link, connector, greeted
from turnout_inngest.doctor import ServerChecks
from turnout_inngest.functions import Serving, event_name
from turnout_inngest.ingress import DOOR, Door
from turnout_inngest.json_fields import object_in, text_in
from turnout_inngest.other_apps import check_ownership
from turnout_inngest.schedules import FUNCTION, armed_of, check_schedule, cron_of, trigger_of
from turnout_inngest.server_clock import ServerClock
from turnout_inngest.settings import MOUNT, SERVED_AT, InngestSettings
from turnout_inngest.vendor_runs import SCHEDULED_WITHIN, VendorRuns
from turnout_inngest.wakes import wake_events

CAPABILITIES: Final[Mapping[Capability, Held]] = {
    Capability.EMIT: Held.OURS,
    Capability.SCHEDULE_RECURRING: Held.PROVIDER,
    Capability.CANCEL: Held.OURS,
    Capability.STATUS: Held.OURS,
    Capability.DEFINE_TASK: Held.PROVIDER,
    Capability.RETRIES: Held.OURS,
    Capability.CONCURRENCY: Held.OURS,
    Capability.TIMEOUTS: Held.OURS,
}
MAX_EVENT_NAME: Final = 255
LISTED_AFTER: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds between looks whether the server lists what it has just accepted."""


class InngestCaller:
    """One app on one Inngest server; `DurableCaller`, `Serves` and `Lists`."""

    recovery: Millis = 60_000
    """The server's first back-off after a call that nobody took is 15 s and up to 30 s of jitter;
    that call then asks whether wakes came before it."""

    def __init__(self, surroundings: Surroundings, settings: InngestSettings) -> None:
        self._app = surroundings.app
        self._settings = settings
        server_time = ServerClock(surroundings.clock)
        self._api = InngestApi(settings, server_time)
        self._lookout = VendorRuns(self._api, surroundings.app, surroundings.clock)
        self._serving = Serving(surroundings, settings, server_time)
        self._surroundings = surroundings
        self._link = self._linked() if settings.transport == "connect" else None
        self._crons: dict[str, str] | None = None
        self._syncing = asyncio.Lock()

    @property
    def name(self) -> str:
        """The provider's name."""
        return "inngest"

    @property
    def capabilities(self) -> Mapping[Capability, Held]:
        """Who holds which capability."""
        return CAPABILITIES

    @property
    def mount(self) -> str:
        """Where the application is mounted."""
        return MOUNT

    def asgi(self) -> Any:
        """Return the application that the vendor calls; an empty one where we connect to it."""
        return self._serving if self._link is None else Starlette()

    def doors(self) -> Mapping[str, Any]:
        """Return the application for senders that post events here, if a key is set for it."""
        keys, emit = self._settings.door_keys, self._surroundings.emit
        if not keys or emit is None:
            return {}
        return {DOOR: Door(keys, emit, self._surroundings.clock).application()}

    def guards(self) -> Sequence[Guard]:
        """Return who may call the functions' endpoint, and the door for events."""
        guards = []
        if self._link is None and self._settings.production:
            callers = "calls that are signed with INNGEST_SIGNING_KEY"
            guards.append(Guard(path=MOUNT + SERVED_AT, callers=callers))
        elif self._link is None:
            callers = "everyone, unsigned: INNGEST_DEV is set"
            fix = "unset INNGEST_DEV where others reach the service, and set INNGEST_SIGNING_KEY"
            guards.append(Guard(path=MOUNT + SERVED_AT, callers=callers, open=True, fix=fix))
        if self._settings.door_keys:
            callers = f"senders with one of {len(self._settings.door_keys)} key(s)"
            guards.append(Guard(path=f"{DOOR}/{{key}}", callers=callers))
        return guards

    async def notices(self, has_run: HasRun) -> Sequence[Notice]:
        """List open routes of the server, other senders and apps, and problems with keys."""
        around = ServerChecks(self._api, self._app, self._settings)
        return await around.notices(has_run)

    def link(self) -> LinkStatus | None:
        """Return the state of the socket to the server; None where it calls us over HTTP."""
        return None if self._link is None else self._link.status

    async def start(self) -> None:
        """Do nothing: the vendor calls us, or we connect when we register."""

    def drain(self) -> None:
        """Take no more calls down the socket; over HTTP the endpoint is closed already."""
        if self._link is not None:
            self._link.drain()

    async def close(self) -> None:
        """End the calls in progress, and close the connections."""
        if self._link is not None:
            await self._link.close()
        await self._api.close()

    async def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Delivered]:
        """Send one event for each; its id is the delivery's key."""
        stamps = [await self._surroundings.stamps(delivery) for delivery in deliveries]
        events = [
            {
                "name": event_name(self._app, delivery.task),
                "id": delivery.key,
                "data": {
                    "run_id": delivery.run_id,
                    "delivery": delivery.number,
                    "task": delivery.task,
                    "protocol": PROTOCOL,
                    "definition": self._app.definition,
                    **stamp,
                },
            }
            for delivery, stamp in zip(deliveries, stamps, strict=True)
        ]
        answers = await self._api.send(events)
        return [
            Delivered(key=delivery.key, error=answer)
            if isinstance(answer, Exception)
            else Delivered(key=delivery.key, provider_run_id=VendorRuns.of_event(answer))
            for delivery, answer in zip(deliveries, answers, strict=True)
        ]

    async def wake(self, wakes: Sequence[Wake]) -> None:
        """Send an event for each to the vendor runs that wait for it."""
        for answer in await self._api.send(wake_events(wakes)):
            if isinstance(answer, Exception):
                raise answer

    async def stop(self, delivery: Delivery) -> bool:
        """Cancel the vendor run; True once the server itself says that it has ended."""
        return await self._lookout.stop(delivery)

    async def look(self, delivery: Delivery) -> Sighting:
        """Read the state of the vendor run."""
        return await self._lookout.look(delivery)

    @property
    def list_lag(self) -> Millis:
        """How late a run may be listed: by then an accepted event has its run."""
        return SCHEDULED_WITHIN

    async def list_runs(
        self, *, since: Millis | None = None, cursor: str = ""
    ) -> tuple[Mapping[str, Sighting], str]:
        """Read one page of the runs of this app's tasks, failure hooks included, the oldest first.

        ProviderRefused: the server gave a page twice or an empty one before the last, or is one
        without API v2.
        """
        return await self._lookout.list_page(since, cursor)

    async def stamp(self, provider_run_id: str, sighting: Sighting) -> Mapping[str, Any]:
        """Read what the delivery of a listed run carried, from its event."""
        del provider_run_id
        return await self._lookout.stamp(sighting)

    def check(self, task: Task) -> None:
        """Refuse what the vendor cannot take; Turnout keeps every policy itself."""
        name = event_name(self._app, task.id)
        if len(name) > MAX_EVENT_NAME:
            raise PolicyRefused(
                f"task {task.id!r}: the event {name[:60]}… is longer than Inngest's"
                f" {MAX_EVENT_NAME} characters; shorten the app's name or the task's id"
            )
        if sum(defined.id == task.id for defined in self._app.all_tasks) > 1:
            raise PolicyRefused(
                f"task {task.id!r} has the id of another task's failure hook; rename it"
            )
        for schedule in self._app.schedules:
            if schedule.task == task.id:
                check_schedule(schedule)

    async def define(self, app: App) -> None:
        """Register the tasks; the schedules stay as the server has them until they are armed."""
        del app
        async with self._syncing:
            if self._crons is None:
                await self._read_crons()
            await self._sync(self._crons or {})

    async def defined(self) -> Sequence[str]:
        """Read back which tasks the server lists."""
        listed = {text_in(entry, "id") for entry in await self._api.functions(self._app.name)}
        return [entry.id for entry in self._app.all_tasks if entry.id in listed]

    async def arm(self, schedules: Sequence[Schedule]) -> None:
        """Register the schedules, with the tasks: the vendor replaces an app's functions whole."""
        for schedule in schedules:
            check_schedule(schedule)
        crons = {schedule.id: trigger_of(schedule) for schedule in schedules if not schedule.paused}
        async with self._syncing:
            # The link takes over what other replicas register: also from one that knows too little.
            offered = crons if self._link is None else self._link.crons
            if crons != self._crons or not crons.items() <= offered.items():
                await self._sync(crons)

    async def armed(self) -> Sequence[ArmedSchedule]:
        """Read back the schedules that the server lists."""
        return armed_of(await self._api.functions(self._app.name))

    async def _read_crons(self) -> None:
        """Read the armed schedules first, so that a registration does not disarm them."""
        self._crons = await self._listed_crons()

    async def _listed_crons(self) -> dict[str, str]:
        functions = await self._api.functions(self._app.name)
        return {
            text_in(function, "id").removeprefix(FUNCTION): cron
            for function in functions
            if text_in(function, "id").startswith(FUNCTION)
            and (cron := cron_of(function)) is not None
        }

    async def _sync(self, crons: Mapping[str, str]) -> None:
        """Have the SDK register everything, and wait until the server lists it."""
        await check_ownership(self._api, self._app, self._settings)
        if self._link is not None:
            await self._offer(self._link, crons)
        else:
            await self._register(crons)
        self._crons = dict(crons)
        expected = {entry.id for entry in self._app.all_tasks} | {
            FUNCTION + entry for entry in crons
        }
        await self._listed(expected)

    async def _offer(self, link: Link, crons: Mapping[str, str]) -> None:
        if not self._serving.functions(crons):
            return
        try:
            await link.offer(crons)
        except ProviderUnavailable:
            reason = await self._sync_error()
            if not reason:
                raise
            problem = f"Inngest refused the app {self._app.name!r}: {reason}"
            raise ProviderRefused(problem) from None

    def _linked(self) -> Link:
        async def armed() -> Mapping[str, str] | None:
            # A server that has forgotten the app altogether says nothing of its schedules.
            return await self._listed_crons() if await self.defined() else None

        make = connector(self._serving.client, self._serving.functions, self._settings.gateway)
        return Link(make, greeted, armed)

    async def _register(self, crons: Mapping[str, str]) -> None:
        application = self._serving.registration(crons)
        if application is None:
            return
        transport = httpx.ASGITransport(app=application)
        async with httpx.AsyncClient(
            transport=transport, base_url=self._settings.service_url
        ) as within:
            answer = await within.put(SERVED_AT)
        body = _json(answer)
        if body.get("ok") is not True:
            raise await self._refusal(body)

    async def _listed(self, expected: set[str]) -> None:
        listed: set[str] = set()
        for pause in LISTED_AFTER:
            listed = {
                text_in(function, "id") for function in await self._api.functions(self._app.name)
            }
            if listed >= expected:
                return
            await asyncio.sleep(pause)
        missing = ", ".join(sorted(expected - listed))
        raise ProviderUnavailable(f"Inngest does not list {missing[:500]} yet")

    async def _refusal(self, body: Mapping[str, Any]) -> Exception:
        """Find out why a registration failed: the answer itself does not say."""
        reason = await self._sync_error()
        brief = str(body.get("error") or body.get("message") or "no reason given")[:500]
        refused = body.get("status") == HTTPStatus.BAD_REQUEST or "invalid" in brief
        if reason and refused:
            return ProviderRefused(f"Inngest refused the app {self._app.name!r}: {reason}")
        if refused:
            return ProviderRefused(f"Inngest refused the app {self._app.name!r}: {brief}")
        return ProviderUnavailable(f"Inngest did not register the app: {brief}")

    async def _sync_error(self) -> str:
        """Read what the server found wrong with the last registration."""
        answer = await self._api.get(f"/v2/apps/{quote(self._app.name, safe='')}")
        app = object_in(answer.body, "data") if isinstance(answer.body, dict) else {}
        return text_in(object_in(app, "latestSync"), "error")


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        body = None
    return body if isinstance(body, dict) else {"error": f"answer {answer.status_code}"}

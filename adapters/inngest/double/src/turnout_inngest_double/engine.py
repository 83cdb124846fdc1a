"""Puts the parts together: one object that the API talks to."""

from typing import Any

import orjson

from turnout_inngest_double import ids
from turnout_inngest_double.app_reader import read_app
from turnout_inngest_double.clock import Clock
from turnout_inngest_double.connect_wire import Hello
from turnout_inngest_double.cron_runner import CronRunner
from turnout_inngest_double.errors import RefusedBySync
from turnout_inngest_double.functions import Function
from turnout_inngest_double.gateway import Gateway, described
from turnout_inngest_double.http_client import ApplicationClient
from turnout_inngest_double.intake import Intake
from turnout_inngest_double.limits import Limits
from turnout_inngest_double.options import Options
from turnout_inngest_double.runner import Runner
from turnout_inngest_double.scheduler import Scheduler
from turnout_inngest_double.sdk_request import Caller
from turnout_inngest_double.state import App, Event, Parent, Run
from turnout_inngest_double.steps import RunFault
from turnout_inngest_double.store import Store
from turnout_inngest_double.world import Payload, World

INVOKED = "inngest/function.invoked"
_ENDINGS = {"FAILED": ("failed", "Failed"), "CANCELLED": ("cancelled", "Cancelled")}


class Engine:
    """The server without its API. Create it inside a running loop, `open` it, `close` it."""

    def __init__(self, options: Options, clock: Clock) -> None:
        self.options = options
        self.clock = clock
        path = None
        if options.data is not None:
            options.data.mkdir(parents=True, exist_ok=True)
            path = options.data / "inngest-devserver.sqlite3"
        self.store = Store(path)
        self.world = World(self.store, options.keep_runs)
        self.scheduler = Scheduler(clock)
        self.http = ApplicationClient()
        self.gateway = Gateway(clock, self.scheduler, self._connected)
        caller = Caller(self.http, self.gateway, options, clock)
        limits = Limits(self.store)
        self.runner = Runner(
            self.world,
            self.store,
            clock,
            self.scheduler,
            caller,
            limits,
            options,
            invoke=self.invoke,
            on_ended=self._announce_end,
        )
        self.intake = Intake(self.world, self.runner, clock, self.scheduler, self.store, limits)
        self.crons = CronRunner(
            self.world, clock, self.scheduler, self._tick, every_slot=options.test_clock
        )
        self._limits = limits

    def open(self) -> None:
        """Read what was kept and go on with it."""
        self.world.load()
        self._limits.load()
        self.intake.load()
        self.runner.resume()
        self.crons.arm_all()

    async def close(self) -> None:
        """Stop; what is under way goes on after the next `open`."""
        self.scheduler.close()
        await self.gateway.close()
        await self.runner.close()
        await self.http.close()
        await self.store.close()

    # -- what clients do ------------------------------------------------------------------------

    def accept(self, raw: dict[str, Any], internal_id: str) -> None:
        """Take one event in. A repeated internal id is a resent request, and starts nothing."""
        previous = self.world.events.get(internal_id)
        if previous is not None:
            previous.receipts += 1
            self.world.save_event(previous)
            return
        now = self.clock.now()
        payload: Payload = {
            "data": raw.get("data") or {},
            "id": raw.get("id") or internal_id,
            "name": raw["name"],
            "ts": raw.get("ts") or now,
            "user": raw.get("user") or {},
        }
        if raw.get("v"):
            payload["v"] = raw["v"]
        due_at = self.clock.received(raw["ts"]) if raw.get("ts") else now
        self.intake.publish(self._event(payload, internal_id, due_at), payload)

    def register(self, app: App) -> bool:
        """Replace the app's functions; whether anything is new."""
        previous = self.world.apps.get(app.id)
        if (
            previous is not None
            and previous.checksum == app.checksum
            and previous.sync_error is None
        ):
            return False
        self.world.save_app(app)
        self.crons.arm_all()
        return True

    def note_refusal(self, name: str, reason: str) -> None:
        """The functions that are there stay; the reason is shown with the app."""
        app = self.world.apps.get(name) or App(id=name, created_at=self.clock.now())
        app.sync_error = reason
        self.world.save_app_status(app)

    def _connected(self, hello: Hello) -> None:
        """A worker introduced itself: its applications are registered, all or none."""
        now = self.clock.now()
        try:
            apps = [read_app(described(hello, *app), hello.sdk, now) for app in hello.apps]
        except RefusedBySync as error:
            for name, _, _ in hello.apps:
                self.note_refusal(name, str(error))
            raise
        for app in apps:
            app.method = "CONNECT"
            self.register(app)

    def invoke(
        self,
        function: Function,
        data: dict[str, Any],
        *,
        version: str | None = None,
        parent: Parent | None = None,
    ) -> Run | str:
        """Start one function directly; the run, or the word for why there is none."""
        internal_id = ids.ulid(self.clock.now())
        payload: Payload = {
            "data": data,
            "id": internal_id,
            "name": INVOKED,
            "ts": self.clock.now(),
            "user": {},
        }
        if version:
            payload["v"] = version
        event = self._event(payload, internal_id)
        self.world.add_event(event)
        return self.intake.start(function, [event], payload, parent=parent)

    # -- what the server itself says ------------------------------------------------------------

    def _event(self, payload: Payload, internal_id: str, due_at: int = 0) -> Event:
        return Event(
            internal_id=internal_id,
            name=payload["name"],
            due_at=due_at,
            payload=orjson.dumps(payload),
            received_at=self.clock.now(),
        )

    def _tick(self, function: Function, cron: str, slot: int) -> None:
        moment = ids.iso_seconds(slot)
        payload: Payload = {
            "data": {"cron": cron, "fireAt": moment, "scheduledAt": moment},
            "id": moment,
            "name": "inngest/scheduled.timer",
            "ts": slot,
            "user": {},
        }
        event = self._event(payload, ids.ulid(self.clock.now()))
        self.world.add_event(event)
        self.intake.start(function, [event], payload, cron=cron)

    def _announce_end(self, run: Run, fault: RunFault | None) -> None:
        """Tell the functions that want to know; never about such a function's own run."""
        origin = self.world.events.get(run.events[0])
        if origin is not None and origin.name.startswith("inngest/function."):  # noqa: SIM102
            if origin.name != INVOKED:
                return
        ending = _ENDINGS.get(run.status)
        if ending is not None:
            self._announce(f"inngest/function.{ending[0]}", ending[1], run, fault)
        if run.status != "CANCELLED":
            self._announce("inngest/function.finished", run.status.capitalize(), run, fault)

    def _announce(self, name: str, status: str, run: Run, fault: RunFault | None) -> None:
        if not self.world.listens(name):
            return
        events = [self.world.payload(event) for event in run.events]
        data: dict[str, Any] = {
            "_inngest": {"status": status},
            "event": events[0],
            "events": events,
            "function_id": run.function,
            "run_id": run.id,
        }
        if run.output is not None:
            data["result"] = orjson.loads(run.output)
        if fault is not None:
            error = {name: fault.error.get(name) for name in ("message", "name", "stack")}
            data["error"] = {"error": fault.label, **error}
        now = self.clock.now()
        payload: Payload = {"data": data, "id": run.id, "name": name, "ts": now, "user": {}}
        # The run's id is the event's too, but not the sender's choice: no deduplication.
        internal_id = ids.ulid(now)
        payload_event = self._event(payload, internal_id)
        self.intake.publish(payload_event, {**payload, "id": internal_id})

"""Decides which runs an event starts, continues or cancels."""

from dataclasses import dataclass
from typing import Any

from turnout_inngest_double import expressions, ids
from turnout_inngest_double.clock import Clock
from turnout_inngest_double.functions import Batch, Debounce, Function
from turnout_inngest_double.limits import Limits
from turnout_inngest_double.runner import Runner
from turnout_inngest_double.scheduler import Alarm, Scheduler
from turnout_inngest_double.state import Event, Parent, Run
from turnout_inngest_double.store import Store
from turnout_inngest_double.world import Payload, World

RATE_LIMITED = "rate_limited"
SKIPPED = "function_skipped"


@dataclass(kw_only=True)
class Gathering:
    """Events that wait for company (a batch) or for quiet (a debounce)."""

    key: str
    function: str
    kind: str
    events: list[str]
    at: int
    latest: int
    """Not later than this, whatever else comes in."""
    alarm: Alarm | None = None

    def doc(self) -> dict[str, Any]:
        """What is written down."""
        return {name: value for name, value in vars(self).items() if name != "alarm"}


class Intake:
    """Knows flow control: deduplication, rate limits, batches, debounces, singletons."""

    def __init__(
        self,
        world: World,
        runner: Runner,
        clock: Clock,
        scheduler: Scheduler,
        store: Store,
        limits: Limits,
    ) -> None:
        self._world = world
        self._runner = runner
        self._clock = clock
        self._scheduler = scheduler
        self._store = store
        self._limits = limits
        self._gatherings: dict[str, Gathering] = {}
        self._singletons: dict[str, str] = {}

    def load(self) -> None:
        """After a restart: read the gatherings and singletons back."""
        for run in self._world.runs.values():
            if run.singleton and not run.ended:
                self._singletons[run.singleton] = run.id
        for doc in self._store.load("held"):
            gathering = Gathering(**doc)
            if gathering.function in self._world.functions:
                self._gatherings[gathering.key] = gathering
                self._arm(gathering)

    # -- one event ------------------------------------------------------------------------------

    def publish(self, event: Event, payload: Payload) -> None:
        """Continue, cancel and start every run that the event concerns, in this order."""
        self._world.add_event(event)
        self._runner.event_came(event, payload)
        self._cancel_matching(event, payload)
        for slug, trigger in list(self._world.triggers.get(event.name, ())):
            if expressions.matches(trigger.expression, {"event": payload}):
                self._offer(self._world.functions[slug], event, payload)

    def _cancel_matching(self, event: Event, payload: Payload) -> None:
        for run_id in list(self._world.cancellable.get(event.name, ())):
            run = self._world.runs[run_id]
            for rule in self._world.function_of(run).cancels:
                if rule.event != event.name:
                    continue
                if rule.timeout_ms and self._clock.now() > run.queued_at + rule.timeout_ms:
                    continue
                original = self._world.payload(run.events[0]) if rule.condition else {}
                if expressions.matches(rule.condition, {"event": original, "async": payload}):
                    self._runner.cancel(run)
                    break

    def _offer(self, function: Function, event: Event, payload: Payload) -> None:
        if self._is_repeated(function, event, payload):
            return
        if function.batch and expressions.matches(function.batch.condition, {"event": payload}):
            self._add_to_batch(function, function.batch, event, payload)
        elif function.debounce:
            self._debounce(function, function.debounce, event, payload)
        else:
            self.start(function, [event], payload)

    def _is_repeated(self, function: Function, event: Event, payload: Payload) -> bool:
        """Whether the sender's id, or the function's idempotency key, was seen within a day."""
        keys = [f"{function.slug}\n{payload['id']}"] if payload["id"] != event.internal_id else []
        if function.idempotency:
            key = expressions.key_of(function.idempotency, {"event": payload})
            keys.append(f"{function.slug}\r{key}")
        now = self._clock.now()
        return not all(self._limits.is_first(key, now) for key in keys)

    # -- batches and debounces ------------------------------------------------------------------

    def _add_to_batch(
        self, function: Function, batch: Batch, event: Event, payload: Payload
    ) -> None:
        key = f"{function.slug}\n{expressions.key_of(batch.key, {'event': payload})}"
        gathering = self._gatherings.get(key)
        if gathering is None:
            at = self._clock.now() + batch.timeout_ms
            gathering = self._gather("batch", key, function, event, at, at)
        else:
            gathering.events.append(event.internal_id)
        self._store.mark("held", key, gathering.doc)
        if len(gathering.events) >= batch.max_size:
            self._release(gathering)

    def _debounce(
        self, function: Function, debounce: Debounce, event: Event, payload: Payload
    ) -> None:
        key = f"{function.slug}\n{expressions.key_of(debounce.key, {'event': payload})}"
        now = self._clock.now()
        gathering = self._gatherings.get(key)
        if gathering is None:
            latest = now + (debounce.timeout_ms or ids.parse_duration("7d"))
            gathering = self._gather(
                "debounce", key, function, event, now + debounce.period_ms, latest
            )
        else:
            gathering.events = [event.internal_id]
            gathering.at = min(now + debounce.period_ms, gathering.latest)
            self._arm(gathering)
        self._store.mark("held", key, gathering.doc)

    def _gather(
        self, kind: str, key: str, function: Function, event: Event, at: int, latest: int
    ) -> Gathering:
        gathering = Gathering(
            key=key,
            function=function.slug,
            kind=kind,
            events=[event.internal_id],
            at=at,
            latest=latest,
        )
        self._gatherings[key] = gathering
        self._arm(gathering)
        return gathering

    def _arm(self, gathering: Gathering) -> None:
        if gathering.alarm is not None:
            gathering.alarm.cancel()
        gathering.alarm = self._scheduler.at(gathering.at, lambda: self._release(gathering))

    def _release(self, gathering: Gathering) -> None:
        if gathering.alarm is not None:
            gathering.alarm.cancel()
        self._gatherings.pop(gathering.key, None)
        self._store.forget("held", gathering.key)
        events = [self._world.events[e] for e in gathering.events if e in self._world.events]
        if events:
            payload = self._world.payload(events[0].internal_id)
            function = self._world.functions[gathering.function]
            self.start(function, events, payload, is_batch=gathering.kind == "batch")

    # -- one run --------------------------------------------------------------------------------

    def start(
        self,
        function: Function,
        events: list[Event],
        payload: Payload,
        *,
        is_batch: bool = False,
        cron: str | None = None,
        parent: Parent | None = None,
    ) -> Run | str:
        """A new run; or the word for why there is none."""
        now = self._clock.now()
        roots = {"event": payload}
        rate = function.rate_limit
        if rate and not self._limits.is_within(
            rate, f"{function.slug}\n{expressions.key_of(rate.key, roots)}", now
        ):
            return RATE_LIMITED
        singleton = self._singleton_key(function, payload)
        if singleton is not None and not self._is_free(function, singleton):
            return SKIPPED
        run = Run(
            id=ids.ulid(now),
            function=function.slug,
            app=function.app,
            events=[event.internal_id for event in events],
            queued_at=now,
            due_at=now if cron else max(now, events[0].due_at),
            is_batch=is_batch,
            cron=cron,
            parent=parent,
            singleton=singleton,
        )
        if singleton is not None:
            self._singletons[singleton] = run.id
        self._runner.start(run)
        return run

    def _singleton_key(self, function: Function, payload: Payload) -> str | None:
        if function.singleton is None:
            return None
        return f"{function.slug}\n{expressions.key_of(function.singleton.key, {'event': payload})}"

    def _is_free(self, function: Function, key: str) -> bool:
        current = self._world.runs.get(self._singletons.get(key, ""))
        if current is None or current.ended:
            return True
        if function.singleton is not None and function.singleton.mode == "skip":
            return False
        self._runner.cancel(current)
        return True

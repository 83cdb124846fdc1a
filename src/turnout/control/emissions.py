"""How an event becomes an emission: checked, given ids, and routed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticSerializationError, to_jsonable_python

from turnout.errors import InvalidPayload, TooLarge, WrongUse
from turnout.model.admission import new_run
from turnout.model.canonical import canonical_bytes
from turnout.model.events import Event, StoredEvent
from turnout.model.ids import check_event_name, check_run_id, new_run_id
from turnout.model.routing import Choice, Route, Selection, choose
from turnout.model.runs import Emission, NewRun
from turnout.model.schedules import Schedule
from turnout.model.tasks import App, Task
from turnout.model.time import Millis, moment

LARGEST_PAYLOAD = 3 * 1024 * 1024
"""Bytes of an event's payload: what every provider takes."""

LONGEST_KEY = 512
SCHEDULE_EVENT = "turnout/schedule."


@dataclass(frozen=True, kw_only=True)
class Emitter:
    """Makes emissions for one app under one selection of providers."""

    app: App
    selection: Selection
    routes: Callable[[], Mapping[str, Route]]
    """The routes as they stand now."""

    def emission(self, event: Event, now: Millis, *, caused_by: str | None = None) -> Emission:
        """Check an event and say which runs it starts.

        InvalidPayload names the field. An event that no task subscribes to starts none; it may
        still meet a wait.
        """
        payload = as_json(event.payload, event.name)
        stored = self._stored(event, payload, now, caused_by)
        tasks = self.app.subscribed(event.name, payload)
        if event.run_id is not None and len(tasks) != 1:
            raise WrongUse(
                f"event {event.name!r} starts {len(tasks)} tasks; a run_id goes with exactly one"
            )
        for each in tasks:
            each.read_payload(payload)
        due_at = None if event.at is None else moment(event.at)
        runs = (self._run(each, stored, payload, due_at, event) for each in tasks)
        return Emission(event=stored, runs=tuple(runs))

    def slot(self, schedule: Schedule, slot: Millis, now: Millis) -> Emission:
        """Say which run a schedule's slot starts; its key is the slot's own."""
        task = self.app.task(schedule.task)
        event = Event(
            name=SCHEDULE_EVENT + schedule.id,
            payload=schedule.payload,
            key=f"{schedule.id}@{slot}",
        )
        payload = as_json(event.payload, event.name)
        stored = self._stored(event, payload, now, None)
        return Emission(event=stored, runs=(self._run(task, stored, payload, None, event),))

    def _stored(
        self, event: Event, payload: Any, now: Millis, caused_by: str | None
    ) -> StoredEvent:
        text = canonical_bytes(payload)
        if len(text) > LARGEST_PAYLOAD:
            raise TooLarge(
                f"event {event.name!r}: the payload has {len(text):,} bytes; at most"
                f" {LARGEST_PAYLOAD:,} are taken; store large values and pass a reference"
            )
        if event.key is not None and not 0 < len(event.key) <= LONGEST_KEY:
            raise WrongUse(f"event {event.name!r}: a key has 1 to {LONGEST_KEY} characters")
        return StoredEvent(
            event_id=new_run_id(now),
            name=check_event_name(event.name),
            payload=text,
            emitted_at=now,
            key=event.key,
            caused_by=caused_by,
        )

    def _run(
        self, task: Task, stored: StoredEvent, payload: Any, due_at: Millis | None, event: Event
    ) -> NewRun:
        given = event.run_id
        run_id = new_run_id(stored.emitted_at) if given is None else check_run_id(given)
        choice = self.choice(task.id, sticky=event.key or run_id)
        return new_run(
            self.app,
            task,
            stored,
            run_id=run_id,
            provider=choice.provider,
            shadow=choice.shadow,
            payload=payload,
            due_at=due_at,
            key=event.key,
        )

    def choice(self, task_id: str, *, sticky: str) -> Choice:
        """Choose the provider of a new run."""
        return choose(self.selection, self.routes(), task=task_id, sticky=sticky)


def as_json(payload: Any, name: str) -> Any:
    """Turn a payload into plain JSON values: a pydantic model, a dataclass, or JSON as it is."""
    if payload is None or isinstance(payload, (dict, list, str, int, float)):
        return payload
    try:
        return to_jsonable_python(payload, by_alias=True)
    except PydanticSerializationError as error:
        raise InvalidPayload(f"event {name!r}: the payload is not JSON: {error}") from None

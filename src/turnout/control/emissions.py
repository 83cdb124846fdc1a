"""How an event becomes an emission: checked, given ids, and routed."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic_core import to_jsonable_python

from turnout.control.event_ids import OrderedIds
from turnout.errors import InvalidPayload, TooLarge, WrongUse
from turnout.model.admission import new_run
from turnout.model.canonical import canonical_bytes
from turnout.model.events import Event, StoredEvent
from turnout.model.exactness import check_exact
from turnout.model.ids import check_event_key, check_event_name, check_run_id, new_run_id
from turnout.model.labels import NO_LABELS, Labels, read_labels
from turnout.model.routing import DUAL, Choice, Route, Selection, armed_at, choose
from turnout.model.runs import Emission, NewRun
from turnout.model.schedules import Schedule
from turnout.model.status import RunOrigin
from turnout.model.tasks import App, Task
from turnout.model.text import message_of, name_of
from turnout.model.time import LONGEST, Millis, moment

LARGEST_PAYLOAD = 3 * 1024 * 1024
"""Bytes of an event's payload: what every provider takes."""

SCHEDULE_EVENT = "turnout/schedule."
"""What the name of a schedule's event begins with; the schedule's id follows."""


@dataclass(frozen=True, kw_only=True)
class Emissions:
    """Makes the emissions of one app under one selection of providers; stores nothing."""

    app: App
    selection: Selection
    routes: Callable[[], Mapping[str, Route]]
    """Returns the routes in force, by task id."""
    refresh: Callable[[], Awaitable[None]]
    """Reads the routes again, where they may have changed since."""
    event_ids: OrderedIds = field(default_factory=OrderedIds)
    """Events of one millisecond keep their order."""

    async def refresh_routes(self) -> None:
        """Read the routes again, if they count; call it before what depends on them.

        In a process that is not started nothing else reads them.
        """
        if self.selection.provider == DUAL:
            await self.refresh()

    def of_event(self, event: Event, now: Millis, *, caused_by: str | None = None) -> Emission:
        """Check an event and decide which runs it starts.

        InvalidPayload names the field. An event that no task subscribes to starts no run; it can
        still settle a wait.
        """
        payload = as_json(event.payload, event.name)
        try:
            return self._of_payload(event, payload, now, caused_by)
        except InvalidPayload:
            # A model with two aliases does not read what it writes, but reads its fields' names.
            by_name = as_json(event.payload, event.name, by_alias=False)
            if by_name == payload:
                raise
        return self._of_payload(event, by_name, now, caused_by)

    def _of_payload(
        self, event: Event, payload: Any, now: Millis, caused_by: str | None
    ) -> Emission:
        stored = self._stored(event, payload, now, caused_by)
        tasks = self.app.subscribed(event.name, payload)
        if event.run_id is not None and len(tasks) != 1:
            raise WrongUse(
                f"event {event.name!r} starts {len(tasks)} tasks; a run_id goes with exactly one"
            )
        for task in tasks:
            task.read_payload(payload)
        due_at = None if event.at is None else _start(event.at, now)
        runs = (self._run(task, stored, payload, due_at, event) for task in tasks)
        return Emission(event=stored, runs=tuple(runs))

    def of_slot(
        self,
        schedule: Schedule,
        slot: Millis,
        now: Millis,
        *,
        due_at: Millis | None = None,
        origin: RunOrigin = RunOrigin.SLOT,
    ) -> Emission:
        """Make the emission of a schedule's slot; the run's key names the schedule and the slot."""
        task = self.app.task(schedule.task)
        event = Event(
            name=SCHEDULE_EVENT + schedule.id,
            payload=schedule.payload,
            key=f"{schedule.id}@{slot}",
            origin=origin,
        )
        payload = as_json(event.payload, event.name)
        stored = self._stored(event, payload, now, None)
        return Emission(event=stored, runs=(self._run(task, stored, payload, due_at, event),))

    def choice(self, task: Task, payload: Any, *, fallback: str) -> Choice:
        """Choose the provider of a new run by its sticky value; fallback: where it has none."""
        sticky = task.sticky_part(payload)
        sticky = fallback if sticky is None else sticky
        return choose(self.selection, self.routes(), task=task.id, sticky=sticky)

    def armed_at(self, task_id: str) -> tuple[str, ...]:
        """Say at which providers a task's schedules are to be armed, their owner first."""
        return armed_at(self.selection, self.routes(), task=task_id)

    def _stored(
        self, event: Event, payload: Any, now: Millis, caused_by: str | None
    ) -> StoredEvent:
        body = canonical_bytes(payload)
        if payload is not event.payload:
            check_exact(event.payload, body)
        if len(body) > LARGEST_PAYLOAD:
            raise TooLarge(
                f"event {event.name!r}: the payload has {len(body):,} bytes; at most"
                f" {LARGEST_PAYLOAD:,} are taken; store large values and pass a reference"
            )
        return StoredEvent(
            event_id=self.event_ids.new(now),
            name=check_event_name(event.name),
            payload=body,
            emitted_at=now,
            key=None if event.key is None else check_event_key(event.key),
            caused_by=caused_by,
            labels=labels_of(event),
        )

    def _run(
        self, task: Task, stored: StoredEvent, payload: Any, due_at: Millis | None, event: Event
    ) -> NewRun:
        if event.run_id is None:
            run_id = new_run_id(stored.emitted_at)
        else:
            run_id = check_run_id(event.run_id)
        choice = self.choice(task, payload, fallback=run_id)
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
            origin=event.origin,
            retries=event.retries,
        )


def labels_of(event: Event) -> Labels:
    """Check an event's labels; WrongUse and TooLarge name the bound."""
    if not event.tags and event.user_id is None and event.metadata is None:
        return NO_LABELS
    try:
        return read_labels(event.tags, event.user_id, event.metadata)
    except WrongUse as error:
        raise type(error)(f"event {event.name!r}: {error}") from None


def as_json(payload: Any, name: str, *, by_alias: bool = True) -> Any:
    """Turn a payload into plain JSON values: a pydantic model, a dataclass, or JSON as it is."""
    if payload is None or isinstance(payload, (dict, list, str, int, float)):
        return payload
    try:
        return to_jsonable_python(payload, by_alias=by_alias)
    except BaseException as error:  # a serializer is user code
        fault = f"{name_of(error)}: {message_of(error, limit=1_000)}"
        raise InvalidPayload(f"event {name!r}: the payload is not JSON: {fault}") from error


def _start(at: datetime, now: Millis) -> Millis:
    """Read when a delayed run starts; WrongUse beyond the longest delay."""
    due_at = moment(at)
    if due_at - now > LONGEST:
        raise WrongUse(f"at: {at.isoformat()} is more than 366 days ahead")
    return due_at

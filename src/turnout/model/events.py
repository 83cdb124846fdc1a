"""Events: named facts that start the tasks subscribed to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from turnout.model.labels import NO_LABELS, Labels
from turnout.model.policies import Retries
from turnout.model.status import RunOrigin
from turnout.model.time import Millis


@dataclass(frozen=True, kw_only=True)
class Event:
    """A fact, as a caller emits it."""

    name: str
    payload: Any = field(default_factory=dict)
    """JSON, or a pydantic model."""
    key: str | None = None
    """Makes the event unique per task for ever: a second emit with it returns the first run."""
    at: datetime | None = None
    """A delayed start."""
    run_id: str | None = None
    """The caller's own id for the run of the one task that subscribes."""
    tags: Sequence[str] = ()
    """What its runs, and the runs that those start, are found by; at most 10 of 128 characters."""
    user_id: str | int | None = None
    """For whom it is; at most 128 characters."""
    metadata: Mapping[str, Any] | None = None
    """What else there is to say of it: a JSON object, at most 16 KiB."""
    retries: Retries | None = None
    """A retry policy for its runs, in place of their tasks'."""
    origin: RunOrigin = RunOrigin.EVENT
    """Why its runs exist."""


@dataclass(frozen=True, kw_only=True)
class StoredEvent:
    """An event as it is recorded; payload is canonical JSON."""

    event_id: str
    name: str
    payload: bytes
    emitted_at: Millis
    key: str | None = None
    caused_by: str | None = None
    """The run whose step emitted it, as run/step."""
    labels: Labels = NO_LABELS


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """An event that was refused at a door and is kept; payload is canonical JSON."""

    letter_id: str
    name: str
    payload: bytes
    key: str | None
    due_at: Millis | None
    """A delayed start."""
    error: str
    """Why it was refused."""
    refused_at: Millis
    labels: Labels = NO_LABELS
    dropped: str | None = None
    """Why an operator dropped it; None: it is kept."""


@dataclass(frozen=True, kw_only=True)
class RunRef:
    """One run that an event started, or had started before."""

    run_id: str
    task: str
    duplicate: bool = False
    """Whether the key had been used: this is the run of the first emit."""


@dataclass(frozen=True, kw_only=True)
class Emitted:
    """What an emit did: the event's id and the runs it started."""

    event_id: str
    runs: tuple[RunRef, ...]
    waits_met: int = 0
    """How many open waits the event met, cancels included."""


Match = Mapping[str, Any]
"""Path into a payload → the value that it must have."""


@dataclass(frozen=True, kw_only=True)
class Only:
    """A condition: the event starts the task only if its payload has these values.

    The repr of this class is part of the definition's digest: its names must not change.
    """

    event: str
    match: tuple[tuple[str, Any], ...]

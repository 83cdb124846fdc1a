"""Rows of the tables and the values of the model, both ways."""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

import orjson

from turnout.model.canonical import canonical_bytes
from turnout.model.events import StoredEvent
from turnout.model.labels import NO_LABELS, Labels
from turnout.model.policies import Retries
from turnout.model.runs import (
    Attempt,
    Chunk,
    Delivery,
    Failure,
    Run,
    Step,
    Transition,
    Wait,
)
from turnout.model.status import (
    AttemptState,
    DeliveryReason,
    DeliveryState,
    ParkReason,
    RunOrigin,
    RunStatus,
    StepKind,
    StepState,
    TransitionCause,
)
from turnout.stores.sql import schema
from turnout.stores.sql.expressions import among
from turnout.stores.sql.statements import Row

_RUN_STATES: Final = {member.value: member for member in RunStatus}
_STEP_STATES: Final = {member.value: member for member in StepState}
_KINDS: Final = {member.value: member for member in StepKind}
_ATTEMPT_STATES: Final = {member.value: member for member in AttemptState}
_REASONS: Final = {member.value: member for member in DeliveryReason}
_DELIVERY_STATES: Final = {member.value: member for member in DeliveryState}

_NOT_OF_A_RUN: Final = {"wake_at", "wake_sent", "projected_seq", "projection_at"}
RUN_COLUMNS: Final = tuple(column for column in schema.runs.c if column.name not in _NOT_OF_A_RUN)
STEP_COLUMNS: Final = tuple(schema.steps.c)[1:]
ATTEMPT_COLUMNS: Final = tuple(schema.attempts.c)[1:-1]
CHUNK_COLUMNS: Final = tuple(schema.chunks.c)[1:]
DELIVERY_COLUMNS: Final = tuple(
    column for column in schema.deliveries.c if column.name not in {"error", "watched", "listed_at"}
)
LIVE: Final = frozenset({DeliveryState.PENDING, DeliveryState.SENT, DeliveryState.CLAIMED})
"""States in which a vendor run may still call."""
LIVE_RUN: Final = among(
    schema.runs.c.state, (state.value for state in RunStatus if not state.terminal)
)
IS_LIVE: Final = among(schema.deliveries.c.state, (state.value for state in LIVE))


def run_of(row: Row) -> Run:
    """Read a run from RUN_COLUMNS, which are in the order of its fields, `emit_seq` before them."""
    emit_seq, *first, state = row[:10]
    return Run._make(
        (
            *first,
            _RUN_STATES[state],
            *row[10:21],
            bool(row[21]),
            row[22],
            tuple(map(ParkReason, row[23].split(","))) if row[23] else (),
            *row[24:28],
            _failure(row[28], row[29]),
            *row[30:34],
            emit_seq,
            labels_of(row[34:37]),
            RunOrigin.EVENT if row[37] is None else RunOrigin(row[37]),
            row[38],
            Retries(**orjson.loads(row[39])) if row[39] else None,
        )
    )


def run_row(run: Run) -> Row:
    """Write a run that is emitted, in the order of the table; the store gives `emit_seq`."""
    return (
        *run[:8],
        str(run.state),
        *run[9:20],
        int(run.parked),
        run.parked_until,
        _words(run.parked_for),
        *run[23:27],
        *_error(run.error),
        *run[28:32],
        None,  # it is not to be woken
        0,
        -1,  # it has no artifacts yet: they are due
        0,
        *labels_row(run.labels),
        str(run.origin),
        run.retry_of,
        None if run.retries is None else canonical_bytes(run.retries.plain()),
    )


def labels_of(row: Row) -> Labels:
    """Read labels from (user_id, tags, metadata)."""
    user_id, tags, metadata = row
    if user_id is tags is metadata is None:
        return NO_LABELS
    return Labels(user_id=user_id, tags=tuple(orjson.loads(tags or b"[]")), metadata=metadata)


def labels_row(labels: Labels) -> Row:
    """Write labels."""
    return labels.user_id, canonical_bytes(labels.tags) if labels.tags else None, labels.metadata


def changed_values(before: Run, after: Run) -> dict[str, Any]:
    """Write the columns of a run in which it differs from before; seq and emit_seq are ours."""
    if before is after:
        return {}
    was, now = _FIELDS(before), _FIELDS(after)
    changed = {
        name: write(new)
        for (name, write), old, new in zip(_CHANGING, was, now, strict=True)
        if new != old
    }
    if after.error != before.error:
        changed["error_name"], changed["error_message"] = _error(after.error)
    return changed


def step_of(row: Row) -> Step:
    """Read a step from STEP_COLUMNS."""
    name, kind, position, state, asked_at, *rest = row[:9]
    first = (name, _KINDS[kind], position, asked_at, _STEP_STATES[state])
    return Step._make((*first, *rest, _failure(*row[9:])))


def step_row(run_id: str, step: Step) -> Row:
    """Write a step."""
    name, kind, position, asked_at, state, *rest, error = step
    return run_id, name, str(kind), position, str(state), asked_at, *rest, *_error(error)


def attempt_of(row: Row) -> Attempt:
    """Read an attempt from ATTEMPT_COLUMNS, which are in the order of its fields."""
    step, number, state, *rest = row[:9]
    error = _failure(row[9], row[10])
    return Attempt._make((step, number, _ATTEMPT_STATES[state], *rest, error, *row[11:]))


def attempt_row(run: Run, attempt: Attempt) -> Row:
    """Write an attempt of a run."""
    step, number, state, *rest, error, retry_at, streamed = attempt
    leased = int(state is AttemptState.CLAIMED and not run.state.terminal)
    head = (run.run_id, step, number, str(state), *rest)
    return *head, *_error(error), retry_at, streamed, leased


def transition_row(run_id: str, seq: int, place: int, passed: Transition) -> Row:
    """Write a change of a run's state."""
    return run_id, seq, place, str(passed.state), passed.at, passed.cause, passed.actor


def transition_of(row: Row) -> Transition:
    """Read a transition from (state, at, cause, actor)."""
    state, at, cause, actor = row
    cause = None if cause is None else TransitionCause(cause)
    return Transition(state=_RUN_STATES[state], at=at, cause=cause, actor=actor)


def chunk_row(run_id: str, chunk: Chunk) -> Row:
    """Write a chunk."""
    return run_id, chunk.number, chunk.name, chunk.value, chunk.at, chunk.step, chunk.attempt


def chunk_of(row: Row) -> Chunk:
    """Read a chunk from CHUNK_COLUMNS."""
    return Chunk(number=row[0], name=row[1], value=row[2], at=row[3], step=row[4], attempt=row[5])


def delivery_of(row: Row, run: Run | None = None) -> Delivery:
    """Read a delivery from DELIVERY_COLUMNS."""
    return Delivery(
        run_id=row[0],
        number=row[1],
        provider=row[2],
        task=row[3],
        state=_DELIVERY_STATES[row[4]],
        due_at=row[5],
        provider_run_id=row[6],
        token=row[7],
        sent_at=row[8],
        claimed_at=row[9],
        called_at=row[10],
        stopping=bool(row[11]),
        failures=row[12],
        reason=_REASONS[row[13]] if row[13] else DeliveryReason.unrecorded(row[1]),
        epoch=row[14],
        run=run,
    )


def delivery_row(run: Run, number: int, provider: str, due_at: int, reason: DeliveryReason) -> Row:
    """Write a delivery that is pending; the statement adds the store's epoch."""
    pending = str(DeliveryState.PENDING)
    return run.run_id, number, provider, run.task, pending, due_at, *_FRESH_DELIVERY, str(reason)


def event_of(row: Row) -> StoredEvent:
    """Read an event from all its columns."""
    event_id, name, payload, emitted_at, key, caused_by = row
    return StoredEvent(
        event_id=event_id,
        name=name,
        payload=payload,
        emitted_at=emitted_at,
        key=key,
        caused_by=caused_by,
    )


def event_row(event: StoredEvent) -> Row:
    """Write an event."""
    return (
        event.event_id,
        event.name,
        event.payload,
        event.emitted_at,
        event.key,
        event.caused_by,
        event.labels.user_id,
    )


_WHOLE: Final = ["", "whole"]
"""Marks, among the further matches of a wait, that the step gets the whole event.

It cannot be a match: a path is never empty.
"""
_SINCE_RUN: Final = ["", "since-run"]
"""Marks, in the same way, that an event from before the wait meets it, too."""


def wait_of(row: Row) -> Wait:
    """Read a wait from (run_id, step, event, path, value, more)."""
    run_id, step, event, path, value, further = row
    first = ((path, value),) if path else ()
    pairs = orjson.loads(further)
    matches = tuple((further_path, text.encode()) for further_path, text in pairs if further_path)
    return Wait(
        run_id=run_id,
        step=step or None,
        event=event,
        match=first + matches,
        whole=_WHOLE in pairs,
        since_run=_SINCE_RUN in pairs,
    )


def wait_values(wait: Wait, place: int) -> dict[str, Any]:
    """Write a wait; its first match is what it is found by."""
    (path, value), *further = wait.match or (("", b""),)
    return {
        "run_id": wait.run_id,
        "step": wait.step or "",
        "place": place,
        "event": wait.event,
        "path": path,
        "value": value,
        "more": canonical_bytes(
            [
                *([further_path, text.decode()] for further_path, text in further),
                *([_WHOLE] if wait.whole else []),
                *([_SINCE_RUN] if wait.since_run else []),
            ]
        ),
    }


def _failure(name: str | None, message: str | None) -> Failure | None:
    return None if name is None else Failure(name=name, message=message or "")


def _error(error: Failure | None) -> tuple[str | None, str | None]:
    return _NO_ERROR if error is None else (error.name, error.message)


def _same(value: Any) -> Any:
    return value


def _words(reasons: Sequence[ParkReason]) -> str:
    return ",".join(reasons)


_NO_ERROR: Final = (None, None)
_FRESH_DELIVERY: Final = (None, None, None, None, None, 0, 0, None, 1)
"""provider_run_id, token, sent_at, claimed_at, called_at, stopping, failures, error, watched."""

_SPECIAL: Final[Mapping[str, Callable[[Any], Any]]] = {
    "state": str,
    "parked": int,
    "parked_for": _words,
}
_FIXED: Final = frozenset(
    (
        *("emit_seq", "error_name", "error_message", "run_id", "seq", "payload", "user_id"),
        *("tags", "metadata", "origin", "retry_of", "retries"),
    )
)
_CHANGING: Final = tuple(
    (column.name, _SPECIAL.get(column.name, _same))
    for column in RUN_COLUMNS
    if column.name not in _FIXED
)
_FIELDS: Final = attrgetter(*(name for name, _ in _CHANGING))

"""Rows of the tables and the values of the model, both ways."""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Final

import orjson

from turnout.model.canonical import canonical_bytes
from turnout.model.events import StoredEvent
from turnout.model.runs import (
    Attempt,
    Delivery,
    Failure,
    NewRun,
    Run,
    Step,
    Transition,
    Wait,
)
from turnout.model.status import (
    AttemptState,
    DeliveryState,
    ParkReason,
    RunStatus,
    StepKind,
    StepState,
)
from turnout.stores.sql import schema
from turnout.stores.sql.statements import Row

_RUN_STATES: Final = {each.value: each for each in RunStatus}
_STEP_STATES: Final = {each.value: each for each in StepState}
_KINDS: Final = {each.value: each for each in StepKind}
_ATTEMPT_STATES: Final = {each.value: each for each in AttemptState}
_DELIVERY_STATES: Final = {each.value: each for each in DeliveryState}

RUN_COLUMNS: Final = tuple(
    schema.runs.c[name]
    for name in (
        *("run_id", "task", "provider", "payload", "event", "event_id", "emitted_at", "due_at"),
        *("state", "seq", "fence", "delivery", "definition", "code_version", "key", "limit_key"),
        *("started_at", "ended_at", "deadline_at", "parked", "parked_until", "parked_for"),
        *("parent_run_id", "parent_step", "result", "error_name", "error_message", "progress"),
        *("emit_seq", "shadow"),
    )
)
STEP_COLUMNS: Final = tuple(schema.steps.c)[1:]
ATTEMPT_COLUMNS: Final = tuple(schema.attempts.c)[1:-1]
DELIVERY_COLUMNS: Final = tuple(
    each for each in schema.deliveries.c if each.name not in {"error", "watched"}
)
LIVE: Final = frozenset({DeliveryState.PENDING, DeliveryState.SENT, DeliveryState.CLAIMED})
"""States in which a vendor run may still call."""


def run_of(row: Row) -> Run:
    """Read a run from RUN_COLUMNS."""
    return Run(
        run_id=row[0],
        task=row[1],
        provider=row[2],
        payload=row[3],
        event=row[4],
        event_id=row[5],
        emitted_at=row[6],
        due_at=row[7],
        state=_RUN_STATES[row[8]],
        seq=row[9],
        fence=row[10],
        delivery=row[11],
        definition=row[12],
        code_version=row[13],
        key=row[14],
        limit_key=row[15],
        started_at=row[16],
        ended_at=row[17],
        deadline_at=row[18],
        parked=bool(row[19]),
        parked_until=row[20],
        parked_for=tuple(map(ParkReason, row[21].split(","))) if row[21] else (),
        parent_run_id=row[22],
        parent_step=row[23],
        result=row[24],
        error=_failure(row[25], row[26]),
        progress=row[27],
        emit_seq=row[28],
        shadow=row[29],
    )


def new_run_values(new: NewRun) -> dict[str, Any]:
    """Write a run that is emitted."""
    run = new.run
    return {
        **{
            name: write(value)
            for (name, write), value in zip(_PLAIN.items(), _ALL(run), strict=True)
        },
        **_error(run.error),
        "wake_at": None,
        "wake_sent": 0,
        "projected_seq": -1,
        "projection_at": 0,
    }


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
    return changed if after.error == before.error else changed | _error(after.error)


def step_of(row: Row) -> Step:
    """Read a step from STEP_COLUMNS."""
    return Step(
        step=row[0],
        kind=_KINDS[row[1]],
        position=row[2],
        state=_STEP_STATES[row[3]],
        asked_at=row[4],
        ended_at=row[5],
        due_at=row[6],
        child=row[7],
        output=row[8],
        error=_failure(row[9], row[10]),
    )


def step_values(run_id: str, step: Step) -> dict[str, Any]:
    """Write a step."""
    return {
        "run_id": run_id,
        "step": step.step,
        "kind": step.kind.value,
        "position": step.position,
        "state": step.state.value,
        "asked_at": step.asked_at,
        "ended_at": step.ended_at,
        "due_at": step.due_at,
        "child": step.child,
        "output": step.output,
        **_error(step.error),
    }


def attempt_of(row: Row) -> Attempt:
    """Read an attempt from ATTEMPT_COLUMNS."""
    return Attempt(
        step=row[0],
        number=row[1],
        state=_ATTEMPT_STATES[row[2]],
        fence=row[3],
        worker=row[4],
        claimed_at=row[5],
        lease_until=row[6],
        timeout_at=row[7],
        ended_at=row[8],
        error=_failure(row[9], row[10]),
        retry_at=row[11],
    )


def attempt_values(run: Run, attempt: Attempt) -> dict[str, Any]:
    """Write an attempt of a run."""
    claimed = attempt.state is AttemptState.CLAIMED
    return {
        "run_id": run.run_id,
        "step": attempt.step,
        "number": attempt.number,
        "state": attempt.state.value,
        "fence": attempt.fence,
        "worker": attempt.worker,
        "claimed_at": attempt.claimed_at,
        "lease_until": attempt.lease_until,
        "timeout_at": attempt.timeout_at,
        "ended_at": attempt.ended_at,
        **_error(attempt.error),
        "retry_at": attempt.retry_at,
        "leased": int(claimed and not run.state.terminal),
    }


def transition_of(row: Row) -> Transition:
    """Read a transition from (state, at)."""
    return Transition(state=_RUN_STATES[row[0]], at=row[1])


def delivery_of(row: Row) -> Delivery:
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
    )


def delivery_values(run: Run, number: int, provider: str, due_at: int) -> dict[str, Any]:
    """Write a delivery that is pending."""
    return {
        **_FRESH_DELIVERY,
        "run_id": run.run_id,
        "number": number,
        "provider": provider,
        "task": run.task,
        "due_at": due_at,
    }


def event_values(event: StoredEvent) -> dict[str, Any]:
    """Write an event."""
    return {
        "event_id": event.event_id,
        "name": event.name,
        "payload": event.payload,
        "emitted_at": event.emitted_at,
        "key": event.key,
        "caused_by": event.caused_by,
    }


def wait_of(row: Row) -> Wait:
    """Read a wait from (run_id, step, event, path, value, more)."""
    run_id, step, event, path, value, more = row
    first = ((path, value),) if path else ()
    rest = tuple((where, text.encode()) for where, text in orjson.loads(more))
    return Wait(run_id=run_id, step=step or None, event=event, match=first + rest)


def wait_values(wait: Wait, place: int) -> dict[str, Any]:
    """Write a wait; its first match is what it is found by."""
    (path, value), *more = wait.match or (("", b""),)
    return {
        "run_id": wait.run_id,
        "step": wait.step or "",
        "place": place,
        "event": wait.event,
        "path": path,
        "value": value,
        "more": canonical_bytes([[where, text.decode()] for where, text in more]),
    }


def _failure(name: str | None, message: str | None) -> Failure | None:
    return None if name is None else Failure(name=name, message=message or "")


def _error(error: Failure | None) -> dict[str, Any]:
    if error is None:
        return _NO_ERROR
    return {"error_name": error.name, "error_message": error.message}


def _same(value: Any) -> Any:
    return value


def _word(value: Any) -> Any:
    return value.value


def _words(value: Any) -> Any:
    return ",".join(each.value for each in value)


_NO_ERROR: Final = {"error_name": None, "error_message": None}
_FRESH_DELIVERY: Final[Mapping[str, Any]] = {
    "state": DeliveryState.PENDING.value,
    "provider_run_id": None,
    "token": None,
    "sent_at": None,
    "claimed_at": None,
    "called_at": None,
    "stopping": 0,
    "failures": 0,
    "error": None,
    "watched": 1,
}
_WRITTEN_APART: Final = frozenset({"emit_seq", "error_name", "error_message"})
_SPECIAL: Final[Mapping[str, Callable[[Any], Any]]] = {
    "state": _word,
    "parked": int,
    "parked_for": _words,
}
_PLAIN: Final[Mapping[str, Callable[[Any], Any]]] = {
    each.name: _SPECIAL.get(each.name, _same)
    for each in RUN_COLUMNS
    if each.name not in _WRITTEN_APART
}
_ALL: Final = attrgetter(*_PLAIN)
_CHANGING: Final = tuple(
    each for each in _PLAIN.items() if each[0] not in {"run_id", "seq", "payload"}
)
_FIELDS: Final = attrgetter(*(name for name, _ in _CHANGING))

"""Events and the runs that they start, as rows."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import bindparam, func, insert, select

from turnout.errors import InvalidRunId, WrongUse
from turnout.model.events import Emitted, RunRef, StoredEvent
from turnout.model.runs import Emission, NewRun, Run
from turnout.model.status import DeliveryReason, TransitionCause
from turnout.stores.sql.expressions import equals, fixed, insert_into, insert_rows
from turnout.stores.sql.identity import EPOCH
from turnout.stores.sql.rows import delivery_row, event_row, run_row
from turnout.stores.sql.schema import deliveries, events, keys, line, runs, tags, transitions
from turnout.stores.sql.statements import BatchStatement, Transaction, parameter
from turnout.stores.sql.waits import open_waits

_EVENTS: Final = insert_rows(
    events,
    computed={
        "run_seq": func.coalesce(select(func.max(runs.c.emit_seq)).scalar_subquery(), fixed(0))
    },
    unless_present=events.c.event_id,
)
_KEY: Final = insert_into(keys).on_conflict_do_nothing(index_elements=[keys.c.task, keys.c.key])
_FIRST_OF_KEY: Final = select(keys.c.run_id, keys.c.event_id).where(
    equals(keys.c.task), equals(keys.c.key)
)
_RUNS: Final = insert_rows(runs, without=["emit_seq"], unless_present=runs.c.run_id)
_TAGS: Final = BatchStatement(
    ("tag", "run_id"),
    lambda count: insert(tags).values([_tag_of_run(row) for row in range(count)]).inline(),
)
_FIRST_OF_ID: Final = select(runs.c.task, runs.c.event_id).where(equals(runs.c.run_id))
_TRANSITIONS: Final = insert_rows(transitions)
_DELIVERIES: Final = insert_rows(deliveries, without=["listed_at"], computed={"epoch": EPOCH})
_QUEUE: Final = insert(line).from_select(
    ["run_id", "step", "task", "limit_key", "emit_seq", "due_at", "state"],
    select(
        runs.c.run_id,
        fixed(""),
        runs.c.task,
        runs.c.limit_key,
        runs.c.emit_seq,
        runs.c.due_at,
        fixed("queued"),
    ).where(equals(runs.c.run_id)),
)


_EMIT: Final = TransitionCause.EMIT.value
FirstRun = tuple[str, str]
"""The run that used a key or an id first, and its event."""


def record(tx: Transaction, emissions: Sequence[Emission]) -> list[tuple[Emitted, bool]]:
    """Insert events and their runs; of each event, also whether it is new.

    An event whose runs had all been started before, by key or by run id, is not recorded again.
    """
    new_runs = [(new, emission.event) for emission in emissions for new in emission.runs]
    firsts = iter(_insert_runs(tx, new_runs))
    emitted = [_emitted(emission, [next(firsts) for _ in emission.runs]) for emission in emissions]
    rows = [
        event_row(emission.event)
        for emission, result in zip(emissions, emitted, strict=True)
        if result.event_id == emission.event.event_id
    ]
    inserted = {event_id for (event_id,) in tx.returning(_EVENTS, rows)}
    return [(result, _remove(inserted, result.event_id)) for result in emitted]


def event_names(emissions: Sequence[Emission]) -> list[str]:
    """List the names of the events of emissions."""
    return [emission.event.name for emission in emissions]


def _emitted(emission: Emission, firsts: Sequence[FirstRun | None]) -> Emitted:
    refs = tuple(
        RunRef(run_id=new.run.run_id, task=new.run.task)
        if first is None
        else RunRef(run_id=first[0], task=new.run.task, duplicate=True)
        for first, new in zip(firsts, emission.runs, strict=True)
    )
    repeated = firsts[0] if firsts and None not in firsts else None
    return Emitted(event_id=repeated[1] if repeated else emission.event.event_id, runs=refs)


def _insert_runs(
    tx: Transaction, new_runs: Sequence[tuple[NewRun, StoredEvent]]
) -> Sequence[FirstRun | None]:
    """Insert runs; of each whose key or id was used before, the first run and its event."""
    firsts = [_claim_key(tx, new, event) for new, event in new_runs]
    rows = [run_row(new.run) for (new, _), first in zip(new_runs, firsts, strict=True) if not first]
    inserted = {run_id for (run_id,) in tx.returning(_RUNS, rows)}
    started: list[NewRun] = []
    for index, (new, _) in enumerate(new_runs):
        if firsts[index] is None and _remove(inserted, new.run.run_id):
            started.append(new)
        elif firsts[index] is None:
            firsts[index] = _first_of_id(tx, new.run)
    _insert_beginnings(tx, started)
    return firsts


def _claim_key(tx: Transaction, new: NewRun, event: StoredEvent) -> FirstRun | None:
    """Claim a run's key, if it has one; the first run, where the key was claimed before."""
    run = new.run
    if new.slotted and run.limit_key is None:
        raise WrongUse(f"run {run.run_id!r} queues for a slot without a limit_key; null will do")
    if run.key is None:
        return None
    values = {"task": run.task, "key": run.key, "run_id": run.run_id, "event_id": event.event_id}
    if tx.changed(_KEY, values):
        return None
    ((run_id, event_id),) = tx.rows(_FIRST_OF_KEY, {"of_task": run.task, "of_key": run.key})
    return run_id, event_id


def _first_of_id(tx: Transaction, run: Run) -> FirstRun:
    ((task, event_id),) = tx.rows(_FIRST_OF_ID, {"of_run_id": run.run_id})
    if task != run.task:
        raise InvalidRunId(f"run id {run.run_id!r} is taken by a run of task {task!r}")
    return run.run_id, event_id


def _insert_beginnings(tx: Transaction, started: Sequence[NewRun]) -> None:
    """Insert what every run begins with."""
    runs_ = [new.run for new in started]
    tx.write_rows(
        _TRANSITIONS,
        [
            (run.run_id, run.seq, 0, str(run.state), run.emitted_at, _EMIT, run.event_id)
            for run in runs_
        ],
    )
    tx.write_rows(
        _DELIVERIES,
        [
            delivery_row(run, run.delivery, run.provider, run.due_at, DeliveryReason.FIRST)
            for run in runs_
        ],
    )
    if any(run.due_at <= run.emitted_at for run in runs_):
        tx.made_due = True
    tx.write_rows(_TAGS, [(tag, run.run_id) for run in runs_ for tag in run.labels.tags])
    for new in started:
        if new.slotted:
            tx.write(_QUEUE, {"of_run_id": new.run.run_id})
        if new.cancel_on:
            open_waits(tx, new.cancel_on)


def _tag_of_run(row: int) -> dict[str, Any]:
    """Write a row of `turnout_tags` for a run that was just inserted."""
    run_id: Any = bindparam(parameter("run_id", row))
    emit_seq = select(runs.c.emit_seq).where(runs.c.run_id == run_id).scalar_subquery()
    return {"tag": bindparam(parameter("tag", row)), "emit_seq": emit_seq}


def _remove(members: set[str], member: str) -> bool:
    """Remove a member from a set; False where it is not in it."""
    if member not in members:
        return False
    members.remove(member)
    return True

"""Events and the runs that they start, as rows."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import insert, select

from turnout.errors import InvalidRunId, WrongUse
from turnout.model.events import Emitted, RunRef, StoredEvent
from turnout.model.runs import Emission, NewRun
from turnout.stores.sql.rows import delivery_values, event_values, new_run_values
from turnout.stores.sql.schema import (
    deliveries,
    events,
    fixed,
    given,
    insert_into,
    keys,
    line,
    runs,
    transitions,
)
from turnout.stores.sql.statements import Transaction
from turnout.stores.sql.waits import open_waits

_EVENT: Final = insert_into(events).on_conflict_do_nothing(index_elements=[events.c.event_id])
_KEY: Final = insert_into(keys).on_conflict_do_nothing(index_elements=[keys.c.task, keys.c.key])
_HOLDER: Final = select(keys.c.run_id, keys.c.event_id).where(
    keys.c.task == given(keys.c.task), keys.c.key == given(keys.c.key)
)
_RUN: Final = insert_into(runs, without=["emit_seq"]).on_conflict_do_nothing(
    index_elements=[runs.c.run_id]
)
_TAKEN_BY: Final = select(runs.c.task, runs.c.event_id).where(runs.c.run_id == given(runs.c.run_id))
_TRANSITION: Final = insert_into(transitions)
_DELIVERY: Final = insert_into(deliveries)
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
    ).where(runs.c.run_id == given(runs.c.run_id)),
)


def record(tx: Transaction, emission: Emission, *, tell_new: bool) -> tuple[Emitted, bool]:
    """Insert an event and its runs; where asked for, also whether the event is new.

    An event whose runs had all been started before, by key or by run id, is not recorded again.
    """
    firsts = [_first(tx, new, emission.event) for new in emission.runs]
    if firsts and all(first is not None for first in firsts):
        refs = tuple(
            RunRef(run_id=first[0], task=new.run.task, duplicate=True)
            for first, new in zip(firsts, emission.runs, strict=True)
            if first is not None
        )
        return Emitted(event_id=firsts[0][1] if firsts[0] else "", runs=refs), False
    new_event = _insert_event(tx, emission.event, tell_new=tell_new)
    refs = tuple(
        RunRef(run_id=new.run.run_id, task=new.run.task)
        if first is None
        else RunRef(run_id=first[0], task=new.run.task, duplicate=True)
        for first, new in zip(firsts, emission.runs, strict=True)
    )
    return Emitted(event_id=emission.event.event_id, runs=refs), new_event


def _insert_event(tx: Transaction, event: StoredEvent, *, tell_new: bool) -> bool:
    if tell_new:
        return bool(tx.changed(_EVENT, event_values(event)))
    tx.write(_EVENT, event_values(event))
    return False


def _first(tx: Transaction, new: NewRun, event: StoredEvent) -> tuple[str, str] | None:
    """Insert a run; where its key or id was used before, the first run and its event instead."""
    run = new.run
    if new.slotted and run.limit_key is None:
        raise WrongUse(f"run {run.run_id!r} queues for a slot without a limit_key; null will do")
    if run.key is not None:
        kept = {"task": run.task, "key": run.key, "run_id": run.run_id, "event_id": event.event_id}
        if not tx.changed(_KEY, kept):
            row = tx.rows(_HOLDER, {"of_task": run.task, "of_key": run.key})[0]
            return row[0], row[1]
    if not tx.changed(_RUN, new_run_values(new)):
        task, event_id = tx.rows(_TAKEN_BY, {"of_run_id": run.run_id})[0]
        if task != run.task:
            raise InvalidRunId(f"run id {run.run_id!r} is taken by a run of task {task!r}")
        return run.run_id, event_id
    _begin(tx, new)
    return None


def _begin(tx: Transaction, new: NewRun) -> None:
    """Insert what every run begins with."""
    run = new.run
    queued = {"run_id": run.run_id, "seq": run.seq, "place": 0, "state": run.state.value}
    tx.write(_TRANSITION, {**queued, "at": run.emitted_at})
    tx.write(_DELIVERY, delivery_values(run, run.delivery, run.provider, run.due_at))
    if new.slotted:
        tx.write(_QUEUE, {"of_run_id": run.run_id})
    if new.cancel_on:
        open_waits(tx, new.cancel_on)


def names(emissions: Sequence[Emission]) -> list[str]:
    """List the names of the events of emissions."""
    return [each.event.name for each in emissions]

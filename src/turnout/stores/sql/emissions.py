"""Events and the runs that they start, as rows."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import insert, select

from turnout.errors import InvalidRunId, WrongUse
from turnout.model.events import Emitted, RunRef, StoredEvent
from turnout.model.runs import Emission, NewRun, Run
from turnout.model.status import DeliveryReason
from turnout.stores.sql.identity import EPOCH
from turnout.stores.sql.rows import delivery_row, event_row, run_row
from turnout.stores.sql.schema import (
    deliveries,
    events,
    fixed,
    given,
    insert_into,
    insert_rows,
    keys,
    line,
    runs,
    transitions,
)
from turnout.stores.sql.statements import Transaction
from turnout.stores.sql.waits import open_waits

_EVENTS: Final = insert_rows(events, known=events.c.event_id)
_KEY: Final = insert_into(keys).on_conflict_do_nothing(index_elements=[keys.c.task, keys.c.key])
_HOLDER: Final = select(keys.c.run_id, keys.c.event_id).where(
    keys.c.task == given(keys.c.task), keys.c.key == given(keys.c.key)
)
_RUNS: Final = insert_rows(runs, without=["emit_seq"], known=runs.c.run_id)
_TAKEN_BY: Final = select(runs.c.task, runs.c.event_id).where(runs.c.run_id == given(runs.c.run_id))
_TRANSITIONS: Final = insert_rows(transitions)
_DELIVERIES: Final = insert_rows(deliveries, computed={"epoch": EPOCH})
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


First = tuple[str, str]
"""The run that used a key or an id before, and its event."""


def record(tx: Transaction, emissions: Sequence[Emission]) -> list[tuple[Emitted, bool]]:
    """Insert events and their runs; of each, also whether the event is new.

    An event whose runs had all been started before, by key or by run id, is not recorded again.
    """
    wanted = [(new, each.event) for each in emissions for new in each.runs]
    firsts = iter(_insert_runs(tx, wanted))
    told = [_told(each, [next(firsts) for _ in each.runs]) for each in emissions]
    fresh = [
        event_row(each.event)
        for each, its in zip(emissions, told, strict=True)
        if its.event_id == each.event.event_id
    ]
    new = {event_id for (event_id,) in tx.found(_EVENTS, fresh)}
    return [(each, _taken(new, each.event_id)) for each in told]


def _told(emission: Emission, firsts: Sequence[First | None]) -> Emitted:
    refs = tuple(
        RunRef(run_id=new.run.run_id, task=new.run.task)
        if first is None
        else RunRef(run_id=first[0], task=new.run.task, duplicate=True)
        for first, new in zip(firsts, emission.runs, strict=True)
    )
    repeated = firsts[0] if firsts and None not in firsts else None
    return Emitted(event_id=repeated[1] if repeated else emission.event.event_id, runs=refs)


def _insert_runs(
    tx: Transaction, wanted: Sequence[tuple[NewRun, StoredEvent]]
) -> Sequence[First | None]:
    """Insert runs; of each whose key or id was used before, the first run and its event."""
    firsts = [_holder(tx, new, event) for new, event in wanted]
    rows = [run_row(new.run) for (new, _), its in zip(wanted, firsts, strict=True) if its is None]
    inserted = {run_id for (run_id,) in tx.found(_RUNS, rows)}
    begun: list[NewRun] = []
    for at, (new, _) in enumerate(wanted):
        if firsts[at] is None and _taken(inserted, new.run.run_id):
            begun.append(new)
        elif firsts[at] is None:
            firsts[at] = _taken_by(tx, new.run)
    _begin(tx, begun)
    return firsts


def _holder(tx: Transaction, new: NewRun, event: StoredEvent) -> First | None:
    """Take a run's key, if it has one; where it was taken, by whom."""
    run = new.run
    if new.slotted and run.limit_key is None:
        raise WrongUse(f"run {run.run_id!r} queues for a slot without a limit_key; null will do")
    if run.key is None:
        return None
    kept = {"task": run.task, "key": run.key, "run_id": run.run_id, "event_id": event.event_id}
    if tx.changed(_KEY, kept):
        return None
    ((run_id, event_id),) = tx.rows(_HOLDER, {"of_task": run.task, "of_key": run.key})
    return run_id, event_id


def _taken_by(tx: Transaction, run: Run) -> First:
    ((task, event_id),) = tx.rows(_TAKEN_BY, {"of_run_id": run.run_id})
    if task != run.task:
        raise InvalidRunId(f"run id {run.run_id!r} is taken by a run of task {task!r}")
    return run.run_id, event_id


def _begin(tx: Transaction, begun: Sequence[NewRun]) -> None:
    """Insert what every run begins with."""
    fresh = [new.run for new in begun]
    tx.put(
        _TRANSITIONS, [(run.run_id, run.seq, 0, str(run.state), run.emitted_at) for run in fresh]
    )
    tx.put(
        _DELIVERIES,
        [
            delivery_row(run, run.delivery, run.provider, run.due_at, DeliveryReason.FIRST)
            for run in fresh
        ],
    )
    for new in begun:
        if new.slotted:
            tx.write(_QUEUE, {"of_run_id": new.run.run_id})
        if new.cancel_on:
            open_waits(tx, new.cancel_on)


def _taken(of: set[str], one: str) -> bool:
    """Whether a set has this; it has it no more."""
    if one not in of:
        return False
    of.remove(one)
    return True


def names(emissions: Sequence[Emission]) -> list[str]:
    """List the names of the events of emissions."""
    return [each.event.name for each in emissions]

"""Commits that cross runs: an event meets waits, an end wakes the next in line and the parent."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import func, or_, update

from turnout.errors import Superseded, TurnoutError, UnknownRun
from turnout.model.events import Emitted, StoredEvent
from turnout.model.runs import Change, Emission, Journal, Run, Step, Wait
from turnout.model.status import AttemptState, DeliveryState, StepKind
from turnout.model.transitions import child_ended, meet
from turnout.stores.sql.emissions import names, record
from turnout.stores.sql.journals import (
    read_run,
    read_step,
    release_leases,
    write_changes,
)
from turnout.stores.sql.rows import IS_LIVE
from turnout.stores.sql.schema import deliveries, fixed, for_rows
from turnout.stores.sql.slots import free_slots
from turnout.stores.sql.statements import Row, Transaction
from turnout.stores.sql.waits import (
    close_all_waits,
    close_waits,
    hold_names,
    met_by,
    open_waits,
    paths_of,
)

_CALL: Final = for_rows(
    deliveries,
    ["run_id", "number", "provider_run_id", "called_at"],
    lambda call: (
        update(deliveries)
        .where(
            deliveries.c.run_id == call.c.run_id,
            deliveries.c.number == call.c.number,
            IS_LIVE,
            or_(
                deliveries.c.claimed_at.is_(None),
                deliveries.c.provider_run_id == call.c.provider_run_id,
            ),
        )
        .values(
            state=fixed(DeliveryState.CLAIMED.value),
            provider_run_id=call.c.provider_run_id,
            claimed_at=func.coalesce(deliveries.c.claimed_at, call.c.called_at),
            called_at=call.c.called_at,
        )
        .returning(deliveries.c.run_id)
    ),
)
_END: Final = for_rows(
    deliveries,
    ["run_id", "number"],
    lambda ended: (
        update(deliveries)
        .where(
            deliveries.c.run_id == ended.c.run_id, deliveries.c.number == ended.c.number, IS_LIVE
        )
        .values(state=fixed(DeliveryState.ENDED.value), watched=fixed(0), stopping=fixed(0))
    ),
)
_STOP: Final = for_rows(
    deliveries,
    ["run_id", "number", "due_at"],
    lambda ended: (
        update(deliveries)
        .where(
            deliveries.c.run_id == ended.c.run_id, deliveries.c.number == ended.c.number, IS_LIVE
        )
        .values(stopping=fixed(1), due_at=ended.c.due_at)
    ),
)


def emit(tx: Transaction, emissions: Sequence[Emission]) -> list[Emitted]:
    """Record emissions; each new event meets the open waits."""
    hold_names(tx, names(emissions))
    recorded = record(tx, emissions)
    emitted = [each for each, _ in recorded]
    paths = paths_of(tx, names(emissions))
    for at, (emission, (_, new)) in enumerate(zip(emissions, recorded, strict=True)):
        if new and emission.event.name in paths:
            # An event does not cancel what it starts, nor what is emitted after it.
            later = {ref.run_id for its in emitted[at:] for ref in its.runs if not ref.duplicate}
            waits = met_by(tx, emission.event, paths[emission.event.name])
            _meet(tx, emission.event, [each for each in waits if each.run_id not in later])
    return emitted


def apply(tx: Transaction, change: Change) -> bool:
    """Write a change, and what follows from it elsewhere; False and nothing if it is stale."""
    return apply_all(tx, [change])[0]


def apply_all(tx: Transaction, changes: Sequence[Change]) -> list[bool]:
    """Do as `apply` for several changes, in this order, in few statements."""
    done: list[bool] = []
    for few in _once_each(changes):
        wrote = write_changes(tx, few)
        written = [each for each, its in zip(few, wrote, strict=True) if its]
        _claim_all(tx, written)
        _follow_all(tx, written)
        done += wrote
    return done


def _claim_all(tx: Transaction, changes: Sequence[Change]) -> None:
    """Claim the deliveries that these changes were called for."""
    calls = [
        (each.before.run_id, each.calling.number, each.calling.provider_run_id, each.calling.at)
        for each in changes
        if each.calling is not None
    ]
    held = {run_id for (run_id,) in tx.found(_CALL, calls)}
    for run_id, number, *_ in calls:
        if run_id not in held:
            raise Superseded(f"another vendor run holds delivery {number} of run {run_id!r}")


def _once_each(changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    """Cut changes so that no part has two of one run."""
    first, seen = 0, set[str]()
    for at, change in enumerate(changes):
        if change.before.run_id in seen:
            yield changes[first:at]
            first, seen = at, set()
        seen.add(change.before.run_id)
    yield changes[first:]


def _follow_all(tx: Transaction, changes: Sequence[Change]) -> None:
    """Write what follows from changes in other tables, and in other runs."""
    ended = [each for each in changes if _ends(each)]
    for change in changes:
        for step in change.steps:
            if step.kind is StepKind.EVENT and step.state.settled:
                close_waits(tx, change.before.run_id, step.step)
        if change.waits:
            open_waits(tx, change.waits)
    _end_all(tx, ended)
    for change in changes:
        _cross(tx, change)


def _ends(change: Change) -> bool:
    return change.after.state.terminal and not change.before.state.terminal


def _end_all(tx: Transaction, ended: Sequence[Change]) -> None:
    ids = [each.before.run_id for each in ended]
    tx.put(_END, [_live_delivery(each) for each in ended if not each.stop_vendor])
    tx.put(_STOP, [(*_live_delivery(each), moment(each)) for each in ended if each.stop_vendor])
    close_all_waits(tx, ids)
    release_leases(tx, ids)


def _live_delivery(change: Change) -> Row:
    return change.after.run_id, change.after.delivery


def _cross(tx: Transaction, change: Change) -> None:
    """Do what a change brings to other runs: slots for those in line, events, a parent's news."""
    run, ended = change.after, _ends(change)
    if change.emissions:
        emit(tx, change.emissions)
    if run.limit_key is not None:
        left = [each.step for each in change.attempts if each.state is not AttemptState.CLAIMED]
        if ended or left:
            free_slots(tx, run, None if ended else left, moment(change))
    if ended and run.parent_run_id is not None:
        _tell_parent(tx, run, run.parent_run_id, moment(change))


def moment(change: Change) -> int:
    """Say when a change was decided: the latest time that it records."""
    run = change.after
    told = [run.emitted_at, run.started_at, run.ended_at, *(each.at for each in change.transitions)]
    told += [at for each in change.attempts for at in (each.claimed_at, each.ended_at)]
    told += [at for each in change.steps for at in (each.asked_at, each.ended_at)]
    return max(at for at in told if at is not None)


def _meet(tx: Transaction, event: StoredEvent, waits: Sequence[Wait]) -> None:
    for wait in waits:
        run = read_run(tx, wait.run_id, locked=True)
        step = None if wait.step is None else read_step(tx, wait.run_id, wait.step)
        _follow(tx, meet(_journal(run, step), wait, event, event.emitted_at))


def _tell_parent(tx: Transaction, child: Run, parent_id: str, now: int) -> None:
    try:
        parent = read_run(tx, parent_id, locked=True)
    except UnknownRun:
        return  # invoked by a run of another store
    step = read_step(tx, parent_id, child.parent_step or "")
    _follow(tx, child_ended(_journal(parent, step), child, now))


def _follow(tx: Transaction, change: Change | None) -> None:
    """Apply what another run's commit brings; the run is locked, so nobody was faster."""
    if change is None:
        return
    if change.wake_at is None and not change.after.state.terminal:
        change = replace(change, wake_at=moment(change))
    if not apply(tx, change):
        raise TurnoutError(f"run {change.before.run_id!r} changed under its lock")


def _journal(run: Run, step: Step | None) -> Journal:
    return Journal(run=run) if step is None else Journal(run=run, steps={step.step: step})

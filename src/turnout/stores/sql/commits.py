"""Commits that change other runs: an event meets waits, an end wakes the next and the parent."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from sqlalchemy import func, or_, update

from turnout.errors import Superseded, TurnoutError, UnknownRun
from turnout.model.events import Emitted, StoredEvent
from turnout.model.runs import Change, Emission, Journal, Run, Step, Wait
from turnout.model.status import AttemptState, DeliveryState, StepKind
from turnout.model.transitions import child_ended, meet, meet_earlier
from turnout.stores.sql.emissions import event_names, record
from turnout.stores.sql.expressions import fixed, for_rows
from turnout.stores.sql.journals import (
    read_run,
    read_step,
    release_leases,
    write_changes,
)
from turnout.stores.sql.limits import free_slots
from turnout.stores.sql.rows import IS_LIVE
from turnout.stores.sql.schema import deliveries
from turnout.stores.sql.statements import Row, Transaction
from turnout.stores.sql.waits import (
    close_all_waits,
    close_waits,
    earlier_event,
    has_met,
    lock_event_names,
    mark_met,
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
    lock_event_names(tx, event_names(emissions))
    recorded = record(tx, emissions)
    emitted = [result for result, _ in recorded]
    paths = paths_of(tx, event_names(emissions))
    for index, (emission, (_, new)) in enumerate(zip(emissions, recorded, strict=True)):
        if new and emission.event.name in paths:
            # An event does not cancel what it starts, nor what is emitted after it.
            later = {
                ref.run_id for result in emitted[index:] for ref in result.runs if not ref.duplicate
            }
            waits = met_by(tx, emission.event, paths[emission.event.name])
            count = _meet(tx, emission.event, [wait for wait in waits if wait.run_id not in later])
            emitted[index] = replace(emitted[index], waits_met=count)
    return emitted


def apply(tx: Transaction, change: Change) -> bool:
    """Write a change and its effects on other runs; False, and nothing, if it is stale."""
    return apply_all(tx, [change])[0]


def apply_all(tx: Transaction, changes: Sequence[Change]) -> list[bool]:
    """Do as `apply` for several changes, in this order, in few statements."""
    applied: list[bool] = []
    for group in _without_repeated_runs(changes):
        results = write_changes(tx, group)
        written = [change for change, result in zip(group, results, strict=True) if result]
        _claim_deliveries(tx, written)
        _write_effects(tx, written)
        applied += results
    return applied


def _without_repeated_runs(changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    """Cut changes into groups that have no two changes of one run."""
    start, run_ids = 0, set[str]()
    for index, change in enumerate(changes):
        if change.before.run_id in run_ids:
            yield changes[start:index]
            start, run_ids = index, set()
        run_ids.add(change.before.run_id)
    yield changes[start:]


def _claim_deliveries(tx: Transaction, changes: Sequence[Change]) -> None:
    """Claim the deliveries that these changes were called for."""
    calls = [
        (change.before.run_id, calling.number, calling.provider_run_id, calling.at)
        for change in changes
        if (calling := change.calling) is not None
    ]
    claimed = {run_id for (run_id,) in tx.returning(_CALL, calls)}
    for run_id, number, *_ in calls:
        if run_id not in claimed:
            raise Superseded(f"another vendor run holds delivery {number} of run {run_id!r}")


def _write_effects(tx: Transaction, changes: Sequence[Change]) -> None:
    """Write what follows from changes in other tables, and in other runs."""
    for change in changes:
        for step in change.steps:
            if step.kind is StepKind.EVENT and step.state.settled:
                close_waits(tx, change.before.run_id, step.step)
        if change.waits:
            open_waits(tx, change.waits)
    _end_all(tx, [change for change in changes if _ends(change)])
    for change in changes:
        _look_back(tx, change)
        _change_other_runs(tx, change)
        if change.stop_vendor or _owes_a_wake(change):
            tx.made_due = True
    _free_slots(tx, changes)


def _ends(change: Change) -> bool:
    return change.after.state.terminal and not change.before.state.terminal


def _owes_a_wake(change: Change) -> bool:
    return change.wake_at is not None and change.wake_at <= moment(change)


def _end_all(tx: Transaction, ending: Sequence[Change]) -> None:
    run_ids = [change.before.run_id for change in ending]
    tx.write_rows(_END, [_live_delivery(change) for change in ending if not change.stop_vendor])
    tx.write_rows(
        _STOP,
        [(*_live_delivery(change), moment(change)) for change in ending if change.stop_vendor],
    )
    close_all_waits(tx, run_ids)
    release_leases(tx, run_ids)


def _live_delivery(change: Change) -> Row:
    return change.after.run_id, change.after.delivery


def _change_other_runs(tx: Transaction, change: Change) -> None:
    """Emit the change's events, and settle its parent's invoke."""
    run = change.after
    if change.emissions:
        emit(tx, change.emissions)
    if _ends(change) and run.parent_run_id is not None:
        _settle_parent(tx, run, run.parent_run_id, moment(change))


def frees_a_slot(change: Change) -> bool:
    """Whether a change gives up a place in a line."""
    return change.after.limit_key is not None and (_ends(change) or bool(_ended_steps(change)))


def _free_slots(tx: Transaction, changes: Sequence[Change]) -> None:
    """Free the concurrency slots of runs that end, and of attempts that do."""
    if freeing := [change for change in changes if frees_a_slot(change)]:
        places = [
            (change.after, None if _ends(change) else _ended_steps(change)) for change in freeing
        ]
        free_slots(tx, places, max(moment(change) for change in freeing))


def _ended_steps(change: Change) -> Sequence[str]:
    return [at.step for at in change.attempts if at.state is not AttemptState.CLAIMED]


def moment(change: Change) -> int:
    """Say when a change was decided: the latest time that it records."""
    run = change.after
    times = [run.emitted_at, run.started_at, run.ended_at]
    times += [transition.at for transition in change.transitions]
    times += [at for attempt in change.attempts for at in (attempt.claimed_at, attempt.ended_at)]
    times += [at for step in change.steps for at in (step.asked_at, step.ended_at)]
    return max(at for at in times if at is not None)


def _look_back(tx: Transaction, change: Change) -> None:
    """Let earlier events meet the waits that a change opens, where these look back."""
    for wait in change.waits:
        event = earlier_event(tx, change.after, wait) if wait.since_run else None
        if event is not None:
            run = read_run(tx, wait.run_id, locked=True)
            step = read_step(tx, wait.run_id, wait.step or "")
            _apply_under_lock(tx, meet_earlier(_journal(run, step), wait, event))
            mark_met(tx, wait.run_id, event)


def _meet(tx: Transaction, event: StoredEvent, waits: Sequence[Wait]) -> int:
    """Let an event meet open waits; of a run's waits that look back, the one asked for first.

    None of these, if the event meets another wait of the run. Returns how many were met.
    """
    count = 0
    for wait in sorted(waits, key=partial(_turn, tx)):
        run = read_run(tx, wait.run_id, locked=True)
        step = None if wait.step is None else read_step(tx, wait.run_id, wait.step)
        if wait.since_run and has_met(tx, wait.run_id, event):
            continue
        change = meet(_journal(run, step), wait, event, event.emitted_at)
        _apply_under_lock(tx, change)
        count += change is not None
        if change is not None and wait.step is not None:
            mark_met(tx, wait.run_id, event)
    return count


def _turn(tx: Transaction, wait: Wait) -> tuple[str, bool, str]:
    """Order waits by run, those that look back last and as they were asked for."""
    step = read_step(tx, wait.run_id, wait.step or "") if wait.since_run else None
    return wait.run_id, wait.since_run, (wait.step or "") if step is None else step.position


def _settle_parent(tx: Transaction, child: Run, parent_id: str, now: int) -> None:
    try:
        parent = read_run(tx, parent_id, locked=True)
    except UnknownRun:
        return  # invoked by a run of another store
    step = read_step(tx, parent_id, child.parent_step or "")
    _apply_under_lock(tx, child_ended(_journal(parent, step), child, now))


def _apply_under_lock(tx: Transaction, change: Change | None) -> None:
    """Apply what another run's commit brings; the run is locked, so it cannot be stale."""
    if change is None:
        return
    if change.wake_at is None and not change.after.state.terminal:
        change = replace(change, wake_at=moment(change))
    if not apply(tx, change):
        raise TurnoutError(f"run {change.before.run_id!r} changed under its lock")


def _journal(run: Run, step: Step | None) -> Journal:
    return Journal(run=run) if step is None else Journal(run=run, steps={step.step: step})

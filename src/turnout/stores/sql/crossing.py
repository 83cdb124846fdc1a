"""Commits that cross runs: an event meets waits, an end wakes the next in line and the parent."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import bindparam, update

from turnout.errors import TurnoutError, UnknownRun
from turnout.model.events import Emitted, StoredEvent
from turnout.model.runs import Change, Emission, Journal, Run, Step, Wait
from turnout.model.status import AttemptState, DeliveryState, StepKind
from turnout.model.transitions import child_ended, meet
from turnout.stores.sql.emissions import names, record
from turnout.stores.sql.journals import (
    read_run,
    read_step,
    release_leases,
    write_change,
)
from turnout.stores.sql.rows import LIVE
from turnout.stores.sql.schema import among, deliveries, fixed, given
from turnout.stores.sql.slots import free_slots
from turnout.stores.sql.statements import Transaction
from turnout.stores.sql.waits import close_all_waits, close_waits, hold_names, met_by, open_waits

_LIVE_DELIVERY: Final = (
    deliveries.c.run_id == given(deliveries.c.run_id),
    deliveries.c.number == given(deliveries.c.number),
    among(deliveries.c.state, (state.value for state in LIVE)),
)
_END: Final = (
    update(deliveries)
    .where(*_LIVE_DELIVERY)
    .values(state=fixed(DeliveryState.ENDED.value), watched=fixed(0), stopping=fixed(0))
)
_STOP: Final = (
    update(deliveries)
    .where(*_LIVE_DELIVERY)
    .values(stopping=fixed(1), due_at=bindparam("to_due_at"))
)


def emit(tx: Transaction, emissions: Sequence[Emission]) -> list[Emitted]:
    """Record emissions; each new event meets the open waits."""
    hold_names(tx, names(emissions))
    emitted: list[Emitted] = []
    for emission in emissions:
        # Found before its runs' own waits are open: an event does not cancel what it starts.
        waits = met_by(tx, emission.event)
        told, new = record(tx, emission, tell_new=bool(waits))
        emitted.append(told)
        if new:
            _meet(tx, emission.event, waits)
    return emitted


def apply(tx: Transaction, change: Change) -> bool:
    """Write a change, and what follows from it elsewhere; False and nothing if it is stale."""
    if not write_change(tx, change):
        return False
    for step in change.steps:
        if step.kind is StepKind.EVENT and step.state.settled:
            close_waits(tx, change.before.run_id, step.step)
    if change.waits:
        open_waits(tx, change.waits)
    left = [each.step for each in change.attempts if each.state is not AttemptState.CLAIMED]
    ended = change.after.state.terminal and not change.before.state.terminal
    if left and not ended and change.after.limit_key is not None:
        free_slots(tx, change.after, left, moment(change))
    if change.emissions:
        emit(tx, change.emissions)
    if ended:
        _end(tx, change, moment(change))
    return True


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


def _end(tx: Transaction, change: Change, now: int) -> None:
    run = change.after
    of_delivery = {"of_run_id": run.run_id, "of_number": run.delivery}
    if change.stop_vendor:
        tx.write(_STOP, {**of_delivery, "to_due_at": now})
    else:
        tx.write(_END, of_delivery)
    close_all_waits(tx, run.run_id)
    release_leases(tx, run.run_id)
    free_slots(tx, run, None, now)
    if run.parent_run_id is not None:
        _tell_parent(tx, run, run.parent_run_id, now)


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

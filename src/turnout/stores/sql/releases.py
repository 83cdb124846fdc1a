"""Releasing parked runs: the vendor run ends, and the next delivery waits for a time or a wake.

The next delivery is pending at once. It is due when the wait is over at the latest; a wake that is
owed to the run makes it due sooner (`deliver_woken`), because no vendor run is there to be woken.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import and_, bindparam, func, null, or_, select, update

from turnout.model.protocol import LARGEST_MOMENT
from turnout.model.runs import Delivery, Run
from turnout.model.status import DeliveryReason, DeliveryState
from turnout.model.time import Millis
from turnout.stores.sql.deliveries import insert_deliveries, supersede
from turnout.stores.sql.expressions import equals, fixed
from turnout.stores.sql.rows import (
    DELIVERY_COLUMNS,
    LIVE_RUN,
    RUN_COLUMNS,
    delivery_of,
    delivery_row,
    run_of,
)
from turnout.stores.sql.schema import deliveries, line, runs
from turnout.stores.sql.statements import Params, Transaction

NEVER: Final[Millis] = LARGEST_MOMENT
"""When a delivery is due that waits for nothing but a wake."""

_RUN: Final = equals(runs.c.run_id)
_LIVE_DELIVERY: Final = and_(
    deliveries.c.run_id == runs.c.run_id, deliveries.c.number == runs.c.delivery
)
_IS_PENDING: Final = deliveries.c.state == fixed(DeliveryState.PENDING.value)
AWAITS_WAKE: Final = and_(
    _IS_PENDING,
    or_(
        # The release before writes no reason.
        func.coalesce(deliveries.c.reason, fixed("")) == fixed(DeliveryReason.RELEASED.value),
        deliveries.c.due_at == fixed(NEVER),
    ),
)
"""Whether a delivery is due at its run's wake: there is no vendor run to be woken."""
_TO_RELEASE: Final = (
    select(*RUN_COLUMNS, *DELIVERY_COLUMNS)
    .join(deliveries, _LIVE_DELIVERY)
    .where(
        runs.c.parked == fixed(1),
        runs.c.release_at.is_not(None),
        runs.c.release_at <= bindparam("now"),
        LIVE_RUN,
    )
    .order_by(runs.c.release_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True, of=runs)
)
_TO_HAND_OVER: Final = (
    select(*RUN_COLUMNS)
    .join(deliveries, _LIVE_DELIVERY)
    .where(
        _RUN,
        equals(runs.c.delivery),
        equals(deliveries.c.provider_run_id),
        deliveries.c.state == fixed(DeliveryState.CLAIMED.value),
        LIVE_RUN,
    )
    .with_for_update(of=runs)
)
_RELEASE: Final = (
    update(runs)
    .where(_RUN)
    .values(
        delivery=runs.c.delivery + fixed(1),
        seq=runs.c.seq + fixed(1),
        passed=runs.c.chunks,
        release_at=null(),
        wake_at=null(),
        projection_at=func.coalesce(runs.c.projection_at, fixed(0)),
    )
)
_LATER: Final = update(runs).where(_RUN).values(release_at=bindparam("to_release_at"))
_WOKEN: Final = (
    select(runs.c.run_id, runs.c.delivery, deliveries.c.failures, deliveries.c.due_at)
    .join(deliveries, _LIVE_DELIVERY)
    .where(runs.c.wake_at.is_not(None), runs.c.wake_at <= bindparam("now"), AWAITS_WAKE)
    .order_by(runs.c.wake_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True, of=runs)
)
_WITHDRAW: Final = update(runs).where(_RUN).values(wake_at=null())
_DUE: Final = (
    update(deliveries)
    .where(equals(deliveries.c.run_id), equals(deliveries.c.number), _IS_PENDING)
    .values(due_at=bindparam("to_due_at"))
)
_AWAIT: Final = (
    update(deliveries)
    .where(equals(deliveries.c.run_id), equals(deliveries.c.number), _IS_PENDING)
    .values(due_at=fixed(NEVER))
)
_NEXT_IN_LINE: Final = (
    select(line.c.run_id, runs.c.delivery)
    .join(runs, runs.c.run_id == line.c.run_id)
    .join(deliveries, _LIVE_DELIVERY)
    .where(
        equals(line.c.task),
        equals(line.c.limit_key),
        line.c.state == fixed("waiting"),
        _IS_PENDING,
        deliveries.c.due_at == fixed(NEVER),
        # A run that has waited in a slot before had to give it away: its line is slow.
        func.coalesce(deliveries.c.reason, fixed("")) != fixed(DeliveryReason.RELEASED.value),
    )
    .order_by(line.c.emit_seq)
    .limit(bindparam("limit"))
)


def await_wake(tx: Transaction, run: Run) -> None:
    """Let a run's pending delivery be due at the run's wake."""
    tx.write(_AWAIT, {"of_run_id": run.run_id, "of_number": run.delivery})


def deliver_ahead(tx: Transaction, of_line: Params, count: int, now: Millis) -> None:
    """Make the deliveries due of so many runs at the head of a line that await their wake."""
    for run_id, number in tx.rows(_NEXT_IN_LINE, {**of_line, "limit": count}) if count else ():
        tx.write(_DUE, {"of_run_id": run_id, "of_number": number, "to_due_at": now})
        tx.made_due = True


def release(tx: Transaction, now: Millis, *, limit: int, patience: Millis) -> Sequence[Delivery]:
    """Release parked runs that are due for it; returns the deliveries whose vendor runs now end.

    A run whose vendor run has not called yet is looked at again after `patience`. After the same
    time a vendor run that has not reported its end is stopped.
    """
    ends = len(RUN_COLUMNS)
    released: list[Delivery] = []
    for row in tx.rows(_TO_RELEASE, {"now": now, "limit": limit}):
        run, delivery = run_of(row[:ends]), delivery_of(row[ends:])
        if delivery.state is DeliveryState.CLAIMED:
            _release(tx, run, now + patience)
            released.append(replace(delivery, state=DeliveryState.SUPERSEDED))
        else:
            tx.write(_LATER, {"of_run_id": run.run_id, "to_release_at": now + patience})
    return released


def hand_over(
    tx: Transaction, vendor_run: tuple[str, int, str], now: Millis, *, patience: Millis
) -> bool:
    """Release a run that its vendor run hands over; False where that holds no live delivery.

    vendor_run: the run's id, the delivery's number, and the vendor run's id.
    """
    run_id, number, provider_run_id = vendor_run
    key = {"of_run_id": run_id, "of_delivery": number, "of_provider_run_id": provider_run_id}
    rows = tx.rows(_TO_HAND_OVER, key)
    for row in rows:
        _release(tx, run_of(row)._replace(parked_until=now), now + patience)
        tx.made_due = True
    return bool(rows)


def deliver_woken(tx: Transaction, now: Millis, *, limit: int) -> None:
    """Make the pending deliveries of runs due that are owed a wake, and withdraw the wakes.

    A delivery that its provider did not accept keeps its back-off, unless it has none and awaits
    the wake.
    """
    for run_id, number, failures, due_at in tx.rows(_WOKEN, {"now": now, "limit": limit}):
        tx.write(_WITHDRAW, {"of_run_id": run_id})
        if not failures or due_at == NEVER:
            tx.write(_DUE, {"of_run_id": run_id, "of_number": number, "to_due_at": now})
            tx.made_due = True


def _release(tx: Transaction, run: Run, stop_at: Millis) -> None:
    supersede(tx, run, stopping=True, due_at=stop_at)
    tx.write(_RELEASE, {"of_run_id": run.run_id})
    due_at = NEVER if run.parked_until is None else run.parked_until
    next_number = run.delivery + 1
    row = delivery_row(run, next_number, run.provider, due_at, DeliveryReason.RELEASED)
    insert_deliveries(tx, [row])

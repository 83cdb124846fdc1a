"""What is due: deliveries, wakes, deadlines."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

import orjson
from sqlalchemy import Text, and_, bindparam, case, func, not_, or_, select, update

from turnout.model.runs import Delivery, Run, Wake
from turnout.model.status import DeliveryState
from turnout.model.time import Millis
from turnout.ports.run_store import CALM_LOOK
from turnout.stores.sql import releases
from turnout.stores.sql.deliveries import postpone_all
from turnout.stores.sql.expressions import contains_bytes, fixed, for_rows
from turnout.stores.sql.operations import StorePart, reads, writes
from turnout.stores.sql.rows import DELIVERY_COLUMNS, LIVE_RUN, RUN_COLUMNS, delivery_of, run_of
from turnout.stores.sql.schema import deliveries, runs
from turnout.stores.sql.statements import Row, Transaction

LARGEST_PAYLOAD: Final = 64 * 1024
"""The largest payload, in bytes, of a run that comes with its delivery."""

_WAKES: Final = (
    select(runs.c.run_id, runs.c.seq, runs.c.wake_at, runs.c.wake_sent, *DELIVERY_COLUMNS)
    .join(
        deliveries,
        and_(deliveries.c.run_id == runs.c.run_id, deliveries.c.number == runs.c.delivery),
    )
    .where(
        runs.c.wake_at.is_not(None),
        runs.c.wake_at <= bindparam("now"),
        not_(releases.AWAITS_WAKE),
    )
    .order_by(runs.c.wake_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True, of=runs)
)
_RESEND: Final = for_rows(
    runs,
    ["run_id", "wake_at"],
    lambda wake: (
        update(runs)
        .where(runs.c.run_id == wake.c.run_id)
        .values(wake_at=wake.c.wake_at, wake_sent=runs.c.wake_sent + fixed(1))
    ),
)
_POSTPONE: Final = for_rows(
    runs,
    ["run_id", "seq", "wake_at", "wake_sent"],
    lambda wake: (
        update(runs)
        .where(
            runs.c.run_id == wake.c.run_id,
            runs.c.seq == wake.c.seq,
            runs.c.wake_at.is_not(None),
        )
        .values(wake_at=wake.c.wake_at, wake_sent=wake.c.wake_sent)
    ),
)
_TASKS: Final = bindparam("tasks", type_=Text)
"""Ids between commas, the first and the last one, too; empty: all tasks."""
_COMES_WITH: Final = and_(
    runs.c.seq == fixed(0), func.length(runs.c.payload) <= fixed(LARGEST_PAYLOAD)
)
_RUN_THAT_COMES: Final = (
    case((_COMES_WITH, column)).label("payload") if column is runs.c.payload else column
    for column in RUN_COLUMNS
)
_DUE: Final = (
    select(*DELIVERY_COLUMNS, runs.c.tags, case((_COMES_WITH, fixed(1))), *_RUN_THAT_COMES)
    .select_from(deliveries)
    .join(
        runs,
        and_(
            runs.c.run_id == deliveries.c.run_id,
            deliveries.c.state == fixed(DeliveryState.PENDING.value),
        ),
        isouter=True,
    )
    .where(
        deliveries.c.watched == fixed(1),
        deliveries.c.due_at <= bindparam("now"),
        or_(
            deliveries.c.state != fixed(DeliveryState.PENDING.value),
            deliveries.c.stopping == fixed(1),
            fixed("") == _TASKS,
            contains_bytes(_TASKS, fixed(",").concat(deliveries.c.task).concat(fixed(",")))
            > fixed(0),
        ),
    )
    .order_by(deliveries.c.due_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True, of=deliveries)
)
_DEADLINES: Final = (
    select(*RUN_COLUMNS)
    .where(runs.c.deadline_at.is_not(None), runs.c.deadline_at <= bindparam("now"), LIVE_RUN)
    .order_by(runs.c.deadline_at)
    .limit(bindparam("limit"))
)
_NEXT: Final = select(
    select(func.min(deliveries.c.due_at)).where(deliveries.c.watched == fixed(1)).scalar_subquery(),
    select(func.min(runs.c.wake_at)).where(runs.c.wake_at.is_not(None)).scalar_subquery(),
    select(func.min(runs.c.deadline_at)).where(runs.c.deadline_at.is_not(None)).scalar_subquery(),
)


class SqlDueWork(StorePart):
    """Work that is due for the pump."""

    @writes("due_deliveries", key="pump", light=True)
    def take_deliveries(
        self,
        tx: Transaction,
        now: Millis,
        *,
        limit: int,
        hold: Millis,
        tasks: Collection[str] | None = None,
    ) -> Sequence[Delivery]:
        """Take due deliveries; each is due again after the hold."""
        listed = "" if tasks is None else f",{','.join(tasks)},"
        params = {"now": now, "limit": limit, "tasks": listed}
        deliveries_ = [_delivery(row) for row in tx.rows(_DUE, params)]
        postpone_all(
            tx, [(delivery.run_id, delivery.number, now + hold) for delivery in deliveries_]
        )
        return deliveries_

    @writes("due_wakes", key="pump", light=True)
    def take_wakes(
        self, tx: Transaction, now: Millis, *, limit: int, resend: Millis, look: Millis = CALM_LOOK
    ) -> Sequence[Wake]:
        """Take the wakes that are due; each is due again after `resend`."""
        releases.deliver_woken(tx, now, limit=limit)
        rows = tx.rows(_WAKES, {"now": now, "limit": limit})
        tx.write_rows(_RESEND, [(run_id, now + resend) for run_id, *_ in rows])
        wakes = [
            Wake(
                run_id=row[0], seq=row[1], due_at=row[2], sent=row[3], delivery=delivery_of(row[4:])
            )
            for row in rows
        ]
        _check_by(tx, [wake.delivery for wake in wakes if wake.delivery is not None], now + look)
        return wakes

    @writes("postponed_wakes", key="pump")
    def postpone_wakes(self, tx: Transaction, wakes: Sequence[Wake]) -> None:
        """Record when each wake is due, and how often it was sent."""
        tx.write_rows(
            _POSTPONE, [(wake.run_id, wake.seq, wake.due_at, wake.sent) for wake in wakes]
        )

    @writes("due_releases", key="pump")
    def release(
        self, tx: Transaction, now: Millis, *, limit: int, patience: Millis
    ) -> Sequence[Delivery]:
        """Release parked runs that are due for it."""
        return releases.release(tx, now, limit=limit, patience=patience)

    @writes("hand_overs")
    def hand_over(
        self,
        tx: Transaction,
        run_id: str,
        number: int,
        provider_run_id: str,
        now: Millis,
        *,
        patience: Millis,
    ) -> bool:
        """Release a run whose vendor run ends near a limit of its vendor's."""
        vendor_run = (run_id, number, provider_run_id)
        return releases.hand_over(tx, vendor_run, now, patience=patience)

    @reads("due_deadlines")
    def deadlines(self, tx: Transaction, now: Millis, *, limit: int) -> Sequence[Run]:
        """Read live runs whose deadline has passed."""
        return [run_of(row) for row in tx.rows(_DEADLINES, {"now": now, "limit": limit})]

    @reads("next_due")
    def next_due(self, tx: Transaction) -> Millis | None:
        """Say when the next delivery, wake or deadline is due."""
        return min((at for at in tx.rows(_NEXT, {})[0] if at is not None), default=None)


def _check_by(tx: Transaction, deliveries_: Sequence[Delivery], latest: Millis) -> None:
    """Make the claimed ones of these deliveries due to be checked by a moment at the latest."""
    postpone_all(
        tx,
        [
            (delivery.run_id, delivery.number, latest)
            for delivery in deliveries_
            if delivery.state is DeliveryState.CLAIMED and delivery.due_at > latest
        ],
    )


def _delivery(row: Row) -> Delivery:
    """Read a delivery, with its run where that came with it."""
    tags, comes, *run = row[len(DELIVERY_COLUMNS) :]
    delivery = delivery_of(row, run_of(tuple(run)) if comes else None)
    return replace(delivery, tags=tuple(orjson.loads(tags))) if tags else delivery

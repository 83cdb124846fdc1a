"""Deliveries: who may call for a run, and what the pump has to do about it."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import CTE, ColumnElement, and_, bindparam, case, func, null, or_, select, update

from turnout.errors import RunEnded, Superseded, UnknownRun
from turnout.model.runs import Delivery, Journal, Run, SendResult
from turnout.model.status import DeliveryReason, DeliveryState, ParkReason
from turnout.model.time import Millis
from turnout.stores.sql.expressions import equals, fixed, for_rows, insert_rows
from turnout.stores.sql.identity import EPOCH
from turnout.stores.sql.journals import read_journal, read_run
from turnout.stores.sql.operations import StorePart, reads, writes
from turnout.stores.sql.rows import (
    DELIVERY_COLUMNS,
    IS_LIVE,
    RUN_COLUMNS,
    delivery_of,
    delivery_row,
    run_of,
)
from turnout.stores.sql.schema import deliveries, runs
from turnout.stores.sql.statements import Row, Transaction

_RUN: Final = equals(runs.c.run_id)
_DELIVERY: Final = (
    equals(deliveries.c.run_id),
    equals(deliveries.c.number),
)
_CLAIMED: Final = fixed(DeliveryState.CLAIMED.value)
_READ: Final = (
    select(*DELIVERY_COLUMNS).where(equals(deliveries.c.run_id)).order_by(deliveries.c.number)
)
_HELD_BY: Final = (
    select(
        *RUN_COLUMNS,
        deliveries.c.provider_run_id,
        deliveries.c.claimed_at,
        runs.c.wake_at.is_not(None),
    )
    .join(
        deliveries,
        and_(deliveries.c.run_id == runs.c.run_id, deliveries.c.number == runs.c.delivery),
    )
    .where(_RUN)
    # Both rows are locked: a row that is not may be read as it was before the wait for the other.
    .with_for_update(of=[runs, deliveries])
)
_CLAIM: Final = (
    update(deliveries)
    .where(*_DELIVERY)
    .values(
        state=_CLAIMED,
        provider_run_id=bindparam("to_provider_run_id"),
        claimed_at=bindparam("to_at"),
        called_at=bindparam("to_at"),
    )
)
_RECORD_CALL: Final = (
    update(deliveries)
    .where(*_DELIVERY)
    .values(
        called_at=bindparam("to_at"),
        due_at=case(
            (deliveries.c.due_at > bindparam("to_due_at"), bindparam("to_due_at")),
            else_=deliveries.c.due_at,
        ),
    )
)
_WITHDRAW: Final = (
    update(runs)
    .where(
        _RUN,
        runs.c.wake_at.is_not(None),
        or_(runs.c.wake_at <= bindparam("to_at"), runs.c.wake_sent > fixed(0)),
    )
    .values(wake_at=null())
)
_PARK: Final = update(deliveries).where(*_DELIVERY, IS_LIVE).values(token=bindparam("to_token"))
_PARK_FOR_SLOT: Final = (
    update(runs)
    .where(_RUN)
    .values(
        parked=fixed(1),
        parked_until=null(),
        parked_for=fixed(ParkReason.SLOT.value),
        release_at=bindparam("to_release_at"),
    )
)
_MOVE: Final = for_rows(
    deliveries,
    ["run_id", "number", "due_at"],
    lambda moved: (
        update(deliveries)
        .where(*_is(moved), deliveries.c.watched == fixed(1))
        .values(due_at=moved.c.due_at)
    ),
)
_IS_PENDING: Final = deliveries.c.state == fixed(DeliveryState.PENDING.value)
_TO_LOOK: Final = and_(deliveries.c.watched == fixed(1), deliveries.c.stopping == fixed(0))
_ACCEPTED: Final = for_rows(
    deliveries,
    ["run_id", "number", "due_at", "provider_run_id", "sent_at"],
    lambda accepted: (
        update(deliveries)
        .where(*_is(accepted))
        .values(
            state=case((_IS_PENDING, fixed(DeliveryState.SENT.value)), else_=deliveries.c.state),
            provider_run_id=case(
                (_IS_PENDING, accepted.c.provider_run_id), else_=deliveries.c.provider_run_id
            ),
            error=case((_IS_PENDING, null()), else_=deliveries.c.error),
            due_at=case((_TO_LOOK, accepted.c.due_at), else_=deliveries.c.due_at),
            sent_at=accepted.c.sent_at,
        )
    ),
)
_FAILED: Final = (
    update(deliveries)
    .where(*_DELIVERY, _IS_PENDING)
    .values(failures=deliveries.c.failures + fixed(1), error=bindparam("to_error"))
)
_LOOK: Final = update(deliveries).where(*_DELIVERY, _TO_LOOK).values(due_at=bindparam("to_due_at"))
_SUPERSEDE: Final = (
    update(deliveries)
    .where(*_DELIVERY, IS_LIVE)
    .values(
        state=fixed(DeliveryState.SUPERSEDED.value),
        stopping=bindparam("to_stopping"),
        watched=bindparam("to_stopping"),
        due_at=bindparam("to_due_at"),
    )
)
_REDELIVER: Final = (
    update(runs)
    .where(_RUN)
    .values(
        delivery=runs.c.delivery + fixed(1),
        provider=bindparam("to_provider"),
        fence=runs.c.fence + bindparam("to_moved"),
        seq=runs.c.seq + fixed(1),
        projection_at=func.coalesce(runs.c.projection_at, fixed(0)),
    )
)
_INSERT: Final = insert_rows(deliveries, without=["listed_at"], computed={"epoch": EPOCH})
_STOPPED: Final = update(deliveries).where(*_DELIVERY).values(stopping=fixed(0), watched=fixed(0))
_STOPPED_LIVE: Final = (
    update(deliveries).where(*_DELIVERY, IS_LIVE).values(state=fixed(DeliveryState.ENDED.value))
)
_ENDS_SUPERSEDED: Final = (
    update(deliveries)
    .where(*_DELIVERY, deliveries.c.state == fixed(DeliveryState.SUPERSEDED.value))
    .values(stopping=fixed(0), watched=fixed(0))
)
CHECKED_AFTER: Final = 60_000
"""Milliseconds from a call until its delivery is checked at the latest."""
LONGEST_ERROR: Final = 2_000
"""Characters of a failed sending's error that are recorded."""


class SqlDeliveryStore(StorePart):
    """Who may call for a run."""

    @writes("claim_delivery", light=True)
    def claim(
        self, tx: Transaction, run_id: str, number: int, provider_run_id: str, now: Millis
    ) -> Journal:
        """Let a vendor run call for a delivery, and read the run; refuse every other one."""
        rows = tx.rows(_HELD_BY, {"of_run_id": run_id})
        if not rows:
            raise UnknownRun(f"no run {run_id!r} is known")
        *row, holder, claimed_at, owed = rows[0]
        run, key = run_of(tuple(row)), _key(run_id, number)
        if number != run.delivery:
            raise Superseded(f"delivery {number} of run {run_id!r} is not the live one")
        if claimed_at is not None and holder != provider_run_id:
            raise Superseded(f"another vendor run holds delivery {number} of run {run_id!r}")
        if run.state.terminal:
            raise RunEnded(f"run {run_id!r} is {run.state.value}")
        if claimed_at is None:
            tx.write(_CLAIM, {**key, "to_provider_run_id": provider_run_id, "to_at": now})
        else:
            tx.write(_RECORD_CALL, {**key, "to_at": now, "to_due_at": now + CHECKED_AFTER})
        if owed:
            tx.write(_WITHDRAW, {"of_run_id": run_id, "to_at": now})
        return read_journal(tx, run)

    @writes("park_on")
    def park(
        self,
        tx: Transaction,
        run_id: str,
        number: int,
        seq: int,
        token: str,
        *,
        release_at: Millis | None = None,
    ) -> bool:
        """Record a token, if the run is still as its vendor run read it."""
        # Locked, so that a commit that wakes the run comes later, and finds the token.
        run = read_run(tx, run_id, locked=True)
        if run.seq != seq or run.delivery != number or run.state.terminal:
            return False
        if release_at is not None:
            tx.write(_PARK_FOR_SLOT, {"of_run_id": run_id, "to_release_at": release_at})
        return bool(tx.changed(_PARK, {**_key(run_id, number), "to_token": token}))

    @reads("deliveries")
    def read(self, tx: Transaction, run_id: str) -> Sequence[Delivery]:
        """Read a run's deliveries, in order of number."""
        rows = tx.rows(_READ, {"of_run_id": run_id})
        if not rows:
            raise UnknownRun(f"no run {run_id!r} is known")
        return [delivery_of(row) for row in rows]

    @writes("delivered", key="sendings")
    def record(self, tx: Transaction, results: Sequence[SendResult]) -> None:
        """Record what became of sendings."""
        tx.write_rows(
            _ACCEPTED, [_acceptance(result) for result in results if result.error is None]
        )
        for result in results:
            if result.error is not None:
                key = _key(result.run_id, result.number)
                tx.write(_LOOK, {**key, "to_due_at": result.due_at})
                tx.write(_FAILED, {**key, "to_error": result.error[:LONGEST_ERROR]})

    @writes("postpone")
    def postpone(self, tx: Transaction, run_id: str, number: int, due_at: Millis) -> None:
        """Make a delivery due at another time."""
        postpone_all(tx, [(run_id, number, due_at)])

    @writes("redeliver")
    def redeliver(
        self,
        tx: Transaction,
        run_id: str,
        number: int,
        provider: str,
        now: Millis,
        *,
        stop: bool = False,
    ) -> bool:
        """Supersede a live delivery by the next; a change of the provider also raises the fence."""
        return redeliver(tx, run_id, number, provider, now, stop=stop)

    @writes("stopped")
    def mark_stopped(self, tx: Transaction, run_id: str, number: int) -> None:
        """Record that the vendor confirmed the end of its run."""
        key = _key(run_id, number)
        tx.write(_STOPPED_LIVE, key)
        tx.write(_STOPPED, key)

    @writes("reported_end")
    def report_end(self, tx: Transaction, run_id: str, number: int, due_at: Millis) -> None:
        """Take a vendor run's own word for its end where it is superseded; else look at it soon."""
        if not tx.changed(_ENDS_SUPERSEDED, _key(run_id, number)):
            postpone_all(tx, [(run_id, number, due_at)])


def redeliver(
    tx: Transaction, run_id: str, number: int, provider: str, now: Millis, *, stop: bool = False
) -> bool:
    """Do what `DeliveryStore.redeliver` does, in this transaction."""
    run = read_run(tx, run_id, locked=True)
    if run.delivery != number or run.state.terminal:
        return False
    moved = int(provider != run.provider)
    # A vendor run at another provider is stopped; at the same provider it is mostly gone.
    supersede(tx, run, stopping=stop or bool(moved), due_at=now)
    tx.write(_REDELIVER, {"of_run_id": run_id, "to_provider": provider, "to_moved": moved})
    reason = DeliveryReason.MOVED if moved else DeliveryReason.LOST
    due_at = max(now, run.due_at)
    insert_deliveries(tx, [delivery_row(run, number + 1, provider, due_at, reason)])
    tx.made_due = True
    return True


def supersede(tx: Transaction, run: Run, *, stopping: bool, due_at: Millis) -> None:
    """Supersede the run's live delivery; its vendor run is stopped at `due_at`, if at all."""
    key = _key(run.run_id, run.delivery)
    tx.write(_SUPERSEDE, {**key, "to_stopping": int(stopping), "to_due_at": due_at})


def insert_deliveries(tx: Transaction, rows: Sequence[Row]) -> None:
    """Insert deliveries of `delivery_row`, with the store's epoch."""
    tx.write_rows(_INSERT, rows)


def postpone_all(tx: Transaction, due: Sequence[Row]) -> None:
    """Make deliveries due at other times; each row: run_id, number, due_at."""
    tx.write_rows(_MOVE, due)


def _acceptance(result: SendResult) -> Row:
    return result.run_id, result.number, result.due_at, result.provider_run_id, result.sent_at


def _key(run_id: str, number: int) -> dict[str, object]:
    return {"of_run_id": run_id, "of_number": number}


def _is(row: CTE) -> tuple[ColumnElement[bool], ...]:
    return deliveries.c.run_id == row.c.run_id, deliveries.c.number == row.c.number

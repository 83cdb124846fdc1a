"""Deliveries: who may call for a run, and what the pump has to do about it."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import CTE, ColumnElement, and_, bindparam, case, func, null, or_, select, update

from turnout.errors import RunEnded, Superseded, UnknownRun
from turnout.model.runs import Delivery, Journal, SendResult
from turnout.model.status import DeliveryReason, DeliveryState
from turnout.model.time import Millis
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
from turnout.stores.sql.schema import deliveries, fixed, for_rows, given, insert_rows, runs
from turnout.stores.sql.statements import Row, Transaction

_ITS_RUN: Final = runs.c.run_id == given(runs.c.run_id)
_ITS: Final = (
    deliveries.c.run_id == given(deliveries.c.run_id),
    deliveries.c.number == given(deliveries.c.number),
)
_CLAIMED: Final = fixed(DeliveryState.CLAIMED.value)
_ALL: Final = (
    select(*DELIVERY_COLUMNS)
    .where(deliveries.c.run_id == given(deliveries.c.run_id))
    .order_by(deliveries.c.number)
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
    .where(_ITS_RUN)
    # Both: what is read of a row that is not locked may be older than the wait for the other.
    .with_for_update(of=[runs, deliveries])
)
_CLAIM: Final = (
    update(deliveries)
    .where(*_ITS)
    .values(
        state=_CLAIMED,
        provider_run_id=bindparam("to_provider_run_id"),
        claimed_at=bindparam("to_at"),
        called_at=bindparam("to_at"),
    )
)
_CALLED: Final = update(deliveries).where(*_ITS).values(called_at=bindparam("to_at"))
_WITHDRAW: Final = (
    update(runs)
    .where(
        _ITS_RUN,
        runs.c.wake_at.is_not(None),
        or_(runs.c.wake_at <= bindparam("to_at"), runs.c.wake_sent > fixed(0)),
    )
    .values(wake_at=null())
)
_PARK: Final = update(deliveries).where(*_ITS, IS_LIVE).values(token=bindparam("to_token"))
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
    lambda told: (
        update(deliveries)
        .where(*_is(told))
        .values(
            state=case((_IS_PENDING, fixed(DeliveryState.SENT.value)), else_=deliveries.c.state),
            provider_run_id=case(
                (_IS_PENDING, told.c.provider_run_id), else_=deliveries.c.provider_run_id
            ),
            error=case((_IS_PENDING, null()), else_=deliveries.c.error),
            due_at=case((_TO_LOOK, told.c.due_at), else_=deliveries.c.due_at),
            sent_at=told.c.sent_at,
        )
    ),
)
_FAILED: Final = (
    update(deliveries)
    .where(*_ITS, _IS_PENDING)
    .values(failures=deliveries.c.failures + fixed(1), error=bindparam("to_error"))
)
_LOOK: Final = update(deliveries).where(*_ITS, _TO_LOOK).values(due_at=bindparam("to_due_at"))
_SUPERSEDE: Final = (
    update(deliveries)
    .where(*_ITS, IS_LIVE)
    .values(
        state=fixed(DeliveryState.SUPERSEDED.value),
        stopping=bindparam("to_stopping"),
        watched=bindparam("to_stopping"),
        due_at=bindparam("to_due_at"),
    )
)
_REDELIVER: Final = (
    update(runs)
    .where(_ITS_RUN)
    .values(
        delivery=runs.c.delivery + fixed(1),
        provider=bindparam("to_provider"),
        fence=runs.c.fence + bindparam("to_moved"),
        seq=runs.c.seq + fixed(1),
        projection_at=func.coalesce(runs.c.projection_at, fixed(0)),
    )
)
_INSERT: Final = insert_rows(deliveries, computed={"epoch": EPOCH})
_STOPPED: Final = update(deliveries).where(*_ITS).values(stopping=fixed(0), watched=fixed(0))
_STOPPED_LIVE: Final = (
    update(deliveries).where(*_ITS, IS_LIVE).values(state=fixed(DeliveryState.ENDED.value))
)
LONGEST_ERROR: Final = 2_000
"""Characters of a failed sending's error that are recorded."""


class SqlDeliveryStore(StorePart):
    """Who may call for a run."""

    @writes("claim_delivery")
    def claim(
        self, tx: Transaction, run_id: str, number: int, provider_run_id: str, now: Millis
    ) -> Journal:
        """Let a vendor run call for a delivery, and read the run; refuse every other one."""
        found = tx.rows(_HELD_BY, {"of_run_id": run_id})
        if not found:
            raise UnknownRun(f"no run {run_id!r} is known")
        *row, holder, claimed_at, owed = found[0]
        run, its = run_of(tuple(row)), _key(run_id, number)
        if number != run.delivery:
            raise Superseded(f"delivery {number} of run {run_id!r} is not the live one")
        if claimed_at is not None and holder != provider_run_id:
            raise Superseded(f"another vendor run holds delivery {number} of run {run_id!r}")
        if run.state.terminal:
            raise RunEnded(f"run {run_id!r} is {run.state.value}")
        if claimed_at is None:
            tx.write(_CLAIM, {**its, "to_provider_run_id": provider_run_id, "to_at": now})
        else:
            tx.write(_CALLED, {**its, "to_at": now})
        if owed:
            tx.write(_WITHDRAW, {"of_run_id": run_id, "to_at": now})
        return read_journal(tx, run)

    @writes("park_on")
    def park(self, tx: Transaction, run_id: str, number: int, seq: int, token: str) -> bool:
        """Remember a token while the run is as its vendor run saw it."""
        # Locked, so that a commit that owes the run a wake comes after the token, and finds it.
        run = read_run(tx, run_id, locked=True)
        if run.seq != seq or run.delivery != number or run.state.terminal:
            return False
        return bool(tx.changed(_PARK, {**_key(run_id, number), "to_token": token}))

    @reads("deliveries")
    def read(self, tx: Transaction, run_id: str) -> Sequence[Delivery]:
        """Read a run's deliveries, in order of number."""
        found = tx.rows(_ALL, {"of_run_id": run_id})
        if not found:
            raise UnknownRun(f"no run {run_id!r} is known")
        return [delivery_of(row) for row in found]

    @writes("delivered", key="sendings")
    def record(self, tx: Transaction, results: Sequence[SendResult]) -> None:
        """Record what became of sendings."""
        tx.put(_ACCEPTED, [_acceptance(each) for each in results if each.error is None])
        for each in results:
            if each.error is not None:
                its = _key(each.run_id, each.number)
                tx.write(_LOOK, {**its, "to_due_at": each.due_at})
                tx.write(_FAILED, {**its, "to_error": each.error[:LONGEST_ERROR]})

    @writes("postpone")
    def postpone(self, tx: Transaction, run_id: str, number: int, due_at: Millis) -> None:
        """Look after a delivery later."""
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
        """Supersede a live delivery by the next; on another provider it is a move, and fences."""
        run = read_run(tx, run_id, locked=True)
        if run.delivery != number or run.state.terminal:
            return False
        moved = int(provider != run.provider)
        # The old provider's run is stopped; at the same provider it mostly is gone.
        stopping = int(stop or moved)
        tx.write(_SUPERSEDE, {**_key(run_id, number), "to_stopping": stopping, "to_due_at": now})
        tx.write(_REDELIVER, {"of_run_id": run_id, "to_provider": provider, "to_moved": moved})
        reason = DeliveryReason.MOVED if moved else DeliveryReason.LOST
        due_at = max(now, run.due_at)
        tx.put(_INSERT, [delivery_row(run, number + 1, provider, due_at, reason)])
        return True

    @writes("stopped")
    def mark_stopped(self, tx: Transaction, run_id: str, number: int) -> None:
        """Record that the vendor confirmed the end of its run."""
        its = _key(run_id, number)
        tx.write(_STOPPED_LIVE, its)
        tx.write(_STOPPED, its)


def postpone_all(tx: Transaction, due: Sequence[Row]) -> None:
    """Look after deliveries later; each row: run_id, number, due_at."""
    tx.put(_MOVE, due)


def _acceptance(result: SendResult) -> Row:
    return result.run_id, result.number, result.due_at, result.provider_run_id, result.sent_at


def _key(run_id: str, number: int) -> dict[str, object]:
    return {"of_run_id": run_id, "of_number": number}


def _is(row: CTE) -> tuple[ColumnElement[bool], ...]:
    return deliveries.c.run_id == row.c.run_id, deliveries.c.number == row.c.number

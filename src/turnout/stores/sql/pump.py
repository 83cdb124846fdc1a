"""What is due: wakes, deadlines, leases, artifacts."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import and_, bindparam, case, func, null, select, update

from turnout.model.runs import Run, Wake
from turnout.model.status import AttemptState, RunStatus
from turnout.stores.sql.rows import DELIVERY_COLUMNS, RUN_COLUMNS, delivery_of, run_of
from turnout.stores.sql.schema import among, attempts, deliveries, fixed, given, runs
from turnout.stores.sql.statements import Transaction

_ITS_RUN: Final = runs.c.run_id == given(runs.c.run_id)
_LIVE_RUN: Final = among(runs.c.state, (state.value for state in RunStatus if not state.terminal))
_WAKES: Final = (
    select(runs.c.run_id, runs.c.seq, runs.c.wake_at, runs.c.wake_sent, *DELIVERY_COLUMNS)
    .join(
        deliveries,
        and_(deliveries.c.run_id == runs.c.run_id, deliveries.c.number == runs.c.delivery),
    )
    .where(runs.c.wake_at.is_not(None), runs.c.wake_at <= bindparam("now"))
    .order_by(runs.c.wake_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True, of=runs)
)
_RESEND: Final = (
    update(runs)
    .where(_ITS_RUN)
    .values(wake_at=bindparam("to_wake_at"), wake_sent=runs.c.wake_sent + fixed(1))
)
_DEADLINES: Final = (
    select(*RUN_COLUMNS)
    .where(runs.c.deadline_at.is_not(None), runs.c.deadline_at <= bindparam("now"), _LIVE_RUN)
    .order_by(runs.c.deadline_at)
    .limit(bindparam("limit"))
)
_EXPIRED: Final = (
    select(attempts.c.run_id)
    .where(attempts.c.leased == fixed(1), attempts.c.lease_until <= bindparam("now"))
    .order_by(attempts.c.lease_until)
    .limit(bindparam("limit"))
)
_RENEW: Final = (
    update(attempts)
    .where(
        attempts.c.run_id == given(attempts.c.run_id),
        attempts.c.step == given(attempts.c.step),
        attempts.c.number == given(attempts.c.number),
        attempts.c.state == fixed(AttemptState.CLAIMED.value),
        attempts.c.fence == select(runs.c.fence).where(_ITS_RUN, _LIVE_RUN).scalar_subquery(),
    )
    .values(lease_until=bindparam("to_lease_until"))
)
_BEHIND: Final = (
    select(runs.c.run_id)
    .where(runs.c.projection_at.is_not(None), runs.c.projection_at <= bindparam("now"))
    .order_by(runs.c.projection_at, runs.c.emit_seq)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_HOLD: Final = update(runs).where(_ITS_RUN).values(projection_at=bindparam("to_projection_at"))
_SHOWN: Final = bindparam("to_projected_seq", type_=runs.c.seq.type)
_PROJECTED: Final = (
    update(runs)
    .where(_ITS_RUN, runs.c.projected_seq <= _SHOWN)
    .values(projected_seq=_SHOWN, projection_at=case((runs.c.seq > _SHOWN, fixed(0)), else_=null()))
)
_NEXT: Final = select(
    select(func.min(deliveries.c.due_at)).where(deliveries.c.watched == fixed(1)).scalar_subquery(),
    select(func.min(runs.c.wake_at)).where(runs.c.wake_at.is_not(None)).scalar_subquery(),
    select(func.min(runs.c.deadline_at)).where(runs.c.deadline_at.is_not(None)).scalar_subquery(),
)


def due_wakes(tx: Transaction, now: int, limit: int, resend: int) -> Sequence[Wake]:
    """Take the wakes that are due; each is due again after `resend`."""
    found = tx.rows(_WAKES, {"now": now, "limit": limit})
    for run_id, *_ in found:
        tx.write(_RESEND, {"of_run_id": run_id, "to_wake_at": now + resend})
    return [
        Wake(run_id=row[0], seq=row[1], due_at=row[2], sent=row[3], delivery=delivery_of(row[4:]))
        for row in found
    ]


def due_deadlines(tx: Transaction, now: int, limit: int) -> Sequence[Run]:
    """Read live runs whose deadline has passed."""
    return [run_of(row) for row in tx.rows(_DEADLINES, {"now": now, "limit": limit})]


def expired_leases(tx: Transaction, now: int, limit: int) -> Sequence[str]:
    """Read ids of runs that have a claimed attempt whose lease has run out."""
    found = tx.rows(_EXPIRED, {"now": now, "limit": limit})
    return list(dict.fromkeys(run_id for (run_id,) in found))


def renew(
    tx: Transaction, claims: Sequence[tuple[str, str, int]], lease_until: int
) -> Sequence[tuple[str, str, int]]:
    """Extend leases; give back those that are no longer ours to run."""
    return [claim for claim in claims if not tx.changed(_RENEW, _claim(claim, lease_until))]


def unprojected(tx: Transaction, limit: int, now: int, hold: int) -> Sequence[str]:
    """Take runs whose artifacts are behind their journal."""
    found = [run_id for (run_id,) in tx.rows(_BEHIND, {"now": now, "limit": limit})]
    for run_id in found:
        tx.write(_HOLD, {"of_run_id": run_id, "to_projection_at": now + hold})
    return found


def projected(tx: Transaction, run_id: str, seq: int) -> None:
    """Record that the artifacts show the journal as of seq."""
    tx.write(_PROJECTED, {"of_run_id": run_id, "to_projected_seq": seq})


def next_due(tx: Transaction) -> int | None:
    """Say when the next delivery, wake or deadline is due."""
    return min((at for at in tx.rows(_NEXT, {})[0] if at is not None), default=None)


def _claim(claim: tuple[str, str, int], lease_until: int) -> dict[str, object]:
    run_id, step, number = claim
    its = {"of_run_id": run_id, "of_step": step, "of_number": number}
    return {**its, "to_lease_until": lease_until}

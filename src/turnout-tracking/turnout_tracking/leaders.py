"""Leases of leaders in the run store: one leader a job, by the database's clock, with a fence.

No time of a replica's own clock is in a statement, so a replica whose clock is wrong takes no lease
that another one holds. A fence rises with each take-over; what a leader writes is checked against
it in the same transaction, so a leader that was replaced writes nothing.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, bindparam, case, or_, select, update
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from turnout.errors import Refused
from turnout.model.time import Millis
from turnout.ports.run_store import RunStore
from turnout.stores.sql.expressions import equals, fixed, insert_into
from turnout.stores.sql.operations import StorePart, committer_of, writes
from turnout.stores.sql.schema import leaders
from turnout.stores.sql.statements import Transaction


class LeaseLost(Refused):
    """Another replica leads the job."""

    code = "lease_lost"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """That a replica leads a job, until it is renewed or taken over."""

    job: str
    holder: str
    fence: int
    """Raised by every take-over; what the leader writes is checked against it."""


class _DatabaseTime(FunctionElement[int]):
    """The database's clock in milliseconds; SQLite's is that of the machine."""

    inherit_cache = True
    type = BigInteger()


@compiles(_DatabaseTime, "sqlite")
def _julian_day(*_arguments: Any, **_options: Any) -> str:
    return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"


@compiles(_DatabaseTime, "postgresql")
def _clock_timestamp(*_arguments: Any, **_options: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"


_NOW: Final = _DatabaseTime()
_UNTIL: Final = _NOW + bindparam("to_length", type_=BigInteger())
_IS_HOLDERS: Final = leaders.c.holder == bindparam("of_holder")
_TAKE: Final = (
    insert_into(leaders)
    .values(job=bindparam("of_job"), holder=bindparam("of_holder"), fence=fixed(1), until=_UNTIL)
    .on_conflict_do_update(
        index_elements=[leaders.c.job],
        set_={
            "holder": bindparam("of_holder"),
            "fence": case(
                (_IS_HOLDERS & (leaders.c.until > _NOW), leaders.c.fence),
                else_=leaders.c.fence + fixed(1),
            ),
            "until": _UNTIL,
        },
        where=or_(_IS_HOLDERS, leaders.c.until <= _NOW),
    )
    .returning(leaders.c.fence)
)
_IS_CURRENT: Final = (
    equals(leaders.c.job),
    _IS_HOLDERS,
    leaders.c.fence == bindparam("of_fence"),
)
_RENEW: Final = update(leaders).where(*_IS_CURRENT, leaders.c.until > _NOW).values(until=_UNTIL)
_RESIGN: Final = update(leaders).where(*_IS_CURRENT).values(until=fixed(0))
# The lock makes a take-over wait until what was checked is committed.
_CHECK: Final = select(leaders.c.fence).where(*_IS_CURRENT).with_for_update(read=True)


class LeaderStore(StorePart):
    """Who leads which job."""

    @writes("lead", key="lead")
    def take(self, tx: Transaction, job: str, holder: str, length: Millis) -> Lease | None:
        """Take a job's lease, which is free or this holder's; None: another one holds it.

        length: for how long. The fence is a new one unless the holder's lease has not run out.
        """
        values = {"of_job": job, "of_holder": holder, "to_length": length}
        rows = tx.rows(_TAKE, values)
        return Lease(job=job, holder=holder, fence=rows[0][0]) if rows else None

    @writes("lead_on", key="lead")
    def renew(self, tx: Transaction, lease: Lease, length: Millis) -> bool:
        """Make a lease that has not run out longer; False: it has, or another replica leads."""
        return tx.changed(_RENEW, {**_key(lease), "to_length": length}) == 1

    @writes("resign", key="lead")
    def resign(self, tx: Transaction, lease: Lease) -> None:
        """End a lease, so that another replica need not wait until it runs out."""
        tx.write(_RESIGN, _key(lease))


def check_lease(tx: Transaction, lease: Lease) -> None:
    """Make sure that nobody has taken over, until the transaction ends; else LeaseLost.

    Call it before anything is written.
    """
    if not tx.rows(_CHECK, _key(lease)):
        raise LeaseLost(f"another replica leads {lease.job!r}")


def open_leaders(store: RunStore) -> LeaderStore:
    """Open the leases of a run store."""
    return LeaderStore(committer_of(store))


def _key(lease: Lease) -> dict[str, Any]:
    return {"of_job": lease.job, "of_holder": lease.holder, "of_fence": lease.fence}

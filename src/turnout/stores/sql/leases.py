"""Leases of claimed attempts."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, select, update

from turnout.model.runs import Claim
from turnout.model.status import AttemptState
from turnout.model.time import Millis
from turnout.stores.sql.expressions import equals, fixed
from turnout.stores.sql.operations import StorePart, reads, writes
from turnout.stores.sql.rows import LIVE_RUN
from turnout.stores.sql.schema import attempts, runs
from turnout.stores.sql.statements import Transaction

_RUN: Final = equals(runs.c.run_id)
_EXPIRED: Final = (
    select(attempts.c.run_id)
    .where(attempts.c.leased == fixed(1), attempts.c.lease_until <= bindparam("now"))
    .order_by(attempts.c.lease_until)
    .limit(bindparam("limit"))
)
_RENEW: Final = (
    update(attempts)
    .where(
        equals(attempts.c.run_id),
        equals(attempts.c.step),
        equals(attempts.c.number),
        attempts.c.state == fixed(AttemptState.CLAIMED.value),
        attempts.c.fence == select(runs.c.fence).where(_RUN, LIVE_RUN).scalar_subquery(),
    )
    .values(lease_until=bindparam("to_lease_until"))
)


class SqlLeaseStore(StorePart):
    """Leases of claimed attempts."""

    @writes("renew", key="leases")
    def renew(
        self, tx: Transaction, claims: Sequence[Claim], lease_until: Millis
    ) -> Sequence[Claim]:
        """Extend leases; returns the claims that no longer hold."""
        return [claim for claim in claims if not tx.changed(_RENEW, _lease_key(claim, lease_until))]

    @reads("expired_leases")
    def expired(self, tx: Transaction, now: Millis, *, limit: int) -> Sequence[str]:
        """Read ids of runs that have a claimed attempt whose lease has run out."""
        rows = tx.rows(_EXPIRED, {"now": now, "limit": limit})
        return list(dict.fromkeys(run_id for (run_id,) in rows))


def _lease_key(claim: Claim, lease_until: int) -> dict[str, object]:
    run_id, step, number = claim
    key = {"of_run_id": run_id, "of_step": step, "of_number": number}
    return {**key, "to_lease_until": lease_until}

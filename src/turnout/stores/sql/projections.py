"""Runs whose artifacts are to be written."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, case, null, select, update

from turnout.model.time import Millis
from turnout.stores.sql.expressions import equals, fixed
from turnout.stores.sql.operations import StorePart, writes
from turnout.stores.sql.schema import runs
from turnout.stores.sql.statements import Transaction

_RUN: Final = equals(runs.c.run_id)
_BEHIND: Final = (
    select(runs.c.run_id)
    .where(runs.c.projection_at.is_not(None), runs.c.projection_at <= bindparam("now"))
    .order_by(runs.c.projection_at, runs.c.emit_seq)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_HOLD: Final = update(runs).where(_RUN).values(projection_at=bindparam("to_projection_at"))
_SHOWN: Final = bindparam("to_projected_seq", type_=runs.c.seq.type)
_PROJECTED: Final = (
    update(runs)
    .where(_RUN, runs.c.projected_seq <= _SHOWN)
    .values(projected_seq=_SHOWN, projection_at=case((runs.c.seq > _SHOWN, fixed(0)), else_=null()))
)


class SqlProjectionQueue(StorePart):
    """Runs whose artifacts are to be written."""

    @writes("unprojected", key="pump")
    def take(self, tx: Transaction, *, limit: int, now: Millis, hold: Millis) -> Sequence[str]:
        """Take runs whose artifacts are behind their journal."""
        run_ids = [run_id for (run_id,) in tx.rows(_BEHIND, {"now": now, "limit": limit})]
        for run_id in run_ids:
            tx.write(_HOLD, {"of_run_id": run_id, "to_projection_at": now + hold})
        return run_ids

    @writes("projected")
    def record(self, tx: Transaction, run_id: str, seq: int) -> None:
        """Record that the artifacts show the journal as of seq."""
        tx.write(_PROJECTED, {"of_run_id": run_id, "to_projected_seq": seq})

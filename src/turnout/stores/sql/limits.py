"""Limit slots: a waiting line for each (task, limit key), in order of emit.

A place in the line is `queued` (its run will ask by itself), `waiting` (its run asked, got no slot,
and must be woken) or `held` (its run has a slot). The run at the head of the line is woken whenever
a slot may be free for it: after a slot or a place is given up, and after a slot is taken while more
are free.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import and_, bindparam, delete, func, select, update

from turnout.errors import WrongUse
from turnout.model.runs import Run
from turnout.model.time import Millis
from turnout.stores.sql.expressions import among, equals, fixed, insert_into
from turnout.stores.sql.journals import read_run, wake
from turnout.stores.sql.operations import StorePart, writes
from turnout.stores.sql.schema import line
from turnout.stores.sql.statements import Transaction

_IN_LINE: Final = and_(equals(line.c.task), equals(line.c.limit_key))
_PLACE: Final = and_(equals(line.c.run_id), equals(line.c.step))
_STATE: Final = select(line.c.state).where(_PLACE)
_STAND: Final = insert_into(line)
_SET: Final = update(line).where(_PLACE).values(state=bindparam("to_state"))
_COUNT_HELD: Final = select(func.count()).where(_IN_LINE, line.c.state == fixed("held"))
_OVERTAKEN: Final = (
    select(line.c.emit_seq)
    .where(
        _IN_LINE,
        among(line.c.state, ["queued", "waiting"]),
        line.c.emit_seq < bindparam("of_emit_seq"),
        line.c.due_at <= bindparam("now"),
    )
    .limit(1)
)
_WAITING: Final = (
    select(line.c.run_id, line.c.emit_seq)
    .where(_IN_LINE, line.c.state == fixed("waiting"))
    .order_by(line.c.emit_seq)
    .limit(1)
)
_LEAVE: Final = delete(line).where(_PLACE)
_LEAVE_ALL: Final = delete(line).where(equals(line.c.run_id))


class SqlLimitStore(StorePart):
    """Concurrency limits."""

    @writes("take_slot")
    def take_slot(
        self, tx: Transaction, run_id: str, step: str | None, limit: int, now: Millis
    ) -> bool:
        """Take a slot, or a place in the line for one."""
        run = read_run(tx, run_id)
        if run.limit_key is None:
            raise WrongUse(
                f"run {run_id!r} has no limit_key; give it one, null for a task-wide limit"
            )
        tx.lock(_name(run))
        run = read_run(tx, run_id)
        if run.state.terminal:
            return False
        place = {"of_run_id": run_id, "of_step": step or ""}
        state = _state(tx, run, step or "")
        if state == "held":
            return True
        held_slots = tx.rows(_COUNT_HELD, _line_of(run))[0][0]
        if held_slots >= limit or _overtakes(tx, run, run.emit_seq, now):
            if state != "waiting":
                tx.write(_SET, {**place, "to_state": "waiting"})
            return False
        tx.write(_SET, {**place, "to_state": "held"})
        if held_slots + 1 < limit:
            wake_next(tx, run, now, but=run_id)
        return True


def free_slots(tx: Transaction, run: Run, steps: Sequence[str] | None, now: int) -> None:
    """Give up the places of these steps, or all of the run's, and wake the next in line."""
    if run.limit_key is None:
        return
    tx.lock(_name(run))
    if steps is None:
        freed = tx.changed(_LEAVE_ALL, {"of_run_id": run.run_id})
    else:
        places = [{"of_run_id": run.run_id, "of_step": step} for step in steps]
        freed = sum(tx.changed(_LEAVE, place) for place in places)
    if freed:
        wake_next(tx, run, now)


def wake_next(tx: Transaction, run: Run, now: int, *, but: str = "") -> None:
    """Wake the run at the head of the line, if it waits; a queued one asks by itself."""
    waiting = tx.rows(_WAITING, _line_of(run))
    if not waiting or waiting[0][0] == but or _overtakes(tx, run, waiting[0][1], now):
        return
    wake(tx, waiting[0][0], now)


def _state(tx: Transaction, run: Run, step: str) -> str:
    rows = tx.rows(_STATE, {"of_run_id": run.run_id, "of_step": step})
    if rows:
        return str(rows[0][0])
    values = {"run_id": run.run_id, "step": step, "task": run.task, "limit_key": run.limit_key}
    tx.write(_STAND, {**values, "emit_seq": run.emit_seq, "due_at": run.due_at, "state": "queued"})
    return "queued"


def _overtakes(tx: Transaction, run: Run, emit_seq: int, now: int) -> bool:
    """Whether a run that is due stands in line before this place."""
    return bool(tx.rows(_OVERTAKEN, {**_line_of(run), "of_emit_seq": emit_seq, "now": now}))


def _line_of(run: Run) -> dict[str, object]:
    return {"of_task": run.task, "of_limit_key": run.limit_key}


def _name(run: Run) -> str:
    return f"slot:{run.task}:{run.limit_key}"

"""Limit slots: a waiting line for each (task, limit key), in order of emit.

A place in the line is `queued` (its run will ask by itself), `waiting` (its run asked, got no slot,
and must be woken), `woken` (it was handed a slot, and its run is on its way to ask again) or `held`
(its run has a slot). The commit that frees a slot hands it to the head of the line, and a run that
takes one hands on all that are free. So slots are given in order, and taken in any order.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import and_, bindparam, delete, func, select, update

from turnout.errors import WrongUse
from turnout.model.runs import Run
from turnout.model.time import Millis
from turnout.stores.sql import releases
from turnout.stores.sql.expressions import among, equals, fixed, insert_into
from turnout.stores.sql.journals import read_run, wake
from turnout.stores.sql.operations import StorePart, writes
from turnout.stores.sql.schema import line
from turnout.stores.sql.statements import Row, Transaction

LINES: Final = "lines"
"""The key of operations that lock a line: those of one process share a connection, not wait."""
_IN_LINE: Final = and_(equals(line.c.task), equals(line.c.limit_key))
_PLACE: Final = and_(equals(line.c.run_id), equals(line.c.step))
_STATE: Final = select(line.c.state).where(_PLACE)
_STAND: Final = insert_into(line)
_SET: Final = update(line).where(_PLACE).values(state=bindparam("to_state"))
_HAS_SLOT: Final = among(line.c.state, ["held", "woken"])
_COUNT_HELD: Final = select(func.count()).where(_IN_LINE, _HAS_SLOT)
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
_FIRST_QUEUED: Final = (
    select(line.c.emit_seq)
    .where(_IN_LINE, line.c.state == fixed("queued"), line.c.due_at <= bindparam("now"))
    .order_by(line.c.emit_seq)
    .limit(1)
)
_WAITING: Final = (
    select(line.c.run_id, line.c.step, line.c.emit_seq)
    .where(_IN_LINE, line.c.state == fixed("waiting"))
    .order_by(line.c.emit_seq)
    .limit(bindparam("limit"))
)
_COUNT_BEFORE: Final = select(func.count()).where(
    _IN_LINE,
    among(line.c.state, ["queued", "waiting"]),
    line.c.emit_seq < bindparam("of_emit_seq"),
    line.c.due_at <= bindparam("now"),
)
_WAIT: Final = (
    update(line).where(_PLACE).values(state=fixed("waiting"), due_at=bindparam("to_due_at"))
)
_STAND_ASIDE: Final = (
    update(line)
    .where(_PLACE, line.c.state != fixed("held"))
    .values(state=fixed("queued"), due_at=bindparam("to_due_at"))
)
_LEAVE: Final = delete(line).where(_PLACE)
_LEAVE_ALL: Final = delete(line).where(equals(line.c.run_id))
_FREE: Final = _LEAVE.where(_HAS_SLOT)
_FREE_ALL: Final = _LEAVE_ALL.where(_HAS_SLOT)


class SqlLimitStore(StorePart):
    """Concurrency limits."""

    @writes("take_slot", key=LINES)
    def take_slot(
        self,
        tx: Transaction,
        run_id: str,
        step: str | None,
        limit: int,
        now: Millis,
        *,
        lookahead: int = 0,
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
        was_woken = state == "woken"
        held_slots = tx.rows(_COUNT_HELD, _line_of(run))[0][0] - was_woken
        if held_slots >= limit or not (was_woken or _is_first(tx, run, now)):
            if state != "waiting":
                tx.write(_WAIT, {**place, "to_due_at": run.due_at})
            return False
        tx.write(_SET, {**place, "to_state": "held"})
        _hand_over(tx, run, limit - held_slots - 1, now, asking=run_id)
        if lookahead and step is None:
            releases.deliver_ahead(tx, run, lookahead, now)
        return True

    @writes("admit", key=LINES)
    def admit(
        self, tx: Transaction, run_id: str, limit: int, now: Millis, *, lookahead: int
    ) -> bool:
        """Whether a run may be delivered; else its delivery is due at its wake."""
        run = read_run(tx, run_id)
        if run.limit_key is None:
            return True
        tx.lock(_name(run))
        rows = tx.rows(_STATE, {"of_run_id": run_id, "of_step": ""})
        if not rows or rows[0][0] in {"held", "woken"}:
            return True
        held_slots = tx.rows(_COUNT_HELD, _line_of(run))[0][0]
        place = {**_line_of(run), "of_emit_seq": run.emit_seq, "now": now}
        if held_slots + tx.rows(_COUNT_BEFORE, place)[0][0] < limit + lookahead:
            return True
        tx.write(_WAIT, {"of_run_id": run_id, "of_step": "", "to_due_at": run.due_at})
        releases.await_wake(tx, run)
        return False

    @writes("give_back", key=LINES)
    def give_back(
        self, tx: Transaction, run_id: str, limit: int, now: Millis, until: Millis
    ) -> None:
        """Let others go past a run that cannot be delivered."""
        run = read_run(tx, run_id)
        if run.limit_key is None:
            return
        tx.lock(_name(run))
        aside = {"of_run_id": run_id, "of_step": "", "to_due_at": until}
        if tx.changed(_STAND_ASIDE, aside):
            held_slots = tx.rows(_COUNT_HELD, _line_of(run))[0][0]
            _hand_over(tx, run, limit - held_slots, now)


def free_slots(tx: Transaction, run: Run, steps: Sequence[str] | None, now: int) -> None:
    """Give up the places of these steps, or all of the run's, and hand their slots over."""
    if run.limit_key is None:
        return
    tx.lock(_name(run))
    freed = withdrawn = 0
    for step in steps if steps is not None else [None]:
        place = {"of_run_id": run.run_id} if step is None else _place(run, step)
        freed += tx.changed(_FREE_ALL if step is None else _FREE, place)
        withdrawn += tx.changed(_LEAVE_ALL if step is None else _LEAVE, place)
    _hand_over(tx, run, freed, now)
    if withdrawn:  # one that stood before others has gone: they may take what it was waiting for
        for run_id, *_ in _head(tx, run, withdrawn, now):
            wake(tx, run_id, now)


def _hand_over(tx: Transaction, run: Run, count: int, now: int, *, asking: str = "") -> None:
    """Hand so many slots over to the head of the line, and wake its runs.

    asking: a run that is asking now, for all of its places.
    """
    for run_id, step, _ in _head(tx, run, count, now):
        if run_id == asking:
            return
        tx.write(_SET, {"of_run_id": run_id, "of_step": step, "to_state": "woken"})
        wake(tx, run_id, now)


def _head(tx: Transaction, run: Run, count: int, now: int) -> Sequence[Row]:
    """Find up to so many waiting places of which none stands behind a run that has yet to ask."""
    waiting = tx.rows(_WAITING, {**_line_of(run), "limit": count}) if count > 0 else ()
    queued = tx.rows(_FIRST_QUEUED, {**_line_of(run), "now": now}) if waiting else ()
    return [row for row in waiting if not queued or row[2] <= queued[0][0]]


def _state(tx: Transaction, run: Run, step: str) -> str:
    rows = tx.rows(_STATE, {"of_run_id": run.run_id, "of_step": step})
    if rows:
        return str(rows[0][0])
    values = {"run_id": run.run_id, "step": step, "task": run.task, "limit_key": run.limit_key}
    tx.write(_STAND, {**values, "emit_seq": run.emit_seq, "due_at": run.due_at, "state": "queued"})
    return "queued"


def _is_first(tx: Transaction, run: Run, now: int) -> bool:
    """Whether no run that is due waits in line before this one."""
    return not tx.rows(_OVERTAKEN, {**_line_of(run), "of_emit_seq": run.emit_seq, "now": now})


def _place(run: Run, step: str) -> dict[str, object]:
    return {"of_run_id": run.run_id, "of_step": step}


def _line_of(run: Run) -> dict[str, object]:
    return {"of_task": run.task, "of_limit_key": run.limit_key}


def _name(run: Run) -> str:
    return f"slot:{run.task}:{run.limit_key}"

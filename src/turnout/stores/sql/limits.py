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
from turnout.stores.sql.expressions import among, equals, fixed, for_rows, insert_into
from turnout.stores.sql.journals import read_run, wake
from turnout.stores.sql.operations import StorePart, writes
from turnout.stores.sql.schema import line, runs
from turnout.stores.sql.statements import BatchStatement, Row, Transaction

LINES: Final = "lines"
"""The key of operations that lock a line: those of one process share a connection, not wait."""
_IN_LINE: Final = and_(equals(line.c.task), equals(line.c.limit_key))
_PLACE: Final = and_(equals(line.c.run_id), equals(line.c.step))
_YET_TO_ASK: Final = line.alias()
_STATE: Final = select(line.c.state).where(_PLACE)
_STAND: Final = insert_into(line)
_SET: Final = update(line).where(_PLACE).values(state=bindparam("to_state"))
_WITH_SLOT: Final = ("held", "woken")
_HAS_SLOT: Final = among(line.c.state, _WITH_SLOT)
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
    select(_YET_TO_ASK.c.emit_seq)
    .where(
        equals(_YET_TO_ASK.c.task),
        equals(_YET_TO_ASK.c.limit_key),
        _YET_TO_ASK.c.state == fixed("queued"),
        _YET_TO_ASK.c.due_at <= bindparam("now"),
    )
    .order_by(_YET_TO_ASK.c.emit_seq)
    .limit(1)
)
_WAITING: Final = (
    select(line.c.run_id, line.c.step)
    .where(
        _IN_LINE,
        line.c.state == fixed("waiting"),
        line.c.emit_seq <= func.coalesce(_FIRST_QUEUED.scalar_subquery(), line.c.emit_seq),
    )
    .order_by(line.c.emit_seq)
    .limit(bindparam("limit"))
)
_ASKING: Final = select(
    runs.c.ended_at,
    _STATE.scalar_subquery(),
    _COUNT_HELD.scalar_subquery(),
    _OVERTAKEN.scalar_subquery(),
).where(equals(runs.c.run_id))
"""A run that asks for a slot: its end, its place, how many are taken, and one before it, if any."""
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


def _leave(*names: str) -> BatchStatement:
    """Make the statement by which places of one run leave the line; it returns their states."""
    return for_rows(
        line,
        names,
        lambda rows: (
            delete(line)
            .where(*(line.c[name].in_(select(rows.c[name])) for name in names))
            .returning(line.c.state)
        ),
    )


_LEAVE: Final = _leave("run_id", "step")
_LEAVE_ALL: Final = _leave("run_id")


class SqlLimitStore(StorePart):
    """Concurrency limits."""

    @writes("take_slot", key=LINES, light=True)
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
        place = {"of_run_id": run_id, "of_step": step or ""}
        params = {**place, **_line_of(run), "of_emit_seq": run.emit_seq, "now": now}
        ((ended_at, state, slots, predecessor),) = tx.rows(_ASKING, params)
        if ended_at is not None or state == "held":
            return ended_at is None
        was_woken = state == "woken"
        held_slots = slots - was_woken
        if held_slots >= limit or not (was_woken or predecessor is None):
            if state is None:
                _stand(tx, run, step or "", "waiting")
            elif state != "waiting":
                tx.write(_WAIT, {**place, "to_due_at": run.due_at})
            return False
        if state is None:
            _stand(tx, run, step or "", "held")
        else:
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
        if not rows or rows[0][0] in _WITH_SLOT:
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
    if steps is None:
        places = tx.returning(_LEAVE_ALL, [(run.run_id,)])
    else:
        places = tx.returning(_LEAVE, [(run.run_id, step) for step in steps])
    freed = sum(state in _WITH_SLOT for (state,) in places)
    withdrawn = len(places) - freed
    _hand_over(tx, run, freed, now)
    if withdrawn:  # one that stood before others has gone: they may take what it was waiting for
        for run_id, _ in _head(tx, run, withdrawn, now):
            wake(tx, run_id, now)


def _hand_over(tx: Transaction, run: Run, count: int, now: int, *, asking: str = "") -> None:
    """Hand so many slots over to the head of the line, and wake its runs.

    asking: a run that is asking now, for all of its places.
    """
    for run_id, step in _head(tx, run, count, now):
        if run_id == asking:
            return
        tx.write(_SET, {"of_run_id": run_id, "of_step": step, "to_state": "woken"})
        wake(tx, run_id, now)


def _head(tx: Transaction, run: Run, count: int, now: int) -> Sequence[Row]:
    """Find up to so many waiting places of which none stands behind a run that has yet to ask."""
    if count <= 0:
        return ()
    return tx.rows(_WAITING, {**_line_of(run), "limit": count, "now": now})


def _stand(tx: Transaction, run: Run, step: str, state: str) -> None:
    values = {"run_id": run.run_id, "step": step, "task": run.task, "limit_key": run.limit_key}
    tx.write(_STAND, {**values, "emit_seq": run.emit_seq, "due_at": run.due_at, "state": state})


def _line_of(run: Run) -> dict[str, object]:
    return {"of_task": run.task, "of_limit_key": run.limit_key}


def _name(run: Run) -> str:
    return f"slot:{run.task}:{run.limit_key}"

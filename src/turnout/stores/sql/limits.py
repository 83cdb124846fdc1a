"""Limit slots: a waiting line for each (task, limit key), in order of emit.

A place in the line is `queued` (its run will ask by itself), `waiting` (its run asked, got no slot,
and must be woken), `woken` (its run is on its way to ask again) or `held` (its run has a slot). As
many of the head of the line are woken as there are free slots for which nobody is on the way: after
places are given up, and after a slot is taken. Slots are taken in order: a run that asks before an
earlier one waits again, and is woken as soon as that has its slot.
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
from turnout.stores.sql.statements import Transaction

LINES: Final = "lines"
"""The key of operations that lock a line: those of one process share a connection, not wait."""
_IN_LINE: Final = and_(equals(line.c.task), equals(line.c.limit_key))
_PLACE: Final = and_(equals(line.c.run_id), equals(line.c.step))
_STATE: Final = select(line.c.state).where(_PLACE)
_STAND: Final = insert_into(line)
_SET: Final = update(line).where(_PLACE).values(state=bindparam("to_state"))
_COUNT_HELD: Final = select(func.count()).where(_IN_LINE, line.c.state == fixed("held"))
_COUNT_WOKEN: Final = select(func.count()).where(_IN_LINE, line.c.state == fixed("woken"))
_OVERTAKEN: Final = (
    select(line.c.emit_seq)
    .where(
        _IN_LINE,
        among(line.c.state, ["queued", "waiting", "woken"]),
        line.c.emit_seq < bindparam("of_emit_seq"),
        line.c.due_at <= bindparam("now"),
    )
    .limit(1)
)
_FIRST: Final = (
    select(line.c.emit_seq)
    .where(_IN_LINE, equals(line.c.state), line.c.due_at <= bindparam("now"))
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
    among(line.c.state, ["queued", "waiting", "woken"]),
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
        ahead: int = 0,
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
        if held_slots >= limit or _overtakes(tx, run, now):
            if state != "waiting":
                tx.write(_WAIT, {**place, "to_due_at": run.due_at})
            return False
        tx.write(_SET, {**place, "to_state": "held"})
        if held_slots + 1 < limit:
            room = limit - held_slots - 1 - tx.rows(_COUNT_WOKEN, _line_of(run))[0][0]
            _wake_head(tx, run, room, now, before=("queued", "woken"), asking=run_id)
        if ahead and step is None:
            releases.deliver_ahead(tx, run, ahead, now)
        return True

    @writes("admit", key=LINES)
    def admit(self, tx: Transaction, run_id: str, limit: int, now: Millis, *, ahead: int) -> bool:
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
        if held_slots + tx.rows(_COUNT_BEFORE, place)[0][0] < limit + ahead:
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
            counts = (tx.rows(count, _line_of(run))[0][0] for count in (_COUNT_HELD, _COUNT_WOKEN))
            _wake_head(tx, run, limit - sum(counts), now, before=("queued",))


def free_slots(tx: Transaction, run: Run, steps: Sequence[str] | None, now: int) -> None:
    """Give up the places of these steps, or all of the run's, and wake as many of the line."""
    if run.limit_key is None:
        return
    tx.lock(_name(run))
    if steps is None:
        freed = tx.changed(_LEAVE_ALL, {"of_run_id": run.run_id})
    else:
        places = [{"of_run_id": run.run_id, "of_step": step} for step in steps]
        freed = sum(tx.changed(_LEAVE, place) for place in places)
    _wake_head(tx, run, freed, now, before=("queued",))


def _wake_head(
    tx: Transaction, run: Run, count: int, now: int, *, before: Sequence[str], asking: str = ""
) -> None:
    """Wake up to so many of those that wait.

    before: the states of places that none who waits behind them is woken past.
    asking: a run that is asking now, for all of its places.
    """
    waiting = tx.rows(_WAITING, {**_line_of(run), "limit": count}) if count > 0 else ()
    if not waiting:
        return
    first = min((at for state in before if (at := _first(tx, run, state, now))), default=None)
    for run_id, step, emit_seq in waiting:
        if run_id == asking or (first is not None and first < emit_seq):
            return
        tx.write(_SET, {"of_run_id": run_id, "of_step": step, "to_state": "woken"})
        wake(tx, run_id, now)


def _first(tx: Transaction, run: Run, state: str, now: int) -> int | None:
    """Find the first due place of a state in a run's line; it is never 0."""
    rows = tx.rows(_FIRST, {**_line_of(run), "of_state": state, "now": now})
    return int(rows[0][0]) if rows else None


def _state(tx: Transaction, run: Run, step: str) -> str:
    rows = tx.rows(_STATE, {"of_run_id": run.run_id, "of_step": step})
    if rows:
        return str(rows[0][0])
    values = {"run_id": run.run_id, "step": step, "task": run.task, "limit_key": run.limit_key}
    tx.write(_STAND, {**values, "emit_seq": run.emit_seq, "due_at": run.due_at, "state": "queued"})
    return "queued"


def _overtakes(tx: Transaction, run: Run, now: int) -> bool:
    """Whether a run that is due stands in line before this one."""
    return bool(tx.rows(_OVERTAKEN, {**_line_of(run), "of_emit_seq": run.emit_seq, "now": now}))


def _line_of(run: Run) -> dict[str, object]:
    return {"of_task": run.task, "of_limit_key": run.limit_key}


def _name(run: Run) -> str:
    return f"slot:{run.task}:{run.limit_key}"

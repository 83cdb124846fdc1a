"""Limit slots: a waiting line for each (task, limit key), in order of emit.

A place in the line is `queued` (its run will ask by itself), `waiting` (its run asked, got no slot,
and must be woken), `woken` (it was handed a slot, and its run is on its way to ask again) or `held`
(its run has a slot). The commit that frees a slot hands it to the head of the line, and a run that
takes one hands on all that are free. So slots are given in order, and taken in any order.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from typing import Final, NamedTuple, TypeAlias

from sqlalchemy import and_, bindparam, case, delete, func, select, tuple_, update

from turnout.errors import UnknownRun, WrongUse
from turnout.model.runs import Run
from turnout.model.time import Millis
from turnout.stores.sql import releases
from turnout.stores.sql.expressions import among, equals, fixed, for_rows, insert_rows
from turnout.stores.sql.journals import read_run, wake_all
from turnout.stores.sql.operations import StorePart, writes
from turnout.stores.sql.schema import line, runs
from turnout.stores.sql.statements import BatchStatement, Transaction

LINES: Final = "lines"
"""The key of operations that lock a line: those of one process share a connection, not wait."""
LineKey: TypeAlias = tuple[str, str]
"""A line: the task's id and the limit key."""

_IN_LINE: Final = and_(equals(line.c.task), equals(line.c.limit_key))
_PLACE: Final = and_(equals(line.c.run_id), equals(line.c.step))
_YET_TO_ASK: Final = line.alias()
_STATE: Final = select(line.c.state).where(_PLACE)
_PUT: Final = insert_rows(line, or_replace=True)
_WITH_SLOT: Final = ("held", "woken")
_WITHOUT_SLOT: Final = ("queued", "waiting")
_COUNT_HELD: Final = select(func.count()).where(_IN_LINE, among(line.c.state, _WITH_SLOT))
_IS_BEFORE: Final = and_(
    _IN_LINE, among(line.c.state, _WITHOUT_SLOT), line.c.due_at <= bindparam("now")
)
_FIRST: Final = (
    select(line.c.emit_seq).where(_IS_BEFORE).order_by(line.c.emit_seq).limit(bindparam("limit"))
)
_COUNT_BEFORE: Final = select(func.count()).where(
    _IS_BEFORE, line.c.emit_seq < bindparam("of_emit_seq")
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
    select(line)
    .where(
        _IN_LINE,
        line.c.state == fixed("waiting"),
        line.c.emit_seq <= func.coalesce(_FIRST_QUEUED.scalar_subquery(), line.c.emit_seq),
    )
    .order_by(line.c.emit_seq)
    .limit(bindparam("limit"))
)
_LINES_OF: Final = for_rows(
    runs,
    ["run_id"],
    lambda asking: select(runs.c.run_id, runs.c.task, runs.c.limit_key).join(
        asking, runs.c.run_id == asking.c.run_id
    ),
)
_PLACES: Final = for_rows(
    line,
    ["run_id", "step"],
    lambda asking: (
        select(
            *(asking.c.run_id, asking.c.step),
            *(runs.c.task, runs.c.limit_key, runs.c.emit_seq, runs.c.due_at),
            case((runs.c.ended_at.is_not(None), fixed("ended")), else_=line.c.state),
        )
        .select_from(asking)
        .join(runs, runs.c.run_id == asking.c.run_id)
        .join(
            line,
            and_(line.c.run_id == asking.c.run_id, line.c.step == asking.c.step),
            isouter=True,
        )
    ),
)
_STAND_ASIDE: Final = (
    update(line)
    .where(_PLACE, line.c.state != fixed("held"))
    .values(state=fixed("queued"), due_at=bindparam("to_due_at"))
)


def _leave(*names: str) -> BatchStatement:
    """Make the statement by which places leave their lines; it returns their lines and states."""
    return for_rows(
        line,
        names,
        lambda rows: (
            delete(line)
            .where(tuple_(*(line.c[n] for n in names)).in_(select(*(rows.c[n] for n in names))))
            .returning(line.c.task, line.c.limit_key, line.c.state)
        ),
    )


_LEAVE: Final = _leave("run_id", "step")
_LEAVE_ALL: Final = _leave("run_id")


class Asking(NamedTuple):
    """A run that asks for a slot; step empty: its own."""

    run_id: str
    step: str
    limit: int
    now: Millis
    lookahead: int


class Place(NamedTuple):
    """A place in a line, in the order of the table's columns."""

    run_id: str
    step: str
    task: str
    limit_key: str
    emit_seq: int
    due_at: Millis
    state: str | None
    """None: not in the table yet; `ended`: nor will it be, for the run has ended."""

    @property
    def line(self) -> LineKey:
        """The line that it is in."""
        return self.task, self.limit_key


class SqlLimitStore(StorePart):
    """Concurrency limits."""

    async def take_slot(
        self, run_id: str, step: str | None, limit: int, now: Millis, *, lookahead: int = 0
    ) -> bool:
        """Take a slot, or a place in the line for one, in the same statements as others."""
        asking = Asking(run_id, step or "", limit, now, lookahead)
        return await self.committer.write_one("take_slot", take_slots, asking, LINES, light=True)

    @writes("admit", key=LINES)
    def admit(
        self, tx: Transaction, run_id: str, limit: int, now: Millis, *, lookahead: int
    ) -> bool:
        """Whether a run may be delivered; else its delivery is due at its wake."""
        run = read_run(tx, run_id)
        if run.limit_key is None:
            return True
        key = (run.task, run.limit_key)
        _lock(tx, [key])
        rows = tx.rows(_STATE, {"of_run_id": run_id, "of_step": ""})
        if not rows or rows[0][0] in _WITH_SLOT:
            return True
        held_slots = tx.rows(_COUNT_HELD, _of(key))[0][0]
        before = {**_of(key), "of_emit_seq": run.emit_seq, "now": now}
        if held_slots + tx.rows(_COUNT_BEFORE, before)[0][0] < limit + lookahead:
            return True
        tx.write_rows(_PUT, [Place(run_id, "", *key, run.emit_seq, run.due_at, "waiting")])
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
        key = (run.task, run.limit_key)
        _lock(tx, [key])
        aside = {"of_run_id": run_id, "of_step": "", "to_due_at": until}
        if tx.changed(_STAND_ASIDE, aside):
            _hand_over(tx, key, limit - tx.rows(_COUNT_HELD, _of(key))[0][0], now)


def take_slots(tx: Transaction, askings: Sequence[Asking]) -> Sequence[bool]:
    """Take slots, or places in lines for them, in order of emit."""
    _lock(tx, _lines_of(tx, {asking.run_id for asking in askings}))
    rows = tx.returning(_PLACES, [asking[:2] for asking in askings])
    places = {row[:2]: Place(*row) for row in rows}
    by_line: dict[LineKey, list[Asking]] = defaultdict(list)
    for asking in sorted(askings, key=lambda asking: places[asking[:2]].emit_seq):
        by_line[places[asking[:2]].line].append(asking)
    for key, in_line in by_line.items():
        places |= _take_in_line(tx, key, in_line, places)
    return [places[asking[:2]].state == "held" for asking in askings]


def free_slots(
    tx: Transaction, leaving: Sequence[tuple[Run, Sequence[str] | None]], now: Millis
) -> None:
    """Give up the places of these steps, or all of a run's, and hand their slots over."""
    _lock(tx, {(run.task, run.limit_key) for run, _ in leaving if run.limit_key is not None})
    steps_ = [(run.run_id, step) for run, steps in leaving for step in steps or ()]
    places = (
        *tx.returning(_LEAVE_ALL, [(run.run_id,) for run, steps in leaving if steps is None]),
        *tx.returning(_LEAVE, steps_),
    )
    left = Counter((task, limit_key, state in _WITH_SLOT) for task, limit_key, state in places)
    for (*key, had_slot), count in left.items():
        if had_slot:
            _hand_over(tx, (key[0], key[1]), count, now)
        else:  # those that stood before others have gone: these may take what they waited for
            wake_all(tx, [place.run_id for place in _head(tx, (key[0], key[1]), count, now)], now)


class _Line:
    """A locked line, while runs ask for its slots in order of emit."""

    def __init__(self, taken: int, before: list[int]) -> None:
        """before: the order of emit of the first that have yet to get a slot."""
        self.taken = taken
        self._before = before

    def asked(self, place: Place, limit: int) -> Place:
        """Return the place as it is once its run has asked."""
        if place.state in ("ended", "held"):
            return place
        was_woken = place.state == "woken"
        self.taken -= was_woken
        first = min(self._before, default=place.emit_seq)
        if self.taken < limit and (was_woken or first >= place.emit_seq):
            self.taken += 1
            if place.state in _WITHOUT_SLOT and first == place.emit_seq:
                self._before.remove(first)
            return place._replace(state="held")
        self._before.append(place.emit_seq)
        return place._replace(state="waiting")


def _take_in_line(
    tx: Transaction,
    key: LineKey,
    askings: Sequence[Asking],
    places: Mapping[tuple[str, ...], Place],
) -> Mapping[tuple[str, ...], Place]:
    """Let runs ask in one line, and return the places that changed."""
    now, limit = max(asking.now for asking in askings), askings[-1].limit
    first = {**_of(key), "now": now, "limit": len(askings) + 1}
    before = [emit_seq for (emit_seq,) in tx.rows(_FIRST, first)]
    line_ = _Line(tx.rows(_COUNT_HELD, _of(key))[0][0], before)
    changed: dict[tuple[str, ...], Place] = {}
    ahead = 0
    for asking in askings:
        place = changed.get(asking[:2], places[asking[:2]])
        after = line_.asked(place, asking.limit)
        if after.state != place.state:
            changed[asking[:2]] = after
            ahead += asking.lookahead if after.state == "held" and not after.step else 0
    tx.write_rows(_PUT, list(changed.values()))
    served = {place.run_id for place in changed.values() if place.state == "held"}
    if served:
        _hand_over(tx, key, limit - line_.taken, now, asking=served)
        releases.deliver_ahead(tx, _of(key), ahead, now)
    return changed


def _hand_over(
    tx: Transaction, key: LineKey, count: int, now: Millis, *, asking: Collection[str] = ()
) -> None:
    """Hand so many slots over to the head of the line, and wake its runs.

    asking: runs that are asking now, for all of their places.
    """
    head = takewhile(lambda place: place.run_id not in asking, _head(tx, key, count, now))
    woken = [place._replace(state="woken") for place in head]
    tx.write_rows(_PUT, woken)
    wake_all(tx, [place.run_id for place in woken], now)


def _head(tx: Transaction, key: LineKey, count: int, now: Millis) -> Sequence[Place]:
    """Find up to so many waiting places of which none stands behind a run that has yet to ask."""
    if count <= 0:
        return ()
    return [Place(*row) for row in tx.rows(_WAITING, {**_of(key), "limit": count, "now": now})]


def _lines_of(tx: Transaction, run_ids: Collection[str]) -> Collection[LineKey]:
    """Read the lines of runs; a run that has none is refused by name."""
    rows = tx.returning(_LINES_OF, [(run_id,) for run_id in run_ids])
    tx.untouched = True  # so far it was only read
    for run_id, _, limit_key in rows:
        if limit_key is None:
            raise WrongUse(
                f"run {run_id!r} has no limit_key; give it one, null for a task-wide limit"
            )
    if unknown := {*run_ids} - {run_id for run_id, *_ in rows}:
        raise UnknownRun(f"no run {min(unknown)!r} is known")
    return {(task, limit_key) for _, task, limit_key in rows}


def _lock(tx: Transaction, keys: Collection[LineKey]) -> None:
    for task, limit_key in sorted(keys):
        tx.lock(f"slot:{task}:{limit_key}")


def _of(key: LineKey) -> dict[str, object]:
    task, limit_key = key
    return {"of_task": task, "of_limit_key": limit_key}

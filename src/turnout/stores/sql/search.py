"""Finding runs: a page under conditions, read along the index with the fewest candidates.

Planners do not know how conditions go together with an order and a limit. So the index is chosen
here, by counts that are cut short, and all other conditions are written so that no index serves
them.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, literal_column, select

from turnout.model.runs import Run, RunFilter
from turnout.model.status import RunStatus
from turnout.stores.sql.expressions import among, contains_bytes, fixed
from turnout.stores.sql.rows import RUN_COLUMNS, run_of
from turnout.stores.sql.schema import runs, tags
from turnout.stores.sql.statements import Params, Transaction

COUNTED: Final = (1_000, 50_000)
"""Up to how many candidates are counted at first, and where no index has fewer."""

_FAILED: Final = frozenset({RunStatus.FAILED, RunStatus.TIMED_OUT})
_UNSUCCESSFUL: Final = _FAILED | {RunStatus.CANCELLED}
_LIVE: Final = runs.c.ended_at.is_(None)
_WITHOUT_RESULT: Final = and_(runs.c.ended_at.is_not(None), runs.c.result.is_(None))
_COLUMNS: Final = {"task": runs.c.task, "user_id": runs.c.user_id, "provider": runs.c.provider}
_KINDS: Final = {
    "shadowed": runs.c.shadow.is_not(None),
    "held": and_(_LIVE, runs.c.error_name.is_not(None)),
}
_ERROR: Final = runs.c.error_name.concat(": ").concat(runs.c.error_message)
_TIMES: Final = frozenset({"since", "until"})

Names = frozenset[str]


def read_runs(tx: Transaction, run_filter: RunFilter) -> Sequence[Run]:
    """Read a page of runs, newest emit first; in order of emit where `after` is given."""
    params = _params(run_filter)
    states = run_filter.states
    if run_filter.error is not None:
        states = states & _FAILED if states else _FAILED
        if not states:
            return ()
    names = frozenset(params) | {name for name in _KINDS if getattr(run_filter, name)}
    path = _narrowest(tx, params, _paths(names, states))
    params["limit"] = run_filter.limit
    return [run_of(row) for row in tx.rows(_page(path, names, states), params)]


def _params(run_filter: RunFilter) -> dict[str, Any]:
    names = ("task", "user_id", "provider", "since", "until", "error", "before", "after")
    values = {name: getattr(run_filter, name) for name in names}
    values |= {f"tag_{place}": tag for place, tag in enumerate(run_filter.tags)}
    return {name: value for name, value in values.items() if value is not None}


def _paths(names: Names, states: frozenset[RunStatus]) -> tuple[str, ...]:
    """Name the indexes that could serve; those of states, where all of them are in one."""
    paths = sorted(name for name in names if name in {"task", "user_id"} or name[:4] == "tag_")
    if names & _TIMES:
        paths.append("times")
    if "held" in names or (states and not any(state.terminal for state in states)):
        paths.append("live")
    elif states and states <= _UNSUCCESSFUL:
        paths.append("without_result")
    return tuple(paths)


def _narrowest(tx: Transaction, params: Params, paths: tuple[str, ...]) -> str:
    """Choose the index with the fewest candidates; empty: the order of emit itself."""
    if not paths or paths == ("live",):
        return "".join(paths)
    names = frozenset(params)
    for most in COUNTED:
        (counts,) = tx.rows(_count(paths, names, most), params)
        count, path = min(zip(counts, paths, strict=True))
        if count < most:
            return path
    return path if path != "times" else ""


@cache
def _count(paths: tuple[str, ...], names: Names, most: int) -> Any:
    """Build the query that counts the candidates of each index, up to a limit."""
    few: Any = literal_column(str(most))
    return select(
        *(
            select(func.count())
            .select_from(
                select(fixed(1).label("one")).where(*_along(path, names)).limit(few).subquery(path)
            )
            .scalar_subquery()
            for path in paths
        )
    )


@cache
def _page(path: str, names: Names, states: frozenset[RunStatus]) -> Any:
    """Build the query for a page along one index."""
    place: ColumnElement[Any] = tags.c.emit_seq if path[:4] == "tag_" else runs.c.emit_seq
    conditions = [*_along(path, names), *_beside(path, names)]
    if place is not runs.c.emit_seq:
        conditions.append(place == runs.c.emit_seq)
        # Planners do not conclude the bounds of one side of a join from those of the other.
        conditions += _bounds(runs.c.emit_seq, names)
    if states:
        conditions.append(among(runs.c.state, sorted(state.value for state in states)))
    conditions += [condition for name, condition in _KINDS.items() if name in names]
    if "error" in names:
        conditions.append(contains_bytes(_ERROR, bindparam("error")) > fixed(0))
    conditions += _bounds(place, names)
    order = place.asc() if "after" in names else place.desc()
    return select(*RUN_COLUMNS).where(*conditions).order_by(order).limit(bindparam("limit"))


def _along(path: str, names: Names) -> list[ColumnElement[bool]]:
    """Write the condition that an index serves."""
    match path:
        case "":
            return []
        case "live":
            return [_LIVE]
        case "without_result":
            return [_WITHOUT_RESULT]
        case "times":
            return _emitted(runs.c.emitted_at, names)
        case "task" | "user_id":
            return [_COLUMNS[path] == bindparam(path)]
    return [tags.c.tag == bindparam(path)]


def _beside(path: str, names: Names) -> list[ColumnElement[bool]]:
    """Write the other conditions, out of any index's reach."""
    conditions: list[ColumnElement[bool]] = [
        func.coalesce(column, fixed("")) == bindparam(name)
        for name, column in _COLUMNS.items()
        if name in names and name != path
    ]
    if path != "times":
        conditions += _emitted(runs.c.emitted_at + fixed(0), names)
    for name in sorted(name for name in names if name[:4] == "tag_" and name != path):
        tagged = tags.alias(name)
        has_tag = exists().where(
            tagged.c.tag == bindparam(name), tagged.c.emit_seq == runs.c.emit_seq
        )
        conditions.append(has_tag)
    return conditions


def _bounds(place: ColumnElement[Any], names: Names) -> list[ColumnElement[bool]]:
    conditions = [place < bindparam("before")] if "before" in names else []
    return [*conditions, place > bindparam("after")] if "after" in names else conditions


def _emitted(at: ColumnElement[Any], names: Names) -> list[ColumnElement[bool]]:
    conditions = [at >= bindparam("since")] if "since" in names else []
    return [*conditions, at < bindparam("until")] if "until" in names else conditions

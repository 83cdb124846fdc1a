"""Runs, their steps and attempts: read whole, changed by compare-and-set on the run's seq."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import Update, bindparam, func, null, select, update

from turnout.errors import UnknownRun
from turnout.model.runs import Change, Journal, Run, Step, Transition
from turnout.model.status import RunStatus
from turnout.ports.run_store import RunFilter
from turnout.stores.sql.rows import (
    ATTEMPT_COLUMNS,
    RUN_COLUMNS,
    STEP_COLUMNS,
    attempt_of,
    attempt_values,
    changed_values,
    run_of,
    step_of,
    step_values,
    transition_of,
)
from turnout.stores.sql.schema import (
    among,
    attempts,
    fixed,
    given,
    insert_into,
    put_into,
    runs,
    steps,
    transitions,
)
from turnout.stores.sql.statements import Transaction

_ITS_RUN: Final = runs.c.run_id == given(runs.c.run_id)
_READ: Final = select(*RUN_COLUMNS).where(_ITS_RUN)
_READ_LOCKED: Final = _READ.with_for_update()
_STEPS: Final = (
    select(*STEP_COLUMNS)
    .where(steps.c.run_id == given(steps.c.run_id))
    .order_by(steps.c.position, steps.c.step)
)
_STEP: Final = select(*STEP_COLUMNS).where(
    steps.c.run_id == given(steps.c.run_id), steps.c.step == given(steps.c.step)
)
_ATTEMPTS: Final = (
    select(*ATTEMPT_COLUMNS)
    .where(attempts.c.run_id == given(attempts.c.run_id))
    .order_by(attempts.c.step, attempts.c.number)
)
_TRANSITIONS: Final = (
    select(transitions.c.state, transitions.c.at)
    .where(transitions.c.run_id == given(transitions.c.run_id))
    .order_by(transitions.c.seq, transitions.c.place)
)
_CHILDREN: Final = (
    select(*RUN_COLUMNS)
    .where(runs.c.parent_run_id == given(runs.c.parent_run_id))
    .order_by(runs.c.emit_seq)
)
_CONDITIONS: Final = {
    "of_task": runs.c.task == given(runs.c.task),
    "of_provider": runs.c.provider == given(runs.c.provider),
    "of_before": runs.c.emit_seq < bindparam("of_before"),
    "of_after": runs.c.emit_seq > bindparam("of_after"),
}
_PUT_STEP: Final = put_into(steps)
_PUT_ATTEMPT: Final = put_into(attempts)
_TRANSITION: Final = insert_into(transitions)
_RELEASE: Final = (
    update(attempts)
    .where(attempts.c.run_id == given(attempts.c.run_id), attempts.c.leased == fixed(1))
    .values(leased=fixed(0))
)
_WAKE: Final = (
    update(runs)
    .where(_ITS_RUN, runs.c.ended_at.is_(None))
    .values(
        seq=runs.c.seq + fixed(1),
        wake_at=bindparam("to_wake_at"),
        wake_sent=fixed(0),
        parked=fixed(0),
        parked_until=null(),
        parked_for=fixed(""),
        projection_at=func.coalesce(runs.c.projection_at, fixed(0)),
    )
)


def read_run(tx: Transaction, run_id: str, *, locked: bool = False) -> Run:
    """Read a run; locked: nobody else changes it until this transaction ends."""
    found = tx.rows(_READ_LOCKED if locked else _READ, {"of_run_id": run_id})
    if not found:
        raise UnknownRun(f"no run {run_id!r} is known")
    return run_of(found[0])


def read_journal(tx: Transaction, run: Run) -> Journal:
    """Read what belongs to a run."""
    if run.seq == 0:  # nothing was ever committed on it
        return Journal(run=run)
    of_run = {"of_run_id": run.run_id}
    tried: dict[str, list[Any]] = {}
    for row in tx.rows(_ATTEMPTS, of_run):
        tried.setdefault(row[0], []).append(attempt_of(row))
    return Journal(
        run=run,
        steps={row[0]: step_of(row) for row in tx.rows(_STEPS, of_run)},
        attempts={step: tuple(found) for step, found in tried.items()},
    )


def read_step(tx: Transaction, run_id: str, step: str) -> Step | None:
    """Read one step."""
    found = tx.rows(_STEP, {"of_run_id": run_id, "of_step": step})
    return step_of(found[0]) if found else None


def read_transitions(tx: Transaction, run_id: str) -> Sequence[Transition]:
    """Read a run's changes of state, in order."""
    found = tx.rows(_TRANSITIONS, {"of_run_id": run_id})
    if not found:
        read_run(tx, run_id)
    return [transition_of(row) for row in found]


def read_children(tx: Transaction, run_id: str) -> Sequence[Run]:
    """Read the runs that a run invoked, in order of emit."""
    return [run_of(row) for row in tx.rows(_CHILDREN, {"of_parent_run_id": run_id})]


def read_runs(tx: Transaction, wanted: RunFilter) -> Sequence[Run]:
    """Read a page of runs, newest emit first; in order of emit where `after` is given."""
    asked = {name: getattr(wanted, name) for name in ("task", "provider", "before", "after")}
    given_ = {f"of_{name}": value for name, value in asked.items() if value is not None}
    statement = _page(frozenset(given_), wanted.states, shadowed=wanted.shadowed)
    return [run_of(row) for row in tx.rows(statement, {**given_, "limit": wanted.limit})]


def write_change(tx: Transaction, change: Change) -> bool:
    """Write a change's own rows if the run's seq is still what was read; else nothing."""
    run_id, seq = change.before.run_id, change.before.seq
    changed = changed_values(change.before, change.after)
    params = {f"to_{name}": value for name, value in changed.items()}
    params |= {"to_wake_at": change.wake_at, "of_run_id": run_id, "of_seq": seq}
    if not tx.changed(_update(tuple(changed)), params):
        return False
    for step in change.steps:
        tx.write(_PUT_STEP, step_values(run_id, step))
    for attempt in change.attempts:
        tx.write(_PUT_ATTEMPT, attempt_values(change.after, attempt))
    for place, passed in enumerate(change.transitions):
        at = {"run_id": run_id, "seq": seq + 1, "place": place}
        tx.write(_TRANSITION, {**at, "state": passed.state.value, "at": passed.at})
    return True


def release_leases(tx: Transaction, run_id: str) -> None:
    """Stop watching the leases of a run that has ended."""
    tx.write(_RELEASE, {"of_run_id": run_id})


def wake(tx: Transaction, run_id: str, at: int) -> None:
    """Owe a run a wake. Its seq moves too: whoever is about to park it looks again first.

    It is no longer parked: if whoever it wakes dies before a commit, its silence is noticed.
    """
    tx.write(_WAKE, {"of_run_id": run_id, "to_wake_at": at})


@cache
def _update(changed: tuple[str, ...]) -> Update:
    """The compare-and-set that writes these columns; few sets of columns ever occur."""
    return (
        update(runs)
        .where(_ITS_RUN, runs.c.seq == given(runs.c.seq))
        .values(
            {name: bindparam(f"to_{name}", type_=runs.c[name].type) for name in changed}
            | {
                "seq": runs.c.seq + fixed(1),
                "wake_at": bindparam("to_wake_at", type_=runs.c.wake_at.type),
                "wake_sent": fixed(0),
                "projection_at": func.coalesce(runs.c.projection_at, fixed(0)),
            }
        )
    )


@cache
def _page(given_: frozenset[str], states: frozenset[RunStatus], *, shadowed: bool) -> Any:
    """The query for a page under these conditions."""
    conditions: list[Any] = [made for name, made in _CONDITIONS.items() if name in given_]
    if states:
        conditions.append(among(runs.c.state, sorted(state.value for state in states)))
        if not any(state.terminal for state in states):
            # Says what the states say, in the words of an index.
            conditions.append(runs.c.ended_at.is_(None))
    if shadowed:
        conditions.append(runs.c.shadow.is_not(None))
    order = runs.c.emit_seq.asc() if "of_after" in given_ else runs.c.emit_seq.desc()
    return select(*RUN_COLUMNS).where(*conditions).order_by(order).limit(bindparam("limit"))

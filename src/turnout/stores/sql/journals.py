"""Runs, their steps and attempts: read whole, changed by compare-and-set on the run's seq."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import CTE, Update, bindparam, func, null, select, update

from turnout.errors import UnknownRun
from turnout.model.runs import Change, Chunk, Journal, Run, Step, Transition
from turnout.model.status import RunStatus
from turnout.stores.sql.expressions import equals, fixed, for_rows, insert_rows
from turnout.stores.sql.rows import (
    ATTEMPT_COLUMNS,
    CHUNK_COLUMNS,
    RUN_COLUMNS,
    STEP_COLUMNS,
    attempt_of,
    attempt_row,
    changed_values,
    chunk_of,
    chunk_row,
    run_of,
    step_of,
    step_row,
    transition_of,
    transition_row,
)
from turnout.stores.sql.schema import attempts, chunks, runs, steps, transitions
from turnout.stores.sql.statements import BatchStatement, Row, Transaction

_RUN: Final = equals(runs.c.run_id)
_READ: Final = select(*RUN_COLUMNS).where(_RUN)
_READ_LOCKED: Final = _READ.with_for_update()
_STEPS: Final = (
    select(*STEP_COLUMNS).where(equals(steps.c.run_id)).order_by(steps.c.position, steps.c.step)
)
_STEP: Final = select(*STEP_COLUMNS).where(equals(steps.c.run_id), equals(steps.c.step))
_ATTEMPTS: Final = (
    select(*ATTEMPT_COLUMNS)
    .where(equals(attempts.c.run_id))
    .order_by(attempts.c.step, attempts.c.number)
)
_TRANSITIONS: Final = (
    select(transitions.c.state, transitions.c.at, transitions.c.cause, transitions.c.actor)
    .where(equals(transitions.c.run_id))
    .order_by(transitions.c.seq, transitions.c.place)
)
_CHUNKS: Final = (
    select(*CHUNK_COLUMNS)
    .where(equals(chunks.c.run_id), chunks.c.number >= bindparam("of_after"))
    .order_by(chunks.c.number)
    .limit(bindparam("limit"))
)
_CHILDREN: Final = (
    select(*RUN_COLUMNS).where(equals(runs.c.parent_run_id)).order_by(runs.c.emit_seq)
)
_PUT_STEP: Final = insert_rows(steps, or_replace=True)
_PUT_ATTEMPT: Final = insert_rows(attempts, or_replace=True)
_CHUNK: Final = insert_rows(chunks)
_TRANSITION: Final = insert_rows(transitions)
_RELEASE: Final = for_rows(
    attempts,
    ["run_id"],
    lambda ended: (
        update(attempts)
        .where(attempts.c.run_id == ended.c.run_id, attempts.c.leased == fixed(1))
        .values(leased=fixed(0))
    ),
)
_WAKE: Final = for_rows(
    runs,
    ["run_id", "wake_at"],
    lambda woken: (
        update(runs)
        .where(runs.c.run_id == woken.c.run_id, runs.c.ended_at.is_(None))
        .values(
            seq=runs.c.seq + fixed(1),
            wake_at=woken.c.wake_at,
            wake_sent=fixed(0),
            parked=fixed(0),
            parked_until=null(),
            parked_for=fixed(""),
            projection_at=func.coalesce(runs.c.projection_at, fixed(0)),
        )
    ),
)


def read_run(tx: Transaction, run_id: str, *, locked: bool = False) -> Run:
    """Read a run; locked: nobody else changes it until this transaction ends."""
    rows = tx.rows(_READ_LOCKED if locked else _READ, {"of_run_id": run_id})
    if not rows:
        raise UnknownRun(f"no run {run_id!r} is known")
    return run_of(rows[0])


def read_journal(tx: Transaction, run: Run) -> Journal:
    """Read a run's steps and attempts."""
    if run.state is RunStatus.QUEUED and run.retry_of is None:  # its function has not begun
        return Journal(run=run)
    of_run = {"of_run_id": run.run_id}
    attempts_: dict[str, list[Any]] = {}
    for row in tx.rows(_ATTEMPTS, of_run):
        attempts_.setdefault(row[0], []).append(attempt_of(row))
    return Journal(
        run=run,
        steps={row[0]: step_of(row) for row in tx.rows(_STEPS, of_run)},
        attempts={step: tuple(numbered) for step, numbered in attempts_.items()},
    )


def read_step(tx: Transaction, run_id: str, step: str) -> Step | None:
    """Read one step."""
    rows = tx.rows(_STEP, {"of_run_id": run_id, "of_step": step})
    return step_of(rows[0]) if rows else None


def read_transitions(tx: Transaction, run_id: str) -> Sequence[Transition]:
    """Read a run's changes of state, in order."""
    rows = tx.rows(_TRANSITIONS, {"of_run_id": run_id})
    if not rows:
        read_run(tx, run_id)
    return [transition_of(row) for row in rows]


def read_streamed(
    tx: Transaction, run_id: str, after: int, limit: int, *, beyond_passed: bool
) -> tuple[Run, Sequence[Chunk]]:
    """Read a run, and its chunks from a number on."""
    run = read_run(tx, run_id)
    first = after + (run.passed if beyond_passed else 0)
    if run.chunks <= first:
        return run, ()
    page = {"of_run_id": run_id, "of_after": first, "limit": limit}
    return run, [chunk_of(row) for row in tx.rows(_CHUNKS, page)]


def read_children(tx: Transaction, run_id: str) -> Sequence[Run]:
    """Read the runs that a run invoked, in order of emit."""
    return [run_of(row) for row in tx.rows(_CHILDREN, {"of_parent_run_id": run_id})]


def write_changes(tx: Transaction, changes: Sequence[Change]) -> Sequence[bool]:
    """Write the rows of those changes whose run's seq is still what was read.

    At most one change of each run. Returns for each change whether it was written.
    """
    moved = _moved(tx, changes)
    applied = [change.before.run_id in moved for change in changes]
    written = [change for change, moved_ in zip(changes, applied, strict=True) if moved_]
    tx.write_rows(
        _PUT_STEP,
        [step_row(change.before.run_id, step) for change in written for step in change.steps],
    )
    tx.write_rows(
        _PUT_ATTEMPT,
        [attempt_row(change.after, attempt) for change in written for attempt in change.attempts],
    )
    tx.write_rows(
        _TRANSITION,
        [
            transition_row(change.before.run_id, change.before.seq + 1, place, passed)
            for change in written
            for place, passed in enumerate(change.transitions)
        ],
    )
    tx.write_rows(
        _CHUNK,
        [chunk_row(change.before.run_id, chunk) for change in written for chunk in change.chunks],
    )
    return applied


def _moved(tx: Transaction, changes: Sequence[Change]) -> set[str]:
    """Compare and set the runs of these changes; the ids of those that were as they were read."""
    rows_by_columns: dict[tuple[str, ...], list[Row]] = {}
    for change in changes:
        before = change.before
        changed = changed_values(before, change.after)
        row = (before.run_id, before.seq, change.wake_at, *changed.values())
        rows_by_columns.setdefault(tuple(changed), []).append(row)
    return {
        run_id
        for columns, rows in rows_by_columns.items()
        for (run_id,) in tx.returning(_update(columns), rows)
    }


def release_leases(tx: Transaction, run_ids: Sequence[str]) -> None:
    """Release the leases of runs that have ended, so that none of them expires."""
    tx.write_rows(_RELEASE, [(run_id,) for run_id in run_ids])


def wake_all(tx: Transaction, run_ids: Iterable[str], at: int) -> None:
    """Owe runs a wake. Their seq moves, so a worker that is about to park one reads it again.

    None is parked any more: if the worker that is woken dies before a commit, the stall is noticed.
    """
    woken = [(run_id, at) for run_id in dict.fromkeys(run_ids)]
    tx.write_rows(_WAKE, woken)
    tx.made_due = tx.made_due or bool(woken)


@cache
def _update(changed: tuple[str, ...]) -> BatchStatement:
    """Build the compare-and-set that writes these columns; few sets of columns occur."""

    def build(input_: CTE) -> Update:
        return (
            update(runs)
            .where(runs.c.run_id == input_.c.run_id, runs.c.seq == input_.c.seq)
            .values(
                {name: input_.c[name] for name in (*changed, "wake_at")}
                | {
                    "seq": runs.c.seq + fixed(1),
                    "wake_sent": fixed(0),
                    "projection_at": func.coalesce(runs.c.projection_at, fixed(0)),
                }
            )
            .returning(runs.c.run_id)
        )

    return for_rows(runs, ("run_id", "seq", "wake_at", *changed), build)

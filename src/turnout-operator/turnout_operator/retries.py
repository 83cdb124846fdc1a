"""Retries of runs that have ended: a new run goes on from the committed steps, or begins again."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import select

from turnout import Turnout
from turnout.errors import WrongUse
from turnout.model.admission import new_run
from turnout.model.canonical import canonical_bytes, parse
from turnout.model.events import StoredEvent
from turnout.model.ids import new_run_id
from turnout.model.routing import choose
from turnout.model.runs import Attempt, Change, Emission, Journal, NewRun, Step
from turnout.model.status import RunOrigin, RunStatus, StepState
from turnout.model.time import Millis
from turnout.ports.run_store import RunStore
from turnout.stores.sql.commits import apply, emit
from turnout.stores.sql.expressions import equals
from turnout.stores.sql.journals import read_run
from turnout.stores.sql.operations import committer_of
from turnout.stores.sql.schema import runs
from turnout.stores.sql.statements import Transaction

EVENT: Final = "turnout/retry"
"""The name of the event that starts a retry; its payload says who asked for it."""

_RETRIES: Final = (
    select(runs.c.run_id, runs.c.ended_at)
    .where(runs.c.retry_of.is_not(None), equals(runs.c.retry_of))
    .order_by(runs.c.emit_seq)
)


async def retry(live: Turnout, run_id: str, *, from_start: bool, by: str) -> tuple[str, int]:
    """Start a new run for one that failed, was cancelled or timed out; the old one stays as it is.

    Its journal begins with copies of the completed steps, committed together with the run; what had
    failed or was open is done again. from_start: it begins empty. Its task's policies and routes
    are today's. Gives its id, and how many steps were copied. WrongUse: the run has not ended, has
    completed, or has a retry that goes on.
    """
    journal, now = await live.store.journals.load(run_id), live.clock.now()
    if not journal.run.state.terminal or journal.run.state is RunStatus.COMPLETED:
        raise WrongUse(f"run {run_id!r} is {journal.run.state.value}; nothing is to be retried")
    new = await _new_run(live, journal, now)
    steps = () if from_start else _completed(journal)
    attempts = tuple(_copies(journal, steps))
    start = StoredEvent(
        event_id=new_run_id(now),
        name=EVENT,
        payload=canonical_bytes({"by": by, "retry_of": run_id}),
        emitted_at=now,
        caused_by=run_id,
        labels=journal.run.labels,
    )

    def work(tx: Transaction) -> None:
        """Start the run with its copies, while nobody else retries the old one."""
        read_run(tx, run_id, locked=True)
        for other, ended_at in tx.rows(_RETRIES, {"of_retry_of": run_id}):
            if ended_at is None:
                raise WrongUse(f"run {run_id!r} is retried already, by the run {other}")
        emit(tx, [Emission(event=start, runs=(new,))])
        before = read_run(tx, new.run.run_id)
        if steps and not apply(
            tx, Change(before=before, after=before, steps=steps, attempts=attempts)
        ):
            raise WrongUse(f"the run {before.run_id!r} has begun")

    await committer_of(live.store).write("retry", work, run_id)
    return new.run.run_id, len(steps)


async def retries_of(store: RunStore, run_id: str) -> list[str]:
    """List the ids of the runs that retry a run, in order."""

    def work(tx: Transaction) -> list[str]:
        """Read them."""
        return [retry_id for retry_id, _ in tx.rows(_RETRIES, {"of_retry_of": run_id})]

    return await committer_of(store).read("retries", work)


async def _new_run(live: Turnout, journal: Journal, now: Millis) -> NewRun:
    old = journal.run
    task, payload, run_id = live.app.task(old.task), parse(old.payload), new_run_id(now)
    task.read_payload(payload)
    sticky = task.sticky_part(payload)
    choice = choose(
        live.selection,
        await live.store.routes.read(),
        task=task.id,
        sticky=run_id if sticky is None else sticky,
    )
    new = new_run(
        live.app,
        task,
        StoredEvent(
            event_id=old.event_id,
            name=old.event,
            payload=old.payload,
            emitted_at=now,
            labels=old.labels,
        ),
        run_id=run_id,
        provider=choice.provider,
        payload=payload,
        origin=RunOrigin.RETRY,
        retries=old.retries,
    )
    return replace(new, run=new.run._replace(retry_of=old.run_id))


def _completed(journal: Journal) -> tuple[Step, ...]:
    return tuple(step for step in journal.steps.values() if step.state is StepState.COMPLETED)


def _copies(journal: Journal, steps: Sequence[Step]) -> Sequence[Attempt]:
    """Copy the attempts of these steps; the new run's fence begins at 0."""
    return [
        attempt._replace(fence=0)
        for step in steps
        for attempt in journal.attempts.get(step.step, ())
    ]

"""How an event becomes a run: what is fixed at emit, before any provider knows of it."""

from turnout.model.canonical import canonical_bytes, parse
from turnout.model.events import StoredEvent
from turnout.model.policies import CancelOn, Concurrency, Retries, at_path
from turnout.model.runs import NewRun, Run, Wait
from turnout.model.status import RunOrigin
from turnout.model.tasks import App, Task
from turnout.model.time import Millis, millis


def new_run(
    app: App,
    task: Task,
    event: StoredEvent,
    *,
    run_id: str,
    provider: str,
    shadow: str | None = None,
    payload: object = ...,
    due_at: Millis | None = None,
    key: str | None = None,
    parent: tuple[str, str] | None = None,
    origin: RunOrigin = RunOrigin.EVENT,
    retries: Retries | None = None,
) -> NewRun:
    """Make the run that an event starts of a task: queued, with its deadlines, limit and waits.

    payload: the event's payload, if the caller has parsed it; else it is parsed here.
    due_at: a delayed start. key: the caller's own, unique per task.
    parent: the run and the step that invoke this one. retries: in place of the task's policy.
    """
    parsed = parse(event.payload) if payload is ... else payload
    policies = task.policies
    start = event.emitted_at if due_at is None else max(due_at, event.emitted_at)
    queue = policies.timeouts.queue
    slotted = policies.concurrency is not None and policies.concurrency.counts == "runs"
    run = Run(
        run_id=run_id,
        task=task.id,
        provider=provider,
        payload=event.payload,
        event=event.name,
        event_id=event.event_id,
        emitted_at=event.emitted_at,
        due_at=start,
        definition=app.definition,
        code_version=task.code_version,
        key=key,
        shadow=shadow,
        limit_key=limit_key(policies.concurrency, parsed),
        deadline_at=None if queue is None else start + millis(queue),
        parent_run_id=parent[0] if parent else None,
        parent_step=parent[1] if parent else None,
        labels=event.labels,
        origin=origin,
        retries=retries,
    )
    cancel_on = tuple(cancel_wait(run_id, condition, parsed) for condition in policies.cancel_on)
    return NewRun(run=run, cancel_on=cancel_on, slotted=slotted)


def limit_key(concurrency: Concurrency | None, payload: object) -> str | None:
    """The value that a run's concurrency is counted by, as canonical JSON; None without a limit.

    A payload without the key counts with the others that lack it, as `null`.
    """
    if concurrency is None:
        return None
    if concurrency.key is None:
        return "null"
    return canonical_bytes(at_path(concurrency.key, payload)).decode()


def run_limit(app: App, task: str) -> int | None:
    """How many runs of a task may run at once; None without a limit that counts runs."""
    limit = next((entry.policies.concurrency for entry in app.tasks if entry.id == task), None)
    return limit.limit if limit is not None and limit.counts == "runs" else None


def cancel_wait(run_id: str, cancel_on: CancelOn, payload: object) -> Wait:
    """The wait that cancels a run when the event comes whose value equals the run's own."""
    return Wait(
        run_id=run_id,
        step=None,
        event=cancel_on.event,
        match=own_match(cancel_on.match, payload),
    )


def own_match(path: str | None, payload: object) -> tuple[tuple[str, bytes], ...]:
    """Match an event whose value at a path equals this payload's value there."""
    return () if path is None else ((path, canonical_bytes(at_path(path, payload))),)

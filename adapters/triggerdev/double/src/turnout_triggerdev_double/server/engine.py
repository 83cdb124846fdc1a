"""The states of a run: queued, handed out, started, retried, finished, cancelled.

Every transition makes a new snapshot; a worker that names an older one is refused. All functions
are plain: they change records in memory and the store writes them in groups.
"""

from typing import Any

import orjson

from turnout_triggerdev_double.server import waiting
from turnout_triggerdev_double.server.errors import StaleSnapshot
from turnout_triggerdev_double.server.ids import new_id
from turnout_triggerdev_double.server.metadata import take_flush
from turnout_triggerdev_double.server.records import RunRecord, WorkerVersion
from turnout_triggerdev_double.server.snapshots import enter
from turnout_triggerdev_double.server.statuses import (
    RELEASES_KEY,
    RETRIED_BY_SERVER,
    TERMINAL,
    status_of_error,
)
from turnout_triggerdev_double.server.superjson import JSON, decoded
from turnout_triggerdev_double.server.times import duration
from turnout_triggerdev_double.server.world import OfflineWorld

QUEUE_AGAIN_FROM = 30_000
"""A retry delay in milliseconds from which the run goes back through the queue."""
ENGINE_MAX_ATTEMPTS = 250
MAX_REQUEUES = 12
PENDING_STALL = 60_000
EXECUTING_STALL = 300_000
CANCEL_STALL = 60_000

_WITH_WORKER = frozenset({"EXECUTING", "EXECUTING_WITH_WAITPOINTS", "PENDING_CANCEL"})

CANCELLED_BY_USER = {"type": "STRING_ERROR", "raw": "Canceled by user"}


# Into the queue


def enqueue(world: OfflineWorld, run: RunRecord) -> None:
    """Queue the run now, or after its delay, at its tick, or when a version knows its task."""
    now = world.now()
    if run.delayed_until is not None and run.delayed_until > now:
        run.status = "DELAYED"
        enter(world, run, "DELAYED", "Run is delayed")
        ring(world, run.delayed_until, run, _delay_over)
        return
    if run.queued_at == 0:
        run.queued_at = run.created_at if run.delayed_until is None else run.delayed_until
        _start_ttl(world, run)
    run.status = "PENDING" if run.attempt == 0 else run.status
    enter(world, run, "QUEUED", "Run was QUEUED")
    if run.available_at > now:
        ring(world, run.available_at, run, _line_up)
    else:
        _line_up(world, run)


def _line_up(world: OfflineWorld, run: RunRecord) -> None:
    if run.execution_status != "QUEUED":
        return
    worker = world.current.get(run.env)
    if worker is not None and run.locked_version is None and not knows(worker, run):
        run.status = "PENDING_VERSION"
        enter(world, run, "RUN_CREATED", "No worker version knows the task or the queue")
        return
    score = max(run.queued_at, run.available_at) - run.priority * 1000
    world.lanes.add(world.lane_of(run), score, run.id, run.snapshot_id)
    world.notices.work_arrived(run.env)


def knows(worker: WorkerVersion, run: RunRecord) -> bool:
    """Whether the version has the run's task and queue."""
    declared = run.queue in worker.queues or run.queue == f"task/{run.task}"
    return run.task in worker.tasks and declared


def version_arrived(world: OfflineWorld, env: str) -> None:
    """A worker registered: queue the runs that waited for it, and hold back those it lacks."""
    for run in [r for r in world.runs.values() if r.env == env]:
        if run.status == "PENDING_VERSION":
            enqueue(world, run)
        elif run.status == "PENDING" and run.execution_status == "QUEUED":
            _line_up(world, run)
    world.lanes.unblock_all()
    world.notices.work_arrived(env)


def _delay_over(world: OfflineWorld, run: RunRecord) -> None:
    if run.status == "DELAYED" and (run.delayed_until or 0) <= world.now():
        enqueue(world, run)


def _start_ttl(world: OfflineWorld, run: RunRecord) -> None:
    length = duration(run.ttl) if run.ttl else None
    if length is None:
        return
    run.ttl_at = max(run.queued_at, run.available_at) + length
    ring(world, run.ttl_at, run, _expire)


def _expire(world: OfflineWorld, run: RunRecord) -> None:
    if run.status != "PENDING" or run.ttl_at is None or run.ttl_at > world.now():
        return
    run.expired_at = world.now()
    error = {"type": "STRING_ERROR", "raw": f"Run expired because the TTL ({run.ttl}) was reached"}
    finish(world, run, "EXPIRED", error=error)


def ring(world: OfflineWorld, due: int, run: RunRecord, callback: Any) -> None:
    """Call `callback(world, run)` at `due`; it decides whether that still applies to the run."""
    world.alarms.at(due, lambda: callback(world, run))


# To a worker and back


def dequeue(
    world: OfflineWorld, env: str, *, count: int, owner: str | None = None
) -> list[RunRecord]:
    """Hand out up to `count` runs: PENDING_EXECUTING, their version chosen, their slots held."""
    dequeued: list[RunRecord] = []
    unversioned: list[RunRecord] = []
    while len(dequeued) < count:
        run_id = world.lanes.take(env, lambda run, ticket: _still_queued(world, run, ticket))
        if run_id is None:
            break
        run = world.runs[run_id]
        worker = _version_for(world, run)
        if worker is None:
            unversioned.append(run)
            continue
        run.worker, run.version, run.owner = worker.id, worker.version, owner
        if run.attempt == 0:
            run.status = "DEQUEUED"
            run.started_at = run.started_at or world.now()
        enter(world, run, "PENDING_EXECUTING", "Run was dequeued for execution")
        _watch(world, run, PENDING_STALL)
        dequeued.append(run)
    for run in unversioned:
        world.lanes.release(run.id)
        world.lanes.add(world.lane_of(run), run.queued_at, run.id, run.snapshot_id)
    return dequeued


def _still_queued(world: OfflineWorld, run_id: str, ticket: str) -> bool:
    run = world.runs.get(run_id)
    return run is not None and run.snapshot_id == ticket and run.execution_status == "QUEUED"


def _version_for(world: OfflineWorld, run: RunRecord) -> WorkerVersion | None:
    """The version that the run is locked to, else the current one, if any was promoted."""
    if run.locked_version:
        for worker in world.workers.values():
            if worker.env == run.env and worker.version == run.locked_version:
                return worker
    return world.current.get(run.env)


def start_attempt(world: OfflineWorld, run: RunRecord, snapshot: str) -> None:
    """The worker begins the next attempt. Raises StaleSnapshot."""
    startable = run.execution_status in {"PENDING_EXECUTING", "EXECUTING"}
    if snapshot != run.snapshot_id or not startable:
        raise StaleSnapshot(run.id)
    run.attempt += 1
    run.status = "EXECUTING"
    run.resumed = []
    enter(world, run, "EXECUTING", f"Attempt {run.attempt} started")
    _watch(world, run, EXECUTING_STALL)


def heartbeat(world: OfflineWorld, run: RunRecord) -> None:
    """Note that the worker still has the run."""
    run.heartbeat_at = world.now()


def complete_attempt(
    world: OfflineWorld,
    run: RunRecord,
    snapshot: str,
    completion: dict[str, Any],
    *,
    requeue: bool = False,
) -> str:
    """End the attempt; returns the vendor's `attemptStatus`. Raises StaleSnapshot."""
    if snapshot != run.snapshot_id or run.execution_status not in _WITH_WORKER:
        raise StaleSnapshot(run.id)
    _take_flushed_metadata(world, run, completion)
    run.duration_ms += int((completion.get("usage") or {}).get("durationMs") or 0)
    if run.execution_status == "PENDING_CANCEL":
        finish(world, run, "CANCELED", error=run.error)
        return "RUN_FINISHED"
    if completion.get("ok"):
        run.output, run.output_type = completion.get("output"), completion.get("outputType")
        finish(world, run, "COMPLETED_SUCCESSFULLY")
        return "RUN_FINISHED"
    return _fail_attempt(world, run, completion, requeue=requeue)


def _fail_attempt(
    world: OfflineWorld, run: RunRecord, completion: dict[str, Any], *, requeue: bool
) -> str:
    error = completion.get("error") or {"type": "STRING_ERROR", "raw": "Unknown error"}
    delay, from_worker = _retry_delay(world, run, completion, error)
    if delay is None or not _may_retry(world, run) or run.requeues >= MAX_REQUEUES:
        finish(world, run, status_of_error(error), error=error)
        return "RUN_FINISHED"
    run.status = "RETRYING_AFTER_FAILURE"
    run.error = error
    if from_worker and delay < QUEUE_AGAIN_FROM and not requeue:
        enter(world, run, "EXECUTING", "Attempt failed with a short delay, starting a new attempt")
        return "RETRY_IMMEDIATELY"
    world.lanes.release(run.id)
    run.requeues += 1
    run.available_at = world.now() + delay
    enter(world, run, "QUEUED", "Attempt failed, the run was queued again")
    ring(world, run.available_at, run, _line_up)
    world.notices.work_arrived(run.env)
    return "RETRY_QUEUED"


def _retry_delay(
    world: OfflineWorld, run: RunRecord, completion: dict[str, Any], error: dict[str, Any]
) -> tuple[int | None, bool]:
    retry = completion.get("retry")
    if isinstance(retry, dict):
        return int(retry.get("delay") or 0), True
    if error.get("type") == "INTERNAL_ERROR" and error.get("code") in RETRIED_BY_SERVER:
        settings = task_settings(world, run).get("retry") or {}
        if settings:
            longest = int(settings.get("maxTimeoutInMs") or 60_000)
            shortest = int(settings.get("minTimeoutInMs") or 1000)
            factor = float(settings.get("factor") or 2)
            return int(min(longest, shortest * factor ** max(0, run.attempt - 1))), False
    return None, False


def _may_retry(world: OfflineWorld, run: RunRecord) -> bool:
    settings = task_settings(world, run).get("retry") or {}
    max_attempts = int(run.max_attempts or settings.get("maxAttempts") or 0)
    return run.attempt < min(max_attempts, ENGINE_MAX_ATTEMPTS)


def task_settings(world: OfflineWorld, run: RunRecord) -> dict[str, Any]:
    """The run's task as its worker declared it."""
    worker = world.workers.get(run.worker or "") or world.current.get(run.env)
    return worker.tasks.get(run.task, {}) if worker else {}


def _take_flushed_metadata(world: OfflineWorld, run: RunRecord, completion: dict[str, Any]) -> None:
    flushed = completion.get("flushedMetadata") or {}
    flush = decoded(flushed.get("data"), flushed.get("dataType"))
    if isinstance(flush, dict):
        take_flush(world, run, flush)


# To an end


def finish(
    world: OfflineWorld, run: RunRecord, status: str, *, error: dict[str, Any] | None = None
) -> None:
    """End the run: release its slots, its key if it failed, and the runs that wait for it."""
    run.status = status
    run.finished_at = world.now()
    run.error = error
    _end(world, run, "Run finished")


def _end(world: OfflineWorld, run: RunRecord, description: str) -> None:
    waiting.forget_blocks(world, run)
    enter(world, run, "FINISHED", description)
    if world.lanes.release(run.id):
        world.notices.work_arrived(run.env)
    if run.status in RELEASES_KEY:
        release_key(world, run)
    _tell_waiters(world, run)
    waiting.batch_moved(world, run.batch)


def release_key(world: OfflineWorld, run: RunRecord) -> None:
    """Let the run's idempotency key start another run."""
    place = (run.env, run.task, run.idempotency_key or "")
    if world.keys.get(place) == run.id:
        del world.keys[place]


def _tell_waiters(world: OfflineWorld, run: RunRecord) -> None:
    point = world.waitpoints.get(run.waitpoint or "")
    if point is None:
        return
    if run.status == "COMPLETED_SUCCESSFULLY":
        waiting.complete(world, point, run.output, run.output_type)
    else:
        error = orjson.dumps(run.error or CANCELLED_BY_USER).decode()
        waiting.complete(world, point, error, JSON, is_error=True)


def cancel(world: OfflineWorld, run: RunRecord, reason: dict[str, Any] | None = None) -> bool:
    """Cancel the run and its live children; False if it had ended.

    A queued run ends at once, without `finished_at` as on the real server. A run that a worker
    holds is CANCELED at once and ends when the worker says so, or after a minute.
    """
    if run.status in TERMINAL:
        return False
    run.error = dict(reason or CANCELLED_BY_USER)
    executing = run.execution_status in {"EXECUTING", "EXECUTING_WITH_WAITPOINTS"}
    run.status = "CANCELED"
    if executing:
        waiting.forget_blocks(world, run)
        enter(world, run, "PENDING_CANCEL", "Run was cancelled")
        world.notices.run_moved(run.env, run.id)
        _watch(world, run, CANCEL_STALL)
    else:
        _end(world, run, "Run was cancelled")
    for child in run.children:
        cancel(world, world.runs[child], reason)
    return True


def worker_gone(world: OfflineWorld, run: RunRecord) -> bool:
    """The worker that held the run died; False when no worker holds it.

    A started run is CANCELED, one only handed out returns to the queue.
    """
    match run.execution_status:
        case "PENDING_EXECUTING":
            _hand_back(world, run)
        case "EXECUTING" | "EXECUTING_WITH_WAITPOINTS" | "PENDING_CANCEL":
            finish(world, run, "CANCELED", error=dict(CANCELLED_BY_USER))
        case _:
            return False
    return True


def _hand_back(world: OfflineWorld, run: RunRecord) -> None:
    world.lanes.release(run.id)
    run.owner = None
    run.status = "PENDING" if run.attempt == 0 else run.status
    enter(world, run, "QUEUED", "Run was handed back")
    _line_up(world, run)


def _watch(world: OfflineWorld, run: RunRecord, length: int) -> None:
    run.heartbeat_at = world.now()
    snapshot_state = run.execution_status

    def look() -> None:
        if run.execution_status != snapshot_state:
            return
        if run.owner is not None and world.owners[run.owner] > 0:
            run.heartbeat_at = world.now()
        due = run.heartbeat_at + length
        if due > world.now():
            world.alarms.at(due, look)
        else:
            worker_gone(world, run)

    world.alarms.at(run.heartbeat_at + length, look)


def adopt(world: OfflineWorld, run: RunRecord) -> None:
    """Restore a loaded run's slots, its place in the queue and its alarms."""
    match run.execution_status:
        case "DELAYED":
            ring(world, run.delayed_until or 0, run, _delay_over)
        case "QUEUED":
            if run.ttl_at is not None:
                ring(world, run.ttl_at, run, _expire)
            ring(world, run.available_at, run, _line_up)
        case "PENDING_EXECUTING" | "EXECUTING" | "EXECUTING_WITH_WAITPOINTS" | "PENDING_CANCEL":
            world.lanes.hold(run.id, world.slot_keys(run))
            stall = {"PENDING_EXECUTING": PENDING_STALL, "PENDING_CANCEL": CANCEL_STALL}
            _watch(world, run, stall.get(run.execution_status, EXECUTING_STALL))


def new_run_waitpoint(world: OfflineWorld, run: RunRecord) -> str:
    """The waitpoint that completes with the run, made when someone first waits for it."""
    if run.waitpoint is None:
        point = waiting.new_waitpoint(world, run.env, "RUN")
        point.run = run.id
        run.waitpoint = point.id
        world.store.put(run)
        if run.status in TERMINAL:
            _tell_waiters(world, run)
    return run.waitpoint


def new_run_id(world: OfflineWorld) -> str:
    """A new run's id."""
    return new_id("run", world.now())

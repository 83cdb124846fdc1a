"""The dev-worker protocol: registration, dequeueing, attempts, snapshots, disconnecting."""

import asyncio
from typing import Any

from starlette.responses import Response

from turnout_triggerdev_double.server import engine
from turnout_triggerdev_double.server.answers import completed_waitpoint
from turnout_triggerdev_double.server.dev import presence
from turnout_triggerdev_double.server.errors import not_found, refused
from turnout_triggerdev_double.server.ids import bare
from turnout_triggerdev_double.server.records import RunRecord
from turnout_triggerdev_double.server.rest.projects import environment_of_path
from turnout_triggerdev_double.server.superjson import JSON, decoded
from turnout_triggerdev_double.server.times import iso
from turnout_triggerdev_double.server.wiring import ApiCall, answer
from turnout_triggerdev_double.server.workers import register
from turnout_triggerdev_double.server.world import OfflineWorld

DEFAULT_DEQUEUE = 10
MAX_DEQUEUE = 200
LONGEST_POLL = 25.0
CLI_PROCESSES = 25
"""How many runs the CLI may have at once, each in a process of its own."""
MACHINES = {
    "micro": (0.25, 0.25),
    "small-1x": (0.5, 0.5),
    "small-2x": (1, 1),
    "medium-1x": (1, 2),
    "medium-2x": (2, 4),
    "large-1x": (4, 8),
    "large-2x": (8, 16),
}


def config(call: ApiCall) -> Response:
    """`GET /engine/v1/dev/config`."""
    return answer(
        {
            "environmentId": bare(call.env.id),
            "dequeueIntervalWithRun": 50,
            "dequeueIntervalWithoutRun": 100,
            "maxConcurrentRuns": min(call.env.concurrency, CLI_PROCESSES),
            "engineUrl": call.origin,
        }
    )


def register_worker(call: ApiCall) -> Response:
    """`POST /api/v1/projects/{ref}/background-workers`."""
    env = environment_of_path(call)
    metadata = call.fields().get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("tasks"), list):
        raise refused(400, "Invalid request body")
    worker = register(call.world, env, metadata)
    return answer(
        {
            "id": worker.id,
            "version": worker.version,
            "contentHash": worker.content_hash,
            "environmentId": bare(env.id),
        }
    )


async def dequeue(call: ApiCall) -> Response:
    """`POST /engine/v1/dev/dequeue`.

    Beyond the vendor's protocol a worker may add `maxRuns`, `waitMs` (the answer waits for work)
    and `owner` (a name under which it also holds its presence).
    """
    body = call.fields()
    world, env = call.world, call.env
    count = min(_number(body, "maxRuns", DEFAULT_DEQUEUE), MAX_DEQUEUE)
    seconds = min(_number(body, "waitMs", 0) / 1000, LONGEST_POLL)
    owner = body.get("owner")
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while True:
        runs = []
        if any(worker.env == env.id for worker in world.workers.values()):
            runs = engine.dequeue(world, env.id, count=count, owner=owner)
        seconds_left = end - loop.time()
        if runs or seconds_left <= 0 or world.stopping.is_set():
            break
        await world.notices.work.wait(env.id, seconds_left)
    if runs and owner and not world.owners[owner]:
        # A poll may outlive its worker: the runs that it took are cancelled like the others.
        presence.expect(world, owner, presence.GRACE)
    return answer({"dequeuedMessages": [_message(world, run) for run in runs]})


def _number(body: dict[str, Any], name: str, default: int) -> int:
    value = body.get(name, default)
    if not isinstance(value, int) or value < 0:
        raise refused(400, f'Validation error: Expected number at "{name}"')
    return value


def _message(world: OfflineWorld, run: RunRecord) -> dict[str, Any]:
    env = world.environment(run.env)
    worker = world.workers[run.worker or ""]
    return {
        "version": "1",
        "snapshot": _snapshot(run),
        "dequeuedAt": iso(world.now()),
        "completedWaitpoints": [],
        "backgroundWorker": {
            "id": bare(worker.id),
            "friendlyId": worker.id,
            "version": worker.version,
        },
        "deployment": {},
        "run": {
            "id": bare(run.id),
            "friendlyId": run.id,
            "isTest": run.is_test,
            "isReplay": run.is_replay,
            "machine": _machine(run),
            "attemptNumber": run.attempt,
            "masterQueue": "main",
            "traceContext": {"traceparent": _traceparent(run)},
        },
        "environment": {"id": bare(env.id), "type": env.type},
        "organization": {"id": world.project.organization},
        "project": {"id": bare(world.project.id)},
    }


def _snapshot(run: RunRecord) -> dict[str, Any]:
    return {
        "id": bare(run.snapshot_id),
        "friendlyId": run.snapshot_id,
        "executionStatus": run.execution_status,
        "description": run.description,
        "createdAt": iso(run.snapshot_at),
    }


def _run_state(run: RunRecord) -> dict[str, Any]:
    return {
        "id": bare(run.id),
        "friendlyId": run.id,
        "status": run.status,
        "attemptNumber": run.attempt or None,
    }


def _machine(run: RunRecord) -> dict[str, Any]:
    cpu, memory = MACHINES.get(run.machine, MACHINES["small-1x"])
    return {"name": run.machine, "cpu": cpu, "memory": memory, "centsPerMs": 0}


def _traceparent(run: RunRecord) -> str:
    return f"00-{run.trace_id}-{run.span_id}-01"


def _held_run(call: ApiCall) -> RunRecord:
    run = call.world.runs.get(str(call.params["run"]))
    if run is None or run.env != call.env.id:
        raise not_found("Run not found")
    return run


def start(call: ApiCall) -> Response:
    """`POST /engine/v1/dev/runs/{run}/snapshots/{snapshot}/attempts/start`."""
    run = _held_run(call)
    engine.start_attempt(call.world, run, str(call.params["snapshot"]))
    return answer(
        {
            "run": _run_state(run),
            "snapshot": _snapshot(run),
            "execution": _execution(call, run),
            "envVars": _variables(call, run),
        }
    )


def _variables(call: ApiCall, run: RunRecord) -> dict[str, str]:
    view = {
        "TRIGGER_API_URL": call.origin,
        "TRIGGER_SECRET_KEY": call.env.key,
        "TRIGGER_OTEL_EXPORTER_OTLP_ENDPOINT": f"{call.origin}/otel",
    }
    view |= {v.name: v.value for (owner, _), v in call.world.variables.items() if owner == run.env}
    return view


def _execution(call: ApiCall, run: RunRecord) -> dict[str, Any]:
    world, env = call.world, call.env
    queue = world.queue(run.env, run.queue)
    task = engine.task_settings(world, run)
    view: dict[str, Any] = {
        "attempt": {"number": run.attempt, "startedAt": iso(world.now())},
        "run": _executed_run(world, run),
        "task": {
            "id": run.task,
            "filePath": task.get("filePath", ""),
            "exportName": task.get("exportName"),
        },
        "queue": {"id": queue.id, "name": queue.name},
        "environment": {"id": bare(env.id), "slug": env.slug, "type": env.type},
        "organization": {
            "id": world.project.organization,
            "slug": world.project.organization,
            "name": world.project.organization,
        },
        "project": {
            "id": bare(world.project.id),
            "ref": world.project.ref,
            "slug": world.project.name,
            "name": world.project.name,
        },
        "machine": _machine(run),
    }
    if run.batch is not None:
        view["batch"] = {"id": run.batch}
    if view["task"]["exportName"] is None:
        del view["task"]["exportName"]
    return view


def _executed_run(world: OfflineWorld, run: RunRecord) -> dict[str, Any]:
    settings = engine.task_settings(world, run).get("retry") or {}
    view: dict[str, Any] = {
        "id": run.id,
        "payload": run.payload or "{}",
        "payloadType": run.payload_type,
        "tags": run.tags,
        "isTest": run.is_test,
        "isReplay": run.is_replay,
        "createdAt": iso(run.created_at),
        "startedAt": iso(run.started_at or world.now()),
        "durationMs": run.duration_ms,
        "costInCents": 0,
        "baseCostInCents": 0,
        "traceContext": {"traceparent": _traceparent(run)},
        "priority": run.priority,
        "region": bare(run.env),
    }
    max_attempts = run.max_attempts or settings.get("maxAttempts")
    optional = {
        "maxAttempts": max_attempts,
        "version": run.version,
        "metadata": decoded(run.metadata, JSON) if run.metadata else None,
        "maxDuration": run.max_duration,
        "parentTaskRunId": run.parent,
        "rootTaskRunId": run.root,
        "idempotencyKey": run.user_key or run.idempotency_key,
        "idempotencyKeyScope": run.idempotency_scope,
    }
    return view | {name: value for name, value in optional.items() if value is not None}


def latest_snapshot(call: ApiCall) -> Response:
    """`GET /engine/v1/dev/runs/{run}/snapshots/latest`."""
    run = _held_run(call)
    execution: dict[str, Any] = {
        "version": "1",
        "snapshot": _snapshot(run),
        "run": _run_state(run),
        "completedWaitpoints": [
            completed_waitpoint(call.world, waitpoint) for waitpoint in run.resumed
        ],
    }
    if run.batch is not None:
        execution["batch"] = {"id": bare(run.batch), "friendlyId": run.batch}
    return answer({"execution": execution})


def heartbeat(call: ApiCall) -> Response:
    """`POST …/snapshots/{snapshot}/heartbeat`."""
    engine.heartbeat(call.world, _held_run(call))
    return answer({"ok": True})


def complete(call: ApiCall) -> Response:
    """`POST …/snapshots/{snapshot}/attempts/complete`."""
    run, body = _held_run(call), call.fields()
    completion = body.get("completion")
    if not isinstance(completion, dict):
        raise refused(400, "Invalid request body")
    status = engine.complete_attempt(
        call.world,
        run,
        str(call.params["snapshot"]),
        completion,
        requeue=bool(body.get("forceRequeue")),
    )
    result = {"attemptStatus": status, "snapshot": _snapshot(run), "run": _run_state(run)}
    return answer({"result": result})


def debug_log(_: ApiCall) -> Response:
    """`POST …/logs/debug`: read and dropped."""
    return Response(status_code=204)


def disconnect(call: ApiCall) -> Response:
    """`POST /engine/v1/dev/disconnect {runFriendlyIds}`: the worker died with these runs."""
    names = call.fields().get("runFriendlyIds")
    if not isinstance(names, list):
        raise refused(400, "Invalid request body")
    runs = [call.world.runs.get(str(name)) for name in names]
    held_runs = [run for run in runs if run is not None and run.env == call.env.id]
    return answer({"cancelled": sum(engine.worker_gone(call.world, run) for run in held_runs)})

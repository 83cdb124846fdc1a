"""Records as the API shows them."""

from typing import Any

from turnout_triggerdev_double.server.cron import described
from turnout_triggerdev_double.server.ids import bare
from turnout_triggerdev_double.server.packets import STORED, address
from turnout_triggerdev_double.server.records import (
    Batch,
    Deployment,
    RunRecord,
    Waitpoint,
    WorkerVersion,
)
from turnout_triggerdev_double.server.statuses import api_error, api_status, flags
from turnout_triggerdev_double.server.superjson import JSON, decoded
from turnout_triggerdev_double.server.times import iso
from turnout_triggerdev_double.server.world import OfflineWorld


def _common(run: RunRecord, version: str | None) -> dict[str, Any]:
    view: dict[str, Any] = {"id": run.id, "taskIdentifier": run.task}
    if run.idempotency_key:
        view["idempotencyKey"] = run.user_key or run.idempotency_key
    if run.version:
        view["version"] = run.version
    view |= {"status": api_status(run.status, version), "createdAt": iso(run.created_at)}
    for name, moment in (
        ("startedAt", run.started_at),
        ("updatedAt", run.updated_at),
        ("finishedAt", run.finished_at),
        ("delayedUntil", run.delayed_until),
        ("expiredAt", run.expired_at),
    ):
        if moment is not None:
            view[name] = iso(moment)
    if run.ttl is not None:
        view["ttl"] = run.ttl
    view |= {
        "costInCents": 0,
        "baseCostInCents": 0,
        "durationMs": run.duration_ms,
        "isTest": run.is_test,
        "depth": run.depth,
        "tags": run.tags,
        **flags(run.status),
    }
    return view


def _with_metadata(run: RunRecord, view: dict[str, Any]) -> dict[str, Any]:
    if run.metadata is not None:
        view["metadata"] = decoded(run.metadata, JSON)
    return view


def run_summary(run: RunRecord, version: str | None) -> dict[str, Any]:
    """A run as a relative of another run."""
    view = _common(run, version)
    view |= {"triggerFunction": run.trigger_function, "region": bare(run.env)}
    return view if run.batch is None else view | {"batchId": run.batch}


def run_answer(world: OfflineWorld, run: RunRecord, version: str | None) -> dict[str, Any]:
    """A run as `GET /api/v3/runs/{id}` shows it; `version` is the API version asked for."""
    view = _with_metadata(run, run_summary(run, version))
    view |= _content(world, run, "payload", run.payload, run.payload_type)
    view |= _content(world, run, "output", run.output, run.output_type)
    schedule = world.schedules.get(run.schedule or "")
    if schedule is not None:
        view["schedule"] = {
            "id": schedule.id,
            **({"externalId": schedule.external_id} if schedule.external_id else {}),
            **(
                {"deduplicationKey": schedule.deduplication_key}
                if schedule.deduplication_key
                else {}
            ),
            "generator": described(schedule.cron),
        }
    if run.error is not None and run.status not in {"RETRYING_AFTER_FAILURE", "EXECUTING"}:
        view["error"] = api_error(run.error)
    view |= {"attemptCount": run.attempt, "attempts": []}
    view["relatedRuns"] = _relatives(world, run, version)
    return view


def _content(
    world: OfflineWorld, run: RunRecord, name: str, text: str | None, kind: str | None
) -> dict[str, Any]:
    """A payload or an output; of a packet only where it is."""
    if text is None:
        return {}
    if kind == STORED:
        return {f"{name}PresignedUrl": address(world, world.environment(run.env), text)}
    return {name: decoded(text, kind)}


def _relatives(world: OfflineWorld, run: RunRecord, version: str | None) -> dict[str, Any]:
    view: dict[str, Any] = {}
    for name, relative_id in (("root", run.root), ("parent", run.parent)):
        if relative_id is not None:
            view[name] = run_summary(world.runs[relative_id], version)
    view["children"] = [run_summary(world.runs[c], version) for c in run.children]
    return view


def run_item(world: OfflineWorld, run: RunRecord, version: str | None) -> dict[str, Any]:
    """A run as the list shows it."""
    env = world.environment(run.env)
    view = _with_metadata(run, _common(run, version))
    return view | {
        "env": {"id": bare(env.id), "name": env.slug, "user": world.project.user},
        "taskKind": run.task_kind,
        "region": bare(env.id),
    }


def batch_answer(batch: Batch, *, processing: bool) -> dict[str, Any]:
    """A batch; a batch of version 3 also tells how the making of its runs went."""
    view: dict[str, Any] = {
        "id": batch.id,
        "status": batch.status,
        "createdAt": iso(batch.created_at),
        "updatedAt": iso(batch.updated_at),
        "runCount": batch.run_count,
        "runs": batch.runs,
    }
    if batch.idempotency_key:
        view["idempotencyKey"] = batch.idempotency_key
    done = {} if batch.processed_at is None else {"completedAt": iso(batch.processed_at)}
    if processing:
        view["processing"] = {**done, "errors": batch.errors}
    elif done:
        # Runs that could be made, whatever became of them.
        view |= {"successfulRunCount": len(batch.runs), "failedRunCount": len(batch.errors)}
        view |= {"errors": batch.errors} if batch.errors else {}
    return view


def token_answer(point: Waitpoint, url: str) -> dict[str, Any]:
    """A waitpoint token as its API shows it."""
    status = "WAITING"
    if point.status == "COMPLETED":
        status = "TIMED_OUT" if point.output_is_error else "COMPLETED"
    view: dict[str, Any] = {
        "id": point.id,
        "type": point.type,
        "url": url,
        "status": status,
        "idempotencyKey": point.idempotency_key,
        "userProvidedIdempotencyKey": point.user_key,
    }
    if point.idempotency_expires_at is not None:
        view["idempotencyKeyExpiresAt"] = iso(point.idempotency_expires_at)
    if point.output is not None:
        view |= {"output": point.output, "outputType": point.output_type}
    view["outputIsError"] = point.output_is_error
    if point.due is not None:
        view |= {"timeoutAt": iso(point.due), "completedAfter": iso(point.due)}
    if point.completed_at is not None:
        view["completedAt"] = iso(point.completed_at)
    return view | {"createdAt": iso(point.created_at), "tags": point.tags}


def completed_waitpoint(world: OfflineWorld, block: dict[str, Any]) -> dict[str, Any]:
    """A completed waitpoint, as the worker of the waiting run receives it."""
    point = world.waitpoints[block["waitpoint"]]
    view: dict[str, Any] = {
        "id": bare(point.id),
        "friendlyId": point.id,
        "type": point.type,
        "completedAt": iso(point.completed_at or world.now()),
        "outputIsError": point.output_is_error,
    }
    if point.user_key:
        view["idempotencyKey"] = point.idempotency_key
    if block.get("index") is not None:
        view["index"] = block["index"]
    if point.type == "DATETIME" and point.due is not None:
        view["completedAfter"] = iso(point.due)
    if point.run is not None:
        view["completedByTaskRun"] = {"id": bare(point.run), "friendlyId": point.run}
        if block.get("batch"):
            batch = block["batch"]
            view["completedByTaskRun"]["batch"] = {"id": bare(batch), "friendlyId": batch}
    if point.output is not None:
        view |= {"output": point.output, "outputType": point.output_type or JSON}
    return view


def deployment_listed(deployment: Deployment) -> dict[str, Any]:
    """A deployment as the list shows it."""
    at = deployment.deployed_at
    view = {
        "id": deployment.id,
        "createdAt": iso(deployment.created_at),
        "shortCode": bare(deployment.id)[-8:],
        "version": deployment.version,
        "runtime": deployment.runtime,
        "runtimeVersion": None,
        "status": deployment.status,
        "deployedAt": None if at is None else iso(at),
        "git": None,
    }
    return view if deployment.error is None else view | {"error": deployment.error}


def deployment_begun(deployment: Deployment) -> dict[str, Any]:
    """A new deployment, as the CLI needs it to build the image."""
    return {
        "id": deployment.id,
        "contentHash": deployment.content_hash,
        "shortCode": bare(deployment.id)[-8:],
        "version": deployment.version,
        "imageTag": deployment.image,
        "imagePlatform": "linux/amd64",
        "outcome": "created",
        "externalBuildData": None,
        "canceledDeployments": [],
    }


def deployment_shown(deployment: Deployment, worker: WorkerVersion | None) -> dict[str, Any]:
    """A deployment as its own path shows it, with its indexed tasks."""
    view: dict[str, Any] = {
        "id": deployment.id,
        "status": deployment.status,
        "contentHash": deployment.content_hash,
        "shortCode": bare(deployment.id)[-8:],
        "version": deployment.version,
        "imageReference": deployment.image or None,
        "imagePlatform": "linux/amd64",
        "commitSHA": None,
        "externalBuildData": None,
        "errorData": deployment.error,
        "canceledReason": None,
    }
    if worker is None:
        return view
    tasks = [
        {
            "id": f"task_{bare(worker.id)}_{number}",
            "slug": task["id"],
            "filePath": task.get("filePath", ""),
            "exportName": task.get("exportName") or "@deprecated",
        }
        for number, task in enumerate(worker.tasks.values())
    ]
    return view | {"worker": {"id": worker.id, "version": worker.version, "tasks": tasks}}

"""Records as the API shows them."""

from typing import Any

from turnout_triggerdev_double.server.cron import described
from turnout_triggerdev_double.server.ids import bare
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
    shown: dict[str, Any] = {"id": run.id, "taskIdentifier": run.task}
    if run.idempotency_key:
        shown["idempotencyKey"] = run.user_key or run.idempotency_key
    if run.version:
        shown["version"] = run.version
    shown |= {"status": api_status(run.status, version), "createdAt": iso(run.created_at)}
    for name, moment in (
        ("startedAt", run.started_at),
        ("updatedAt", run.updated_at),
        ("finishedAt", run.finished_at),
        ("delayedUntil", run.delayed_until),
        ("expiredAt", run.expired_at),
    ):
        if moment is not None:
            shown[name] = iso(moment)
    if run.ttl is not None:
        shown["ttl"] = run.ttl
    shown |= {
        "costInCents": 0,
        "baseCostInCents": 0,
        "durationMs": run.duration_ms,
        "isTest": run.is_test,
        "depth": run.depth,
        "tags": run.tags,
        **flags(run.status),
    }
    return shown


def _with_metadata(run: RunRecord, shown: dict[str, Any]) -> dict[str, Any]:
    if run.metadata is not None:
        shown["metadata"] = decoded(run.metadata, JSON)
    return shown


def run_summary(run: RunRecord, version: str | None) -> dict[str, Any]:
    """A run as a relative of another run."""
    shown = _common(run, version)
    shown |= {"triggerFunction": run.trigger_function, "region": bare(run.env)}
    return shown if run.batch is None else shown | {"batchId": run.batch}


def run_answer(world: OfflineWorld, run: RunRecord, version: str | None) -> dict[str, Any]:
    """A run as `GET /api/v3/runs/{id}` shows it; `version` is the API version asked for."""
    shown = _with_metadata(run, run_summary(run, version))
    if run.payload is not None:
        shown["payload"] = decoded(run.payload, run.payload_type)
    if run.output is not None:
        shown["output"] = decoded(run.output, run.output_type)
    schedule = world.schedules.get(run.schedule or "")
    if schedule is not None:
        shown["schedule"] = {
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
        shown["error"] = api_error(run.error)
    shown |= {"attemptCount": run.attempt, "attempts": []}
    shown["relatedRuns"] = _relatives(world, run, version)
    return shown


def _relatives(world: OfflineWorld, run: RunRecord, version: str | None) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, relative_id in (("root", run.root), ("parent", run.parent)):
        if relative_id is not None:
            shown[name] = run_summary(world.runs[relative_id], version)
    shown["children"] = [run_summary(world.runs[c], version) for c in run.children]
    return shown


def run_item(world: OfflineWorld, run: RunRecord, version: str | None) -> dict[str, Any]:
    """A run as the list shows it."""
    env = world.environment(run.env)
    shown = _with_metadata(run, _common(run, version))
    return shown | {
        "env": {"id": bare(env.id), "name": env.slug, "user": world.project.user},
        "taskKind": run.task_kind,
        "region": bare(env.id),
    }


def batch_answer(world: OfflineWorld, batch: Batch, *, processing: bool) -> dict[str, Any]:
    """A batch; a batch of version 3 also counts how its runs ended."""
    shown: dict[str, Any] = {
        "id": batch.id,
        "status": batch.status,
        "createdAt": iso(batch.created_at),
        "updatedAt": iso(batch.updated_at),
        "runCount": batch.run_count,
        "runs": batch.runs,
    }
    if batch.idempotency_key:
        shown["idempotencyKey"] = batch.idempotency_key
    if batch.generation == 3:  # noqa: PLR2004 the third kind of batches
        ended = [world.runs[run].status for run in batch.runs]
        shown["successfulRunCount"] = ended.count("COMPLETED_SUCCESSFULLY")
        shown["failedRunCount"] = sum(flags(status)["isFailed"] for status in ended)
    if processing:
        shown["processing"] = {"errors": batch.errors}
    return shown


def token_answer(point: Waitpoint, url: str) -> dict[str, Any]:
    """A waitpoint token as its API shows it."""
    status = "WAITING"
    if point.status == "COMPLETED":
        status = "TIMED_OUT" if point.output_is_error else "COMPLETED"
    shown: dict[str, Any] = {
        "id": point.id,
        "type": point.type,
        "url": url,
        "status": status,
        "idempotencyKey": point.idempotency_key,
        "userProvidedIdempotencyKey": point.user_key,
    }
    if point.idempotency_expires_at is not None:
        shown["idempotencyKeyExpiresAt"] = iso(point.idempotency_expires_at)
    if point.output is not None:
        shown |= {"output": point.output, "outputType": point.output_type}
    shown["outputIsError"] = point.output_is_error
    if point.due is not None:
        shown |= {"timeoutAt": iso(point.due), "completedAfter": iso(point.due)}
    if point.completed_at is not None:
        shown["completedAt"] = iso(point.completed_at)
    return shown | {"createdAt": iso(point.created_at), "tags": point.tags}


def completed_waitpoint(world: OfflineWorld, block: dict[str, Any]) -> dict[str, Any]:
    """A completed waitpoint, as the worker of the waiting run receives it."""
    point = world.waitpoints[block["waitpoint"]]
    shown: dict[str, Any] = {
        "id": bare(point.id),
        "friendlyId": point.id,
        "type": point.type,
        "completedAt": iso(point.completed_at or world.now()),
        "outputIsError": point.output_is_error,
    }
    if point.user_key:
        shown["idempotencyKey"] = point.idempotency_key
    if block.get("index") is not None:
        shown["index"] = block["index"]
    if point.type == "DATETIME" and point.due is not None:
        shown["completedAfter"] = iso(point.due)
    if point.run is not None:
        shown["completedByTaskRun"] = {"id": bare(point.run), "friendlyId": point.run}
        if block.get("batch"):
            batch = block["batch"]
            shown["completedByTaskRun"]["batch"] = {"id": bare(batch), "friendlyId": batch}
    if point.output is not None:
        shown |= {"output": point.output, "outputType": point.output_type or JSON}
    return shown


def deployment_listed(deployment: Deployment) -> dict[str, Any]:
    """A deployment as the list shows it."""
    at = deployment.deployed_at
    shown = {
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
    return shown if deployment.error is None else shown | {"error": deployment.error}


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
    shown: dict[str, Any] = {
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
        return shown
    tasks = [
        {
            "id": f"task_{bare(worker.id)}_{number}",
            "slug": task["id"],
            "filePath": task.get("filePath", ""),
            "exportName": task.get("exportName") or "@deprecated",
        }
        for number, task in enumerate(worker.tasks.values())
    ]
    return shown | {"worker": {"id": worker.id, "version": worker.version, "tasks": tasks}}

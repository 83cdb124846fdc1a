"""Runs and functions as the v1 and v2 APIs show them. Pure."""

from typing import Any

import orjson

from turnout_inngest_double import ids
from turnout_inngest_double.functions import Function, Limit
from turnout_inngest_double.state import App, Run

CANCELLED_LATE = 10_000
"""By so many milliseconds lists show the end of a cancelled run too late; it may lie ahead."""
V1_STATUS = {
    "QUEUED": "Scheduled",
    "RUNNING": "Running",
    "COMPLETED": "Completed",
    "FAILED": "Failed",
    "CANCELLED": "Cancelled",
}


def wrapped(output: bytes | None) -> Any:
    """A value as a v2 struct: objects as they are, everything else under `data`."""
    value = None if output is None else orjson.loads(output)
    return value if isinstance(value, dict) else {"data": value}


def run_v2(
    run: Run, function: Function, *, output: str | None = None, listed: bool = False
) -> dict[str, Any]:
    """The run; `output` is None to leave it out, `list` or `single` for the route's own shape.

    listed: whether a list shows it.
    """
    fields: dict[str, Any] = {
        "app": {"id": run.app},
        "function": {"id": function.id, "name": function.name},
        "id": run.id,
        "queuedAt": ids.iso(run.queued_at),
        "status": run.status,
        "trigger": _trigger(run),
    }
    if run.started_at is not None:
        fields["startedAt"] = ids.iso(run.started_at)
    if run.ended_at is not None:
        late = CANCELLED_LATE if listed and run.status == "CANCELLED" else 0
        fields["endedAt"] = ids.iso(run.ended_at + late)
        fields["durationMs"] = str(run.ended_at - (run.started_at or run.queued_at))
    if output and run.output is not None:
        value = wrapped(run.output)
        is_wrapped_error = run.status == "FAILED" and output == "list"
        fields["output"] = {"error": value} if is_wrapped_error else value
    return fields


def _trigger(run: Run) -> dict[str, Any]:
    trigger: dict[str, Any] = {"eventIds": run.events}
    if run.is_batch:
        trigger["isBatch"] = True
    if run.cron:
        trigger["cronSchedule"] = run.cron
    return trigger


def run_v1(run: Run, function: Function) -> dict[str, Any]:
    """The run as the v1 API shows it."""
    fields: dict[str, Any] = {
        "run_id": run.id,
        "run_started_at": ids.iso(run.queued_at),
        "function_id": function.uuid,
        "function_version": 0,
        "environment_id": ids.NIL_UUID,
        "event_id": run.events[0],
        "status": V1_STATUS[run.status],
        "ended_at": None if run.ended_at is None else ids.iso(run.ended_at),
    }
    if run.is_batch:
        fields["batch_id"] = run.events[0]
    if run.cron:
        fields["cron"] = run.cron
    if run.ended:
        fields["output"] = {} if run.output is None else orjson.loads(run.output)
    return fields


def jobs_v1(run: Run) -> list[dict[str, Any]]:
    """What the run waits for, with the moment."""
    jobs = [
        {
            "JobID": job.id,
            "at": ids.iso(job.at),
            "position": 0,
            "kind": "edge",
            "attempt": job.attempt,
            "Raw": job.doc(),
        }
        for job in run.jobs.values()
    ]
    kinds = {"sleep": "sleep", "event": "pause", "invoke": "pause", "gateway": "edge"}
    jobs += [
        {
            "JobID": wait.span,
            "at": ids.iso(wait.at),
            "position": 0,
            "kind": kinds[wait.kind],
            "attempt": 0,
            "Raw": {"step": wait.step, "at": wait.at},
        }
        for wait in run.waits.values()
    ]
    return jobs


def app_v2(app: App) -> dict[str, Any]:
    """The app as the v2 API shows it: what is empty is left out."""
    sdk = app.sdk.removeprefix("inngest-")
    language, _, version = sdk.partition(":")
    sync: dict[str, Any] = {
        "appVersion": app.version,
        "framework": app.framework,
        "sdkLanguage": language,
        "sdkVersion": version,
        "url": app.url,
        "error": app.sync_error,
    }
    fields = {
        "appVersion": app.version,
        "createdAt": ids.iso(app.created_at),
        "functionCount": len(app.functions),
        "id": app.id,
        "latestSync": {name: value for name, value in sync.items() if value},
        "method": app.method,
        "name": app.id,
    }
    return {name: value for name, value in fields.items() if value}


def function_v2(function: Function) -> dict[str, Any]:
    """The function as the v2 API shows it; timeouts are not part of that."""
    return {
        "app": {"id": function.app},
        "configuration": _configuration(function),
        "id": function.id,
        "name": function.name,
        "slug": function.id,
        "triggers": [_trigger_v2(raw) for raw in function.raw["triggers"]],
    }


def _trigger_v2(raw: dict[str, Any]) -> dict[str, Any]:
    if raw.get("cron"):
        return {"type": "CRON", "value": raw["cron"]}
    condition = {"if": raw["expression"]} if raw.get("expression") else {}
    return {**condition, "type": "EVENT", "value": raw["event"]}


def _configuration(function: Function) -> dict[str, Any]:
    raw = function.raw
    retries: dict[str, Any] = {"isDefault": not function.declares_retries}
    if function.retries:
        retries["value"] = function.retries
    fields: dict[str, Any] = {"retries": retries}
    if function.step_limits:
        fields["concurrency"] = [_limit(limit) for limit in function.step_limits]
    elif raw.get("concurrency") != []:
        fields["concurrency"] = [{"limit": {"isPlanLimit": True, "value": -1}, "scope": "ACCOUNT"}]
    if function.cancels:
        fields["cancellations"] = [
            {**({"condition": rule.condition} if rule.condition else {}), "event": rule.event}
            for rule in function.cancels
        ]
    if function.batch:
        fields["eventsBatch"] = raw["batchEvents"]
    if function.singleton:
        fields["singleton"] = {**raw["singleton"], "mode": function.singleton.mode.upper()}
    if function.idempotency:
        # The vendor keeps idempotency as a rate limit of one a day.
        fields["rateLimit"] = {"key": function.idempotency, "limit": 1, "period": "24h0m0s"}
    for name in ("rateLimit", "throttle", "debounce"):
        if raw.get(name):
            fields[name] = raw[name]
    return fields


def _limit(limit: Limit) -> dict[str, Any]:
    scope = {"fn": "FUNCTION", "env": "ENVIRONMENT", "account": "ACCOUNT"}[limit.scope]
    key = {"key": limit.key} if limit.key else {}
    return {**key, "limit": {"isPlanLimit": False, "value": limit.limit}, "scope": scope}


def config(function: Function) -> dict[str, Any]:
    """The function as `/dev` and the v1 API show its raw configuration."""
    raw = function.raw
    step = next(iter(raw["steps"].values()))
    fields: dict[str, Any] = {
        "id": function.uuid,
        "fv": 1,
        "name": function.name,
        "slug": function.slug,
    }
    for name in ("concurrency", "timeouts", "rateLimit", "throttle", "debounce", "singleton"):
        if raw.get(name) is not None:
            fields[name] = raw[name]
    for name in ("cancel", "batchEvents", "priority", "idempotency"):
        if raw.get(name):
            fields[name] = raw[name]
    fields["triggers"] = raw["triggers"]
    fields["steps"] = [
        {
            "id": step.get("id", "step"),
            "name": step.get("name", "step"),
            "uri": function.url,
            "retries": function.retries,
        }
    ]
    return fields


def function_v1(function: Function, app: App) -> dict[str, Any]:
    """The function as the v1 API lists it."""
    return {
        "internal_id": function.uuid,
        "env_id": ids.NIL_UUID,
        "app_id": ids.name_uuid(app.id),
        "id": function.slug,
        "name": function.name,
        "config": config(function),
        "created_at": ids.iso(app.created_at),
        "archived_at": "0001-01-01T00:00:00Z",
    }

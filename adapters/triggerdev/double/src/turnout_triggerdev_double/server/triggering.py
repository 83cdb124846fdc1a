"""Starts the run that a trigger request asks for, or finds the one of its idempotency key."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from turnout_triggerdev_double.server import debouncing, engine, waiting
from turnout_triggerdev_double.server.errors import not_found, refused
from turnout_triggerdev_double.server.ids import hex_id, new_id
from turnout_triggerdev_double.server.packets import STORED, offloaded
from turnout_triggerdev_double.server.records import Environment, RunRecord
from turnout_triggerdev_double.server.statuses import TERMINAL
from turnout_triggerdev_double.server.superjson import JSON, decoded, text_of
from turnout_triggerdev_double.server.times import duration, moment_of, write_duration
from turnout_triggerdev_double.server.world import OfflineWorld

KEY_TTL = 30 * 86_400_000
MAX_TAGS = 10
_TRACEPARENT = re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a trigger comes from."""

    batch: str | None = None
    batch_index: int | None = None
    parent: str | None = None
    resume_parent: bool = False
    traceparent: str | None = None
    schedule: str | None = None
    created_at: int | None = None
    replay: bool = False
    key: str | None = None
    key_ttl: str | None = None


def trigger(
    world: OfflineWorld, env: Environment, task: str, body: Mapping[str, Any], origin: Origin
) -> tuple[RunRecord, bool]:
    """The run, and whether it is an earlier one with the same key.

    The body was validated. Unknown tasks and queues, and delays or times to live that are no
    durations, are accepted, as on the real server.
    """
    options: Mapping[str, Any] = body.get("options") or {}
    tags = tag_list(options.get("tags"))
    key = options.get("idempotencyKey") or origin.key
    cached = _cached(world, env, task, key)
    if cached is not None:
        run = cached
    elif (pushed := debouncing.pushed(world, env.id, task, body)) is not None:
        run = pushed
    else:
        run = _new_run(world, env, task, body, options, tags, origin)
        _remember_key(world, run, key, options, origin)
        _enter_family(world, run, origin)
        world.add(run)
        engine.enqueue(world, run)
    _block_parent(world, run, origin)
    return run, cached is not None


def tag_list(tags: Any) -> list[str]:
    """Tags of a request, each once, in order. Refuses more than ten."""
    listed = [tags] if isinstance(tags, str) else list(tags or [])
    if len(listed) > MAX_TAGS:
        raise refused(
            422, f"Runs can only have {MAX_TAGS} tags, you're trying to set {len(listed)}."
        )
    return sorted(set(listed))


def _cached(world: OfflineWorld, env: Environment, task: str, key: str | None) -> RunRecord | None:
    if not key:
        return None
    run = world.runs.get(world.keys.get((env.id, task, key), ""))
    if run is None:
        return None
    if run.idempotency_expires_at is not None and run.idempotency_expires_at <= world.now():
        engine.release_key(world, run)
        run.idempotency_key = None
        world.store.put(run)
        return None
    return run


def _remember_key(
    world: OfflineWorld, run: RunRecord, key: str | None, options: Mapping[str, Any], origin: Origin
) -> None:
    if not key:
        return
    length = duration(str(options.get("idempotencyKeyTTL") or origin.key_ttl or ""))
    run.idempotency_key = key
    run.idempotency_expires_at = world.now() + (KEY_TTL if length is None else length)
    key_options = options.get("idempotencyKeyOptions") or {}
    run.user_key, run.idempotency_scope = key_options.get("key"), key_options.get("scope")


def _new_run(
    world: OfflineWorld,
    env: Environment,
    task: str,
    body: Mapping[str, Any],
    options: Mapping[str, Any],
    tags: list[str],
    origin: Origin,
) -> RunRecord:
    now = world.now()
    worker = world.current.get(env.id)
    settings = worker.tasks.get(task, {}) if worker else {}
    kind = options.get("payloadType") or JSON
    run_id = engine.new_run_id(world)
    payload = text_of(body["payload"], kind) if "payload" in body else None
    packet = f"{run_id}/payload.json"
    if payload is not None and offloaded(world, env, packet, payload, kind):
        payload, kind = packet, STORED
    scheduled = origin.schedule is not None or settings.get("triggerSource") == "schedule"
    created = origin.created_at if origin.created_at is not None else now
    locked = _locked_version(world, env, options)
    return RunRecord(
        id=run_id,
        env=env.id,
        task=task,
        created_at=created,
        updated_at=now,
        payload=payload,
        payload_type=kind,
        queue=_queue_name(task, settings, options),
        concurrency_key=_text(options.get("concurrencyKey")),
        limits=options.get("concurrency"),
        priority=int(options.get("priority") or 0),
        available_at=created,
        delayed_until=_delayed_until(options, now),
        ttl=_ttl(env, settings, options),
        max_attempts=options.get("maxAttempts"),
        max_duration=options.get("maxDuration") or settings.get("maxDuration"),
        tags=tags,
        metadata=_metadata(options),
        locked_version=locked,
        version=locked,
        schedule=origin.schedule,
        task_kind="SCHEDULED" if scheduled else "STANDARD",
        is_test=bool(options.get("test")),
        is_replay=origin.replay,
        debounce_key=(options.get("debounce") or {}).get("key"),
        machine=options.get("machine") or (settings.get("machine") or {}).get("preset", "small-1x"),
        batch=origin.batch,
        trigger_function=_function(origin),
        **_trace(origin.traceparent),
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _queue_name(task: str, settings: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    named = (options.get("queue") or {}).get("name") or (settings.get("queue") or {}).get("name")
    return str(named or f"task/{task}")


def _delayed_until(options: Mapping[str, Any], now: int) -> int | None:
    until = moment_of((options.get("debounce") or options).get("delay"), now)
    return until if until is not None and until > now else None


def _ttl(env: Environment, settings: Mapping[str, Any], options: Mapping[str, Any]) -> str | None:
    """The trigger's own time to live, else the task's; 0 is no limit at the trigger alone."""
    if options.get("ttl") is not None:
        return _written(options["ttl"])
    return _written(settings.get("ttl")) or ("10m" if env.type == "DEVELOPMENT" else None)


def _written(ttl: Any) -> str | None:
    """Write a time to live as the vendor keeps it; 0 seconds become None."""
    if isinstance(ttl, int | float):
        return write_duration(int(ttl)) if ttl > 0 else None
    return None if ttl is None else str(ttl)


def _metadata(options: Mapping[str, Any]) -> str | None:
    metadata = options.get("metadata")
    if metadata is None or isinstance(metadata, str):
        return metadata
    return orjson.dumps(metadata).decode()


def _locked_version(
    world: OfflineWorld, env: Environment, options: Mapping[str, Any]
) -> str | None:
    version = options.get("lockToVersion")
    if version is None:
        return None
    if any(worker.env == env.id and worker.version == version for worker in world.workers.values()):
        return str(version)
    raise refused(500, "Something went wrong")


def _function(origin: Origin) -> str:
    name = "batchTrigger" if origin.batch else "trigger"
    return f"{name}AndWait" if origin.resume_parent else name


def _trace(traceparent: str | None) -> dict[str, Any]:
    match = _TRACEPARENT.match(traceparent or "")
    if match:
        return {"trace_id": match[1], "parent_span": match[2], "span_id": hex_id(8)}
    return {"trace_id": hex_id(16), "span_id": hex_id(8)}


def _enter_family(world: OfflineWorld, run: RunRecord, origin: Origin) -> None:
    parent = world.runs.get(origin.parent or "")
    if parent is None or parent.env != run.env:
        return
    run.parent, run.root = parent.id, parent.root or parent.id
    run.depth = parent.depth + 1
    run.resume_parent = origin.resume_parent
    parent.children.append(run.id)
    world.store.put(parent)


def _block_parent(world: OfflineWorld, run: RunRecord, origin: Origin) -> None:
    parent = world.runs.get(origin.parent or "")
    if parent is None or not origin.resume_parent or parent.status in TERMINAL:
        return
    point = engine.new_run_waitpoint(world, run)
    block = {"waitpoint": point, "index": origin.batch_index, "batch": origin.batch}
    waiting.block(world, parent, [block])


def replay(world: OfflineWorld, run: RunRecord, changes: Mapping[str, Any]) -> RunRecord:
    """A new run like this one, with the changes of the request."""
    env = world.environment(run.env)
    options: dict[str, Any] = {
        "payloadType": changes.get("payloadType") or run.payload_type,
        "tags": changes.get("tags", run.tags),
        "queue": changes.get("queue") or {"name": run.queue},
        "concurrencyKey": changes.get("concurrencyKey", run.concurrency_key),
        "metadata": changes.get("metadata", run.metadata),
        "machine": changes.get("machine", run.machine),
        "lockToVersion": changes.get("version"),
        "maxAttempts": changes.get("maxAttempts", run.max_attempts),
        "maxDuration": changes.get("maxDuration", run.max_duration),
        "priority": changes.get("priority", run.priority),
        "ttl": changes.get("ttl"),
        "delay": changes.get("delay"),
        "idempotencyKey": changes.get("idempotencyKey"),
        "idempotencyKeyTTL": changes.get("idempotencyKeyTTL"),
        "test": run.is_test,
    }
    body: dict[str, Any] = {"options": options}
    if "payload" in changes:
        body["payload"] = changes["payload"]
    elif run.payload is not None:
        plain = run.payload_type == JSON
        body["payload"] = decoded(run.payload, JSON) if plain else run.payload
    return trigger(world, env, run.task, body, Origin(replay=True))[0]


def new_batch_id(world: OfflineWorld) -> str:
    """A new batch's id."""
    return new_id("batch", world.now())


def run_of(world: OfflineWorld, env: Environment, run_id: str) -> RunRecord:
    """The environment's run of this id. Refuses others as not found."""
    run = world.runs.get(run_id)
    if run is None or run.env != env.id:
        raise not_found()
    return run

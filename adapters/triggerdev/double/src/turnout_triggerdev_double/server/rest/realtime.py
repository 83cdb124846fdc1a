"""Subscriptions to runs: what they are now, then every change, as an ElectricSQL shape.

A client asks for the rows, and after that again and again for what has changed since the offset
of the last answer (`live=true`); such a call waits for a change.
Source: `electricStreamProtocol.server.ts` and `nativeRealtimeClient.server.ts` of the vendor's
public repository, for the columns, the headers and how long a call waits.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import orjson
from starlette.responses import Response

from turnout_triggerdev_double.server.errors import ApiRefusal, not_found, query_error
from turnout_triggerdev_double.server.ids import bare
from turnout_triggerdev_double.server.records import RunRecord
from turnout_triggerdev_double.server.statuses import CURRENT_VERSION
from turnout_triggerdev_double.server.superjson import JSON
from turnout_triggerdev_double.server.times import duration, maybe_iso
from turnout_triggerdev_double.server.triggering import run_of
from turnout_triggerdev_double.server.wiring import ApiCall, answer

HOLD = 20.0
"""Seconds that a live call waits for a change."""
MAX_RUNS = 1000
DAY = 86_400_000
"""Milliseconds that a subscription by tags looks back at most."""
FIRST_OFFSET = "-1"
UP_TO_DATE = {"headers": {"control": "up-to-date"}}
ALWAYS = frozenset({"id", "taskIdentifier", "friendlyId", "status", "createdAt"})


def _time(moment: int | None) -> str | None:
    """The moment without a zone: clients add it."""
    text = maybe_iso(moment)
    return None if text is None else text.removesuffix("Z")


def _array(values: list[str]) -> str:
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in quoted) + "}"


Column = Callable[[RunRecord], str | None]
COLUMNS: dict[str, tuple[str, Column]] = {
    "id": ("text", lambda run: bare(run.id)),
    "taskIdentifier": ("text", lambda run: run.task),
    "createdAt": ("timestamp", lambda run: _time(run.created_at)),
    "updatedAt": ("timestamp", lambda run: _time(run.updated_at)),
    "startedAt": ("timestamp", lambda run: _time(run.started_at)),
    "delayUntil": ("timestamp", lambda run: _time(run.delayed_until)),
    "queuedAt": ("timestamp", lambda run: _time(run.queued_at or None)),
    "expiredAt": ("timestamp", lambda run: _time(run.expired_at)),
    "completedAt": ("timestamp", lambda run: _time(run.finished_at)),
    "friendlyId": ("text", lambda run: run.id),
    "number": ("int4", lambda _run: "0"),
    "isTest": ("bool", lambda run: "t" if run.is_test else "f"),
    "status": ("text", lambda run: run.status),
    "usageDurationMs": ("int4", lambda run: str(run.duration_ms)),
    "costInCents": ("float8", lambda _run: "0"),
    "baseCostInCents": ("float8", lambda _run: "0"),
    "ttl": ("text", lambda run: run.ttl),
    "payload": ("text", lambda run: run.payload or ""),
    "payloadType": ("text", lambda run: run.payload_type),
    "metadata": ("text", lambda run: run.metadata),
    "metadataType": ("text", lambda _run: JSON),
    "output": ("text", lambda run: run.output),
    "outputType": ("text", lambda run: run.output_type or JSON),
    "runTags": ("text[]", lambda run: _array(run.tags) if run.tags else None),
    "error": ("jsonb", lambda run: orjson.dumps(run.error).decode() if run.error else None),
    "realtimeStreams": ("text[]", lambda run: _array(run.realtime_streams)),
}
"""The columns of a run: the type, and the value as PostgreSQL writes it."""


async def run_feed(call: ApiCall) -> Response:
    """`GET /realtime/v1/runs/{run}`."""
    run = run_of(call.world, call.env, str(call.params["run"]))
    return await _feed(call, lambda: [run], lambda other: other is run, f"run-{run.id}")


async def tag_feed(call: ApiCall) -> Response:
    """`GET /realtime/v1/runs`: runs with all of the tags, of the last day or of `createdAt`."""
    world, tags = call.world, [tag for tag in (call.query.get("tags") or "").split(",") if tag]
    since = _earliest(call)
    key = (call.env.id, tags[0]) if tags else None

    def matches(run: RunRecord) -> bool:
        return run.env == call.env.id and run.created_at > since and set(tags) <= set(run.tags)

    def runs() -> list[RunRecord]:
        places = world.timeline[call.env.id] if key is None else world.tagged.get(key, [])
        newest_first = (world.runs[run_id] for _, run_id in reversed(places))
        return [run for run, _ in zip(filter(matches, newest_first), range(MAX_RUNS), strict=False)]

    return await _feed(call, runs, matches, f"runs_{since}_{world.revisions.last}")


def _earliest(call: ApiCall) -> int:
    """From when on the runs count; a subscription keeps that in its handle."""
    kind, _, rest = (call.query.get("handle") or "").partition("_")
    if kind == "runs" and rest.partition("_")[0].isdecimal():
        return int(rest.partition("_")[0])
    length = duration(call.query.get("createdAt") or "24h")
    if length is None:
        raise query_error(code="custom", message="Invalid createdAt", path=["createdAt"])
    return call.world.now() - min(length, DAY)


async def batch_feed(call: ApiCall) -> Response:
    """`GET /realtime/v1/batches/{batch}`: the runs of a batch."""
    world = call.world
    batch = world.batches.get(str(call.params["batch"]))
    if batch is None or batch.env != call.env.id:
        raise not_found()
    return await _feed(
        call,
        lambda: [world.runs[run] for run in batch.runs],
        lambda run: run.batch == batch.id,
        f"batch_{batch.id}",
    )


async def _feed(
    call: ApiCall,
    runs: Callable[[], list[RunRecord]],
    matches: Callable[[RunRecord], bool],
    new_handle: str,
) -> Response:
    """All runs of the subscription; in a live call those that have changed, once there are any."""
    revisions, query = call.world.revisions, call.query
    handle, offset = query.get("handle") or query.get("shape_id"), query.get("offset", FIRST_OFFSET)
    live = query.get("live") == "true" and bool(handle) and offset != FIRST_OFFSET
    since = _revision(offset) if live else 0
    loop = asyncio.get_running_loop()
    end = loop.time() + HOLD
    while True:
        last = revisions.last
        if since < revisions.start:
            changed = runs()
        else:
            changed = [
                r for r in map(call.world.runs.__getitem__, revisions.since(since)) if matches(r)
            ]
        left = end - loop.time()
        if changed or not live or left <= 0 or call.world.stopping.is_set():
            break
        await revisions.changed.wait(call.env.id, left)
    return _answered(call, changed, handle or new_handle, f"{last}_0", live=live)


def _revision(offset: str) -> int:
    number = offset.partition("_")[0]
    if not number.isdecimal():
        raise ApiRefusal(400, {"errors": {"offset": ["has invalid format"]}})
    return int(number)


def _answered(
    call: ApiCall, runs: Iterable[RunRecord], handle: str, offset: str, *, live: bool
) -> Response:
    text = call.query.get("skipColumns") or ""
    skipped = set(call.token.skip_columns if call.token else ()) or set(text.split(","))
    columns = {name: COLUMNS[name] for name in COLUMNS if name in ALWAYS or name not in skipped}
    messages = [
        {
            "key": f'"public"."TaskRun"/"{bare(run.id)}"',
            "value": _row(run, columns, call.api_version),
            "headers": {"operation": "update" if live else "insert"},
        }
        for run in runs
    ]
    modern = "x-trigger-electric-version" in call.headers
    headers = {
        "electric-handle" if modern else "electric-shape-id": handle,
        "electric-offset" if modern else "electric-chunk-last-offset": offset,
        "cache-control": "no-store",
        "access-control-allow-origin": "*",
        "access-control-expose-headers": "*",
    }
    headers |= {"electric-cursor": offset} if live else {"electric-schema": _schema(columns)}
    return answer([*messages, UP_TO_DATE], headers=headers)


def _row(
    run: RunRecord, columns: dict[str, tuple[str, Column]], version: str | None
) -> dict[str, str | None]:
    row = {name: write(run) for name, (_, write) in columns.items()}
    if row["status"] == "DEQUEUED" and version != CURRENT_VERSION:
        row["status"] = "EXECUTING"
    return row


def _schema(columns: dict[str, tuple[str, Column]]) -> str:
    schema: dict[str, Any] = {}
    for name, (kind, _) in columns.items():
        element = kind.removesuffix("[]")
        schema[name] = {"type": element} | ({"dims": 1} if element != kind else {})
    return orjson.dumps(schema).decode()

"""Batches whose items come apart from them: each item becomes a run a moment after it came."""

from collections.abc import Mapping
from typing import Any

from turnout_triggerdev_double.server import waiting
from turnout_triggerdev_double.server.errors import ApiRefusal
from turnout_triggerdev_double.server.records import Batch
from turnout_triggerdev_double.server.triggering import Origin, trigger
from turnout_triggerdev_double.server.world import OfflineWorld

MADE_AFTER = 100
"""Milliseconds between an item and its run: until then a batch shows no runs."""


def take(batch: Batch, item: Mapping[str, Any], traceparent: str | None) -> bool:
    """Keep an item until it becomes a run; False if it is there."""
    if item["index"] in batch.indexes:
        return False
    batch.indexes.append(item["index"])
    batch.items.append({**item, "traceparent": traceparent})
    if len(batch.indexes) >= batch.run_count and not batch.sealed:
        batch.sealed, batch.status = True, "PROCESSING"
    return True


def expect(world: OfflineWorld, batch: Batch) -> None:
    """Make runs of the items that are there in a moment."""
    waiting.touch(world, batch)
    if batch.items:
        world.alarms.at(world.now() + MADE_AFTER, lambda: _make_runs(world, batch))


def _make_runs(world: OfflineWorld, batch: Batch) -> None:
    items, batch.items = batch.items, []
    for item in items:
        try:
            run, _ = trigger(
                world, world.environment(batch.env), str(item["task"]), item, _origin(batch, item)
            )
        except ApiRefusal as refusal:
            batch.errors.append(_error(item, refusal))
        else:
            batch.runs.append(run.id)
    if batch.processed_at is None and len(batch.runs) + len(batch.errors) == batch.run_count:
        batch.processed_at = world.now()
        batch.status = "PENDING" if batch.runs else "ABORTED"
    waiting.batch_moved(world, batch.id)
    parent = world.runs.get(batch.parent or "")
    if parent is not None and batch.resume_parent:
        waiting.resume_if_unblocked(world, parent)


def _origin(batch: Batch, item: Mapping[str, Any]) -> Origin:
    return Origin(
        batch=batch.id,
        batch_index=item["index"],
        parent=batch.parent,
        resume_parent=batch.resume_parent,
        traceparent=item["traceparent"],
    )


def _error(item: Mapping[str, Any], refusal: ApiRefusal) -> dict[str, Any]:
    body = refusal.body
    return {
        "index": item["index"],
        "taskIdentifier": item["task"],
        "error": body["error"] if isinstance(body, dict) else str(body),
        "errorCode": "TRIGGER_ERROR",
    }

"""Waitpoints: runs block on them and go on when all of them are complete."""

from typing import Any

import orjson

from turnout_triggerdev_double.server.ids import hex_id, new_id
from turnout_triggerdev_double.server.records import Batch, RunRecord, Waitpoint
from turnout_triggerdev_double.server.snapshots import enter
from turnout_triggerdev_double.server.statuses import TERMINAL
from turnout_triggerdev_double.server.superjson import JSON
from turnout_triggerdev_double.server.times import iso
from turnout_triggerdev_double.server.world import OfflineWorld


def new_waitpoint(
    world: OfflineWorld,
    env: str,
    kind: str,
    *,
    due: int | None = None,
    key: str | None = None,
    key_expires_at: int | None = None,
    tags: list[str] | None = None,
) -> Waitpoint:
    """A new open waitpoint. A DATETIME one completes when due, a MANUAL one fails then."""
    now = world.now()
    point = Waitpoint(
        id=new_id("waitpoint", now),
        env=env,
        type=kind,
        created_at=now,
        due=due,
        idempotency_key=key or hex_id(12),
        user_key=key is not None,
        idempotency_expires_at=key_expires_at,
        tags=tags or [],
    )
    world.add(point)
    world.store.put(point)
    watch(world, point)
    return point


def known_waitpoint(world: OfflineWorld, env: str, key: str | None) -> Waitpoint | None:
    """The waitpoint of an idempotency key that has not expired."""
    point = world.waitpoints.get(world.token_keys.get((env, key or ""), "")) if key else None
    if point is None:
        return None
    expired = point.idempotency_expires_at is not None
    if expired and (point.idempotency_expires_at or 0) <= world.now():
        return None
    return point


def watch(world: OfflineWorld, point: Waitpoint) -> None:
    """Complete the waitpoint when its time comes."""
    if point.due is not None and point.status == "PENDING":
        world.alarms.at(point.due, lambda: _due(world, point))


def _due(world: OfflineWorld, point: Waitpoint) -> None:
    if point.status != "PENDING" or point.due is None or point.due > world.now():
        return
    if point.type == "DATETIME":
        complete(world, point, None, None)
        return
    error = {
        "code": "TRIGGER_WAITPOINT_TIMEOUT",
        "message": f"Waitpoint timed out at {iso(point.due)}",
    }
    complete(world, point, orjson.dumps(error).decode(), JSON, is_error=True)


def complete(
    world: OfflineWorld,
    point: Waitpoint,
    output: str | None,
    output_type: str | None,
    *,
    is_error: bool = False,
) -> None:
    """Complete the waitpoint, once; the runs that wait for it go on."""
    if point.status == "COMPLETED":
        return
    point.status = "COMPLETED"
    point.completed_at = world.now()
    point.output, point.output_type, point.output_is_error = output, output_type, is_error
    waiters, point.waiters = point.waiters, []
    world.store.put(point)
    for waiter in waiters:
        resume_if_unblocked(world, world.runs[waiter])


def block(world: OfflineWorld, run: RunRecord, blocks: list[dict[str, Any]]) -> None:
    """Let the run wait for more waitpoints: each `{waitpoint, index?, batch?}`."""
    for block_entry in blocks:
        run.blocks.append(block_entry)
        point = world.waitpoints[block_entry["waitpoint"]]
        if point.status == "PENDING" and run.id not in point.waiters:
            point.waiters.append(run.id)
            world.store.put(point)
    enter(world, run, "EXECUTING_WITH_WAITPOINTS", "Run is waiting")
    resume_if_unblocked(world, run)


def resume_if_unblocked(world: OfflineWorld, run: RunRecord) -> None:
    """Let the run go on if nothing that it waits for is open, and tell its worker."""
    if run.execution_status != "EXECUTING_WITH_WAITPOINTS" or _open_batch(world, run):
        return
    if any(
        world.waitpoints[block_entry["waitpoint"]].status == "PENDING" for block_entry in run.blocks
    ):
        return
    run.resumed, run.blocks = run.blocks, []
    enter(world, run, "EXECUTING", "Run was continued, whilst still executing")
    world.notices.run_moved(run.env, run.id)


def _open_batch(world: OfflineWorld, run: RunRecord) -> bool:
    """Whether the run waits for a batch of which not all runs have been made."""
    batches = {block_entry["batch"] for block_entry in run.blocks if block_entry.get("batch")}
    return any(not _is_made(world.batches[batch]) for batch in batches)


def _is_made(batch: Batch) -> bool:
    return batch.sealed and len(batch.runs) + len(batch.errors) >= batch.run_count


def forget_blocks(world: OfflineWorld, run: RunRecord) -> None:
    """Remove all waitpoints on which the run waits."""
    for block_entry in run.blocks:
        point = world.waitpoints[block_entry["waitpoint"]]
        if run.id in point.waiters:
            point.waiters.remove(run.id)
            world.store.put(point)
    run.blocks = []
    run.resumed = []


def batch_moved(world: OfflineWorld, batch_id: str | None) -> None:
    """Complete the batch if all its runs have ended."""
    batch = world.batches.get(batch_id or "")
    if batch is None or not _is_made(batch) or batch.status not in {"PENDING", "PROCESSING"}:
        return
    if all(world.runs[run].status in TERMINAL for run in batch.runs):
        batch.status = "COMPLETED" if not batch.errors else "PARTIAL_FAILED"
    touch(world, batch)


def touch(world: OfflineWorld, batch: Batch) -> None:
    """Store a changed batch."""
    batch.updated_at = world.now()
    world.store.put(batch)

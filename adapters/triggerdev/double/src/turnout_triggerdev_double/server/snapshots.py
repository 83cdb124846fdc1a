"""Snapshots: what a run is doing, with an id that changes at every transition."""

from turnout_triggerdev_double.server.ids import new_id
from turnout_triggerdev_double.server.records import RunRecord
from turnout_triggerdev_double.server.world import OfflineWorld


def enter(world: OfflineWorld, run: RunRecord, execution_status: str, description: str) -> None:
    """Put the run into a new snapshot, and keep it."""
    now = world.now()
    _count(world, run, -1)
    run.snapshot_id = new_id("snapshot", now)
    run.execution_status = execution_status
    run.description = description
    run.snapshot_at = run.updated_at = now
    _count(world, run, +1)
    world.store.put(run)


def _count(world: OfflineWorld, run: RunRecord, step: int) -> None:
    if run.execution_status == "QUEUED":
        world.queued[(run.env, run.queue)] += step

"""Which replicas of the service are alive, and which schedules they tick."""

from collections.abc import Sequence

from turnout.control.slots import ScheduleSlots
from turnout.model.replicas import ALIVE, Replica
from turnout.model.schedules import Schedule
from turnout.ports.clock import Clock
from turnout.ports.run_store import ReplicaStore


async def living(replicas: ReplicaStore, clock: Clock) -> Sequence[Replica]:
    """Read the replicas that gave a sign of life a short time ago."""
    return await replicas.read(since=clock.now() - ALIVE)


def foreign_flag(replicas: Sequence[Replica], provider: str) -> str | None:
    """Return the ORCHESTRATOR_PROVIDER of replicas where none of them has this one."""
    flags = sorted({replica.provider for replica in replicas})
    return None if not flags or provider in flags else " and ".join(flags)


async def living_schedules(
    slots: ScheduleSlots, replicas: ReplicaStore, clock: Clock, provider: str
) -> Sequence[Schedule]:
    """Read the schedules that a provider is to fire; none while no replica is alive."""
    if not await living(replicas, clock):
        return ()
    return await slots.to_arm(provider)

"""Which replicas of the service are alive, and the schedules that they keep."""

from collections.abc import Sequence

from turnout.control.slots import ScheduleSlots
from turnout.model.replicas import Replica
from turnout.model.schedules import Schedule
from turnout.model.time import Millis
from turnout.ports.clock import Clock
from turnout.ports.run_store import ReplicaStore

ALIVE: Millis = 15_000
"""A replica without a sign of life for longer counts as gone."""


async def living(replicas: ReplicaStore, clock: Clock) -> Sequence[Replica]:
    """Read the replicas that gave a sign of life a short time ago."""
    return await replicas.read(since=clock.now() - ALIVE)


class KeptSchedules:
    """The schedules that a provider owns while the service runs; what adapters are given."""

    def __init__(self, slots: ScheduleSlots, replicas: ReplicaStore, clock: Clock) -> None:
        self._slots = slots
        self._replicas = replicas
        self._clock = clock

    async def __call__(self, provider: str) -> Sequence[Schedule]:
        """Read the schedules of a provider; none while no replica is alive."""
        if not await living(self._replicas, self._clock):
            return ()
        return await self._slots.owned_by(provider)

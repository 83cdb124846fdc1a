"""The heartbeat: what a serving replica does every few seconds, beside its pump."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

from turnout.control.schedules import Schedules
from turnout.control.slots import ScheduleSlots
from turnout.model.replicas import Replica
from turnout.ports.run_store import ReplicaStore
from turnout.pump.failures import logged
from turnout.service.registrar import Registrar

INTERVAL = 5.0
"""Seconds between two beats."""

BEATS_TO_REARM = 12
"""Every so many beats, the schedules are armed again at every provider that is ready.

A replica that was cut off and came back may have armed an older list than another replica did.
"""


class Heartbeat:
    """Publishes that this replica is alive, starts the runs of missed slots, re-arms schedules."""

    def __init__(
        self,
        *,
        replicas: ReplicaStore,
        replica: Callable[[], Replica],
        slots: ScheduleSlots,
        schedules: Schedules,
        registrar: Registrar,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """replica: describes this replica as it is now.

        pause: waits so many seconds at most; it may end sooner where there is something new.
        """
        self._replicas = replicas
        self._replica = replica
        self._slots = slots
        self._schedules = schedules
        self._registrar = registrar
        self._pause = pause

    async def run(self) -> None:
        """Beat, and arm schedules again, until cancelled; a failure of either stops neither.

        Arming asks providers. A sign of life waits for none of them.
        """
        await asyncio.gather(self._keep_beating(), self._keep_arming())

    async def _keep_beating(self) -> None:
        while True:
            with logged("beat", "replica"):
                await self._replicas.beat(self._replica())
            with logged("catch up", "schedules"):
                await self._slots.catch_up()
            await self._pause(INTERVAL)

    async def _keep_arming(self) -> None:
        for number in itertools.count(1):
            with logged("arm", "replica"):
                force = number % BEATS_TO_REARM == 0
                await self._schedules.arm_changed(self._registrar.ready, force=force)
            await self._pause(INTERVAL)

"""Ticks of the embedded provider: each armed schedule, at each of its slots."""

import asyncio
import logging
from collections.abc import Iterable, Sequence

from turnout.errors import FailureLog
from turnout.model.protocol import Tick
from turnout.model.schedules import ArmedSchedule, Schedule
from turnout.model.time import Millis
from turnout.ports.caller import Surroundings
from turnout.ports.clock import happened

log = logging.getLogger(__name__)

CATCH_UP: Millis = 10 * 60 * 1_000
"""A process that starts also ticks the slots of this last period."""


class Ticker:
    """Calls the worker at each slot; the run store decides which replica's tick counts."""

    def __init__(self, provider: str, surroundings: Surroundings) -> None:
        self._provider = provider
        self._worker = surroundings.worker
        self._clock = surroundings.clock
        self._armed: dict[str, Schedule] = {}
        self._ticked: dict[str, Millis] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to tick."""
        self._task = asyncio.create_task(self._tick_all())

    async def close(self) -> None:
        """Stop ticking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def arm(self, schedules: Sequence[Schedule]) -> None:
        """Tick these, and no others."""
        self._armed = {schedule.id: schedule for schedule in schedules if not schedule.paused}
        self._changed.set()

    @property
    def started(self) -> bool:
        """Whether slots are ticked in this process."""
        return self._task is not None

    def armed(self) -> list[ArmedSchedule]:
        """Say what will be ticked next."""
        return armed_schedules(self._armed.values(), self._clock.now())

    async def _tick_all(self) -> None:
        while True:
            self._changed.clear()
            now = self._clock.now()
            for schedule in list(self._armed.values()):
                await self._tick_due(schedule, now)
            await self._wait_for_next(now)

    async def _tick_due(self, schedule: Schedule, now: Millis) -> None:
        last = self._ticked.get(schedule.id, now - CATCH_UP)
        for slot in schedule.slots(last):
            if slot > now:
                return
            message = "tick failed; it is tried again"
            with FailureLog(log, message, action="tick", schedule=schedule.id) as failure:
                await self._tick(schedule, slot)
            if failure.error is not None:
                return
            self._ticked[schedule.id] = slot

    async def _tick(self, schedule: Schedule, slot: Millis) -> None:
        await self._worker.answer(
            Tick(
                schedule=schedule.id,
                slot=slot,
                provider=self._provider,
                provider_run_id=f"{self._provider}-{schedule.id}-{slot}",
            )
        )

    async def _wait_for_next(self, now: Millis) -> None:
        schedules = self._armed.values()
        upcoming = [next(schedule.slots(now), now + 60_000) for schedule in schedules]
        pause = min([slot - now for slot in upcoming] or [60_000])
        await happened(self._changed, self._clock, min(max(pause, 1), 60_000))


def armed_schedules(schedules: Iterable[Schedule], now: Millis) -> list[ArmedSchedule]:
    """List the schedules that are not paused, with the next slot of each."""
    return [
        ArmedSchedule(
            id=schedule.id,
            task=schedule.task,
            cron=schedule.cron,
            zone=schedule.zone,
            active=True,
            next_at=next(schedule.slots(now), None),
            provider_id=schedule.id,
        )
        for schedule in schedules
        if not schedule.paused
    ]

"""Slots of schedules: the run of each slot is started once, whoever asks for it.

A provider ticks a slot at its time. A slot whose tick was lost is started by the catch-up.
"""

import logging
from collections.abc import Sequence

from turnout.control.emissions import Emissions
from turnout.errors import FailureLog
from turnout.model.protocol import Tick, Ticked
from turnout.model.schedules import OwnedSchedule, Schedule
from turnout.model.tasks import App
from turnout.model.time import Millis
from turnout.ports.clock import Clock
from turnout.ports.run_store import ScheduleStore

log = logging.getLogger(__name__)

TICK_GRACE: Millis = 15_000
"""How late a provider's tick may be before the slot is started without it."""

EARLY: Millis = 3 * 60 * 1_000
"""How far ahead of this clock a tick may be; vendors start early, and clocks differ."""

CATCH_UP: Millis = 60 * 60 * 1_000
"""Slots missed for longer than this are not made up."""


class ScheduleSlots:
    """Starts the runs of slots; needs the store and the emissions, no provider."""

    def __init__(self, *, schedules: ScheduleStore, emissions: Emissions, clock: Clock) -> None:
        self._schedules = schedules
        self._emissions = emissions
        self._clock = clock

    async def tick(self, call: Tick) -> Ticked:
        """Claim the slot that a provider ticks and start its run, in one transaction.

        A time that is no slot of the schedule is answered `removed`, as a slot of an expression
        that was replaced is; a slot too far ahead is answered `paused`, and starts when it is due.
        """
        owned = next(
            (row for row in await self._schedules.read() if row.schedule.id == call.schedule), None
        )
        if owned is None:
            return Ticked(run_id=None, reason="removed")
        if owned.schedule.paused or _of_the_last_owner(owned, call):
            return Ticked(run_id=None, reason="paused")
        if call.provider == owned.provider or call.slot < owned.since:
            refused = self._refused(owned.schedule, call)
            if refused is not None:
                return refused
        return await self._start(owned.schedule, call.slot, call.provider)

    async def catch_up(self) -> int:
        """Start the slots that no provider has ticked in time; return how many were started.

        A tick can be lost while the service is down or a schedule moves. Slots older than
        CATCH_UP are left alone: a run that late is a decision for people.
        """
        started = 0
        for owned in await self._schedules.read():
            message = "missed slots of a schedule not started; tried again later"
            with FailureLog(log, message, action="catch_up", subject=owned.schedule.id):
                started += await self.make_up(owned, self._clock.now() - TICK_GRACE)
        if started:
            log.warning(
                "started the runs of schedule slots that no provider had ticked in time",
                extra={"action": "catch_up", "count": started},
            )
        return started

    async def make_up(self, owned: OwnedSchedule, until: Millis) -> int:
        """Start the runs of a schedule's missed slots up to a moment; return their number."""
        if owned.schedule.paused or not declares(self._emissions.app, owned.schedule):
            return 0
        started = 0
        now = self._clock.now()
        # A mark in the future would hold back every slot until then; claimed slots stay claimed.
        last = owned.last_slot if owned.last_slot and owned.last_slot <= now + EARLY else 0
        oldest = max(owned.since, last, now - CATCH_UP)
        for slot in owned.schedule.slots(oldest):
            if slot > until:
                break
            ticked = await self._start(owned.schedule, slot, owned.provider)
            started += ticked.reason == "started"
        return started

    async def owned_by(self, provider: str) -> Sequence[Schedule]:
        """Read the schedules of this app that a provider is to fire."""
        owned = [row.schedule for row in await self._schedules.read() if row.provider == provider]
        return [schedule for schedule in owned if declares(self._emissions.app, schedule)]

    def _refused(self, schedule: Schedule, call: Tick) -> Ticked | None:
        """Say why a tick's time starts nothing; None: it is a slot whose time has come."""
        if call.slot > self._clock.now() + EARLY:
            message, reason = "a schedule was ticked too far ahead of its time", "paused"
        elif not schedule.has_slot(call.slot):
            message, reason = "a schedule was ticked at a time that is none of its slots", "removed"
        else:
            return None
        extra = {"action": "tick", "schedule": schedule.id, "provider": call.provider}
        log.warning(message, extra={**extra, "slot": call.slot})
        return Ticked.model_validate({"run_id": None, "reason": reason})

    async def _start(self, schedule: Schedule, slot: Millis, provider: str) -> Ticked:
        now = self._clock.now()
        emission = self._emissions.of_slot(schedule, slot, now)
        return await self._schedules.tick(schedule.id, slot, provider, emission, now)


def _of_the_last_owner(owned: OwnedSchedule, call: Tick) -> bool:
    """Whether the new owner ticks a slot of the time before the schedule changed hands."""
    return call.provider == owned.provider and call.slot <= owned.since


def declares(app: App, schedule: Schedule) -> bool:
    """Whether the app has the schedule's task."""
    return any(task.id == schedule.task for task in app.tasks)

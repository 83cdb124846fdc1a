"""Slots of schedules: the run of each slot is started once, whoever asks for it.

A provider ticks a slot at its time. A slot whose tick was lost is started by the catch-up.
"""

import logging
from collections.abc import Sequence

from turnout.control.emissions import Emissions
from turnout.errors import FailureLog, Unavailable
from turnout.model.protocol import Tick, Ticked
from turnout.model.schedules import PUNCTUAL, OwnedSchedule, Schedule, UnreadableSchedule
from turnout.model.status import RunOrigin
from turnout.model.tasks import App
from turnout.model.time import Millis
from turnout.ports.clock import Clock
from turnout.ports.run_store import ScheduleStore

log = logging.getLogger(__name__)

TICK_GRACE: Millis = 15_000
"""How late a provider's tick may be before the slot is started without it."""

EARLY: Millis = 3 * 60 * 1_000
"""How far ahead of this clock a tick may be; vendors start early, and clocks differ."""

SPACING: Millis = 5_000
"""The time between the starts of a schedule's missed slots, so that they are no burst."""


class ScheduleSlots:
    """Starts the runs of slots; needs the store and the emissions, no provider."""

    def __init__(self, *, schedules: ScheduleStore, emissions: Emissions, clock: Clock) -> None:
        self._schedules = schedules
        self._emissions = emissions
        self._clock = clock
        self._decided: dict[str, Millis] = {}
        """By schedule, the moment up to which this process has started all slots that it should."""
        self._unreadable: set[str] = set()

    async def tick(self, call: Tick) -> Ticked:
        """Claim the slot that a provider ticks and start its run, in one transaction.

        Any provider's tick will do; the flag and the routes choose who runs it. A time that is no
        slot of the schedule is answered `removed`, as a slot of an expression that was replaced is;
        a slot too far ahead is answered `paused`, and starts when it is due. A missed slot that is
        not made up is answered `paused`, too.
        """
        owned = next(
            (row for row in await self._schedules.read() if row.schedule.id == call.schedule), None
        )
        if owned is None:
            return Ticked(run_id=None, reason="removed")
        if owned.schedule.paused or call.slot <= owned.since:
            return Ticked(run_id=None, reason="paused")
        refused = self._refused(owned.schedule, call)
        if refused is not None:
            return refused
        late = call.slot < self._clock.now() - PUNCTUAL
        if late and not await self._is_made_up(owned, call.slot):
            return Ticked(run_id=None, reason="paused")
        ticked = await self._start(owned.schedule, call.slot, call.provider, late=late)
        if late:
            # Ticks that were held up come in a burst: the other slots are not to wait for theirs.
            await self.make_up(owned, self._clock.now())
        return ticked

    async def catch_up(self) -> int:
        """Start the slots that no provider has ticked in time; return how many were started.

        A tick can be lost while the service is down, and some providers have no tick where clocks
        change. What becomes of slots that nobody could start is each schedule's `catch_up`.
        """
        started = 0
        for owned in await self._schedules.read():
            self._note_unreadable(owned.schedule)
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
        schedule = owned.schedule
        if schedule.paused or not declares(self._emissions.app, schedule):
            return 0
        due = schedule.due(max(owned.since, self._decided.get(schedule.id, 0)), until)
        if not due:
            return 0
        started = 0
        claimed = await self._schedules.claimed(schedule.id, due[0] - 1)
        missed = schedule.to_make_up(due, claimed, self._clock.now())
        for place, slot in enumerate(missed):
            wait = place * SPACING
            ticked = await self._start(schedule, slot, owned.provider, wait=wait, late=True)
            started += ticked.reason == "started"
        self._decided[schedule.id] = due[-1]
        return started

    async def stored(self) -> Sequence[OwnedSchedule]:
        """Read the schedules of this app, with their owners."""
        stored = await self._schedules.read()
        return [owned for owned in stored if declares(self._emissions.app, owned.schedule)]

    async def to_arm(self, provider: str) -> Sequence[Schedule]:
        """Read the schedules of this app that are to be armed at a provider."""
        return self.to_fire(await self.stored(), provider)

    def to_fire(self, stored: Sequence[OwnedSchedule], provider: str) -> Sequence[Schedule]:
        """List those of the schedules that a provider is to fire.

        An owner keeps a schedule until the next one has it armed.
        """
        return [
            owned.schedule
            for owned in stored
            if provider in (owned.provider, *self._emissions.armed_at(owned.schedule.task))
        ]

    def _refused(self, schedule: Schedule, call: Tick) -> Ticked | None:
        """Say why a tick's time starts nothing; None: it is a slot whose time has come."""
        if isinstance(schedule, UnreadableSchedule):
            raise Unavailable(
                f"schedule {schedule.id!r}: the zone {schedule.zone!r} is not installed here"
            )
        if call.slot > self._clock.now() + EARLY:
            message, reason = "a schedule was ticked too far ahead of its time", "paused"
        elif not schedule.has_slot(call.slot):
            message, reason = "a schedule was ticked at a time that is none of its slots", "removed"
        else:
            return None
        extra = {"action": "tick", "schedule": schedule.id, "provider": call.provider}
        log.warning(message, extra={**extra, "slot": call.slot})
        return Ticked.model_validate({"run_id": None, "reason": reason})

    async def _is_made_up(self, owned: OwnedSchedule, slot: Millis) -> bool:
        """Whether a slot that was missed is to start now, or was started before."""
        now = self._clock.now()
        due = owned.schedule.due(owned.since, now)
        claimed = await self._schedules.claimed(owned.schedule.id, min([slot, *due]) - 1)
        return slot in claimed or slot in owned.schedule.to_make_up(due, claimed, now)

    async def _start(
        self, schedule: Schedule, slot: Millis, provider: str, *, wait: Millis = 0, late: bool
    ) -> Ticked:
        now, origin = self._clock.now(), RunOrigin.CATCH_UP if late else RunOrigin.SLOT
        emission = self._emissions.of_slot(schedule, slot, now, due_at=now + wait, origin=origin)
        return await self._schedules.tick(schedule.id, slot, provider, emission, now)

    def _note_unreadable(self, schedule: Schedule) -> None:
        if isinstance(schedule, UnreadableSchedule) and schedule.id not in self._unreadable:
            self._unreadable.add(schedule.id)
            log.warning(
                "a schedule has a zone that is not installed here; other replicas start its slots",
                extra={"action": "unreadable", "schedule": schedule.id, "zone": schedule.zone},
            )


def declares(app: App, schedule: Schedule) -> bool:
    """Whether the app has the schedule's task."""
    return any(task.id == schedule.task for task in app.tasks)

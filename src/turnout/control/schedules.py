"""Recurring schedules: those in the run store, and those that the providers have armed."""

import asyncio
import logging
from collections.abc import Sequence

from turnout.control.emissions import Emissions
from turnout.control.providers import Providers
from turnout.control.slots import ScheduleSlots
from turnout.errors import PolicyRefused, Unavailable
from turnout.model.schedules import ArmedSchedule, Schedule
from turnout.ports.clock import Clock
from turnout.ports.run_store import ScheduleStore

log = logging.getLogger(__name__)


class Schedules:
    """`SchedulesRecurring`: keeps schedules in the run store and arms them at their providers."""

    def __init__(
        self,
        *,
        schedules: ScheduleStore,
        slots: ScheduleSlots,
        emissions: Emissions,
        providers: Providers,
        clock: Clock,
    ) -> None:
        self._schedules = schedules
        self._slots = slots
        self._emissions = emissions
        self._providers = providers
        self._clock = clock

    async def schedule_recurring(self, schedule: Schedule) -> None:
        """Add the schedule or replace the one of its id; armed at the provider.

        PolicyRefused where the provider cannot fire it exactly; nothing is changed then.
        """
        self._emissions.app.task(schedule.task).read_payload(schedule.payload)
        before = {owned.schedule.id: owned for owned in await self._schedules.read()}
        await self._schedules.put(schedule, self._provider(schedule), self._clock.now())
        try:
            await self.arm_all()
        except PolicyRefused:
            # A refused schedule that stayed in the store would make every later arming fail.
            replaced = before.get(schedule.id)
            if replaced is None:
                await self._schedules.remove(schedule.id)
            else:
                await self._schedules.put(replaced.schedule, replaced.provider, replaced.since)
            raise

    async def unschedule(self, schedule_id: str) -> bool:
        """Remove a schedule; False when there is none of that id."""
        removed = await self._schedules.remove(schedule_id)
        await self.arm_all()
        return removed

    async def schedules(self) -> Sequence[Schedule]:
        """List the schedules in the run store."""
        return [owned.schedule for owned in await self._schedules.read()]

    async def armed(self) -> Sequence[ArmedSchedule]:
        """List what the selected providers' runtimes will fire."""
        lists = await asyncio.gather(*(caller.armed() for caller in self._providers.selected()))
        return [schedule for armed in lists for schedule in armed]

    async def arm_all(self) -> None:
        """Make every provider's armed schedules those that it owns.

        A provider that gets no new runs may be away: what it still fires is refused at its tick.
        """
        for name in self._providers.callers:
            try:
                await self.arm(name)
            except Unavailable as error:
                if name in self._providers.selection.names:
                    raise
                log.warning(
                    "schedules not disarmed at a provider that gets no new runs",
                    extra={"action": "arm", "provider": name, "error": str(error)},
                )

    async def arm(self, name: str) -> None:
        """Make one provider's armed schedules those that it owns."""
        await self._providers.caller(name).arm(await self._slots.owned_by(name))

    async def declare(self, schedule: Schedule) -> None:
        """Store a schedule of the code, unless it is stored as it is: then its slots go on.

        A new owner starts only slots from the time when it became the owner. So a slot of the last
        owner whose tick was lost is started before the change.
        """
        provider = self._provider(schedule)
        now = self._clock.now()
        for owned in await self._schedules.read():
            if owned.schedule == schedule and owned.provider == provider:
                return
            if owned.schedule == schedule:
                await self._slots.make_up(owned, now)
        await self._schedules.put(schedule, provider, now)

    def _provider(self, schedule: Schedule) -> str:
        return self._emissions.choice(schedule.task, sticky=schedule.id).provider

"""Recurring schedules: those in the run store, and those that the providers have armed."""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from turnout.control.emissions import Emissions
from turnout.control.flag import FlagGeneration
from turnout.control.providers import Providers
from turnout.control.slots import ScheduleSlots
from turnout.errors import FailureLog, PolicyRefused, Unavailable
from turnout.model.schedules import ArmedSchedule, OwnedSchedule, Schedule
from turnout.ports.clock import Clock
from turnout.ports.run_store import ScheduleStore

log = logging.getLogger(__name__)


class Schedules:
    """`SchedulesRecurring`: keeps schedules in the run store and arms them at their providers.

    A schedule's owner is the provider where the flag and the routes last had it armed. When they
    name another one, that is armed first. It then becomes the owner, and the last one is disarmed.
    """

    def __init__(
        self,
        *,
        schedules: ScheduleStore,
        slots: ScheduleSlots,
        emissions: Emissions,
        providers: Providers,
        flag: FlagGeneration,
        clock: Clock,
    ) -> None:
        self._schedules = schedules
        self._slots = slots
        self._emissions = emissions
        self._providers = providers
        self._flag = flag
        self._clock = clock
        self._armed: dict[str, Sequence[Schedule]] = {}
        """What this process last armed at each provider."""
        self._arming: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """One at a time per provider: a slow call must not put an older list over a newer one."""
        self._asked: Counter[str] = Counter()
        self._done: Counter[str] = Counter()
        """How often each provider was to be armed, and how many of these the last list serves."""
        self._outdated = False

    async def schedule_recurring(self, schedule: Schedule) -> None:
        """Add the schedule or replace the one of its id; armed at the provider.

        PolicyRefused where the provider cannot fire it exactly; nothing is changed then.
        """
        self._emissions.app.task(schedule.task).read_payload(schedule.payload)
        stored = {owned.schedule.id: owned for owned in await self._schedules.read()}
        replaced = stored.get(schedule.id)
        await self._put(schedule, replaced)
        try:
            await self.arm_all()
        except PolicyRefused:
            # A refused schedule that stayed in the store would make every later arming fail.
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
        """List what the selected providers' runtimes will fire, each schedule once."""
        lists = await asyncio.gather(*(caller.armed() for caller in self._providers.selected()))
        by_id = {schedule.id: schedule for armed in reversed(lists) for schedule in armed}
        return list(by_id.values())

    async def arm_all(self) -> None:
        """Make every provider's armed schedules those that it is to fire, new owners first.

        A provider that gets no new runs may be away: what it still fires is claimed only once.
        """
        selected = self._providers.selection.names
        await self._emissions.refresh_routes()
        for name in sorted(self._providers.callers, key=lambda name: name not in selected):
            try:
                await self.arm(name)
            except Unavailable as error:
                if name in selected:
                    raise
                log.warning(
                    "schedules not disarmed at a provider that gets no new runs",
                    extra={"action": "arm", "provider": name, "error": str(error)},
                )

    async def arm(self, name: str) -> None:
        """Make one provider's armed schedules those that it is to fire, and it their owner.

        Nothing is done where replicas have started with another flag since this process did. Calls
        that come while one is under way are served together by the next.
        """
        if not await self._flag.is_latest():
            self._log_outdated()
            return
        self._asked[name] += 1
        own = self._asked[name]
        async with self._arming[name]:
            if self._done[name] >= own:
                return
            serves = self._asked[name]
            schedules = await self._slots.to_arm(name)
            await self._providers.caller(name).arm(schedules)
            self._armed[name] = schedules
            self._done[name] = serves
        for schedule in self._moving_to(await self._slots.stored(), name):
            if schedule in schedules:
                await self._schedules.change_owner(schedule.id, name)

    async def arm_changed(self, ready: Callable[[str], bool], *, force: bool) -> None:
        """Arm the schedules of each ready provider where they differ from what was armed last.

        force: also where they do not; another process may have armed something else since.
        """
        for name in filter(ready, self._providers.callers):
            message = "schedules not armed at a provider; tried again"
            with FailureLog(log, message, action="arm", subject=name):
                stored = await self._slots.stored()
                changed = self._armed.get(name) != self._slots.to_fire(stored, name)
                if force or changed or self._moving_to(stored, name):
                    await self.arm(name)

    async def declare_all(self, schedules: Sequence[Schedule]) -> None:
        """Store the schedules of the code; one that is stored as it is goes on with its slots.

        Nothing is stored where replicas run with another flag than this process.
        """
        stored = {owned.schedule.id: owned for owned in await self._schedules.read()}
        changed = [
            schedule
            for schedule in schedules
            if schedule.id not in stored or stored[schedule.id].schedule != schedule
        ]
        if changed and await self._flag.is_latest():
            for schedule in changed:
                await self._put(schedule, stored.get(schedule.id))

    async def _put(self, schedule: Schedule, replaced: OwnedSchedule | None) -> None:
        """Store a schedule; the missed slots of the one that it replaces are started first."""
        await self._emissions.refresh_routes()
        now = self._clock.now()
        if replaced is not None and replaced.schedule != schedule:
            await self._slots.make_up(replaced, now)
        provider = self._next_owner(schedule) if replaced is None else replaced.provider
        await self._schedules.put(schedule, provider, now)

    def _moving_to(self, stored: Sequence[OwnedSchedule], name: str) -> Sequence[Schedule]:
        """List the schedules of other owners that this provider is to own."""
        return [
            owned.schedule
            for owned in stored
            if owned.provider != name and self._next_owner(owned.schedule) == name
        ]

    def _log_outdated(self) -> None:
        if not self._outdated:
            self._outdated = True
            log.warning(
                "schedules are no longer armed here: replicas have started with another flag",
                extra={"action": "outdated_flag", "flag": str(self._providers.selection)},
            )

    def _next_owner(self, schedule: Schedule) -> str:
        return self._emissions.armed_at(schedule.task)[0]

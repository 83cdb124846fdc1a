"""Fires cron triggers at their due times.

What fell due while the server was down, or the machine slept, is not made up for. A clock that a
test turns forward fires every slot on the way.
"""

import secrets
from collections.abc import Callable

from turnout_inngest_double import crons
from turnout_inngest_double.clock import Clock
from turnout_inngest_double.functions import Function, Trigger
from turnout_inngest_double.scheduler import Alarm, Scheduler
from turnout_inngest_double.world import World

_LATE_MS = 60_000

Tick = Callable[[Function, str, int], None]
"""Called with the function, its cron as registered, and the nominal moment."""


class CronRunner:
    """One alarm for each cron that is registered."""

    def __init__(
        self, world: World, clock: Clock, scheduler: Scheduler, tick: Tick, *, every_slot: bool
    ) -> None:
        self._world = world
        self._clock = clock
        self._scheduler = scheduler
        self._tick = tick
        self._every_slot = every_slot
        self._alarms: dict[tuple[str, str], Alarm] = {}

    def arm_all(self) -> None:
        """Arm exactly the crons that are registered now; those already armed are left alone."""
        registered = {
            (function.slug, trigger.cron): trigger
            for function in self._world.live_functions()
            for trigger in function.triggers
            if trigger.cron is not None
        }
        for key in [key for key in self._alarms if key not in registered]:
            self._alarms.pop(key).cancel()
        for (slug, cron), trigger in registered.items():
            if (slug, cron) not in self._alarms and cron is not None:
                self._arm(slug, cron, trigger, self._clock.now())

    def _arm(self, slug: str, cron: str, trigger: Trigger, after: int) -> None:
        slot = crons.next_time(cron, after)
        at = slot + (secrets.randbelow(trigger.jitter_ms) if trigger.jitter_ms else 0)
        self._alarms[slug, cron] = self._scheduler.at(
            at, lambda: self._fire(slug, cron, trigger, slot)
        )

    def _fire(self, slug: str, cron: str, trigger: Trigger, slot: int) -> None:
        after = slot if self._every_slot else max(slot, self._clock.now() - _LATE_MS)
        self._arm(slug, cron, trigger, after)
        self._tick(self._world.functions[slug], cron, slot)

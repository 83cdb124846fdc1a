"""Calls something at a moment: one timer for the earliest, none when there is nothing to do."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from turnout_inngest_double.clock import Clock

_MAX_DELAY_S = 3_600.0


@dataclass(order=True)
class Alarm:
    """Something due at a moment; `cancel` it and it never rings."""

    at: int
    order: int
    ring: Callable[[], None] | None = field(compare=False)

    def cancel(self) -> None:
        """Take the alarm back; nothing if it has rung."""
        self.ring = None


class Scheduler:
    """Rings alarms in order of their moment. The clock may jump: then say `recheck`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._alarms: list[Alarm] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    def at(self, moment: int, ring: Callable[[], None]) -> Alarm:
        """Ring at the moment, or as soon as possible when it has passed."""
        alarm = Alarm(moment, next(self._order), ring)
        heapq.heappush(self._alarms, alarm)
        if self._alarms[0] is alarm:
            self._arm()
        return alarm

    def recheck(self) -> None:
        """Look at the clock again, after a test has moved it."""
        self._arm()

    def close(self) -> None:
        """Cancel every alarm."""
        if self._timer is not None:
            self._timer.cancel()
        self._alarms.clear()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._alarms and self._alarms[0].ring is None:
            heapq.heappop(self._alarms)
        if self._alarms:
            delay = max(0.0, (self._alarms[0].at - self._clock.now()) / 1000)
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(delay, _MAX_DELAY_S), self._ring_due)

    def _ring_due(self) -> None:
        self._timer = None
        now = self._clock.now()
        while self._alarms and (self._alarms[0].ring is None or self._alarms[0].at <= now):
            alarm = heapq.heappop(self._alarms)
            if alarm.ring is not None:
                ring, alarm.ring = alarm.ring, None
                ring()
        self._arm()

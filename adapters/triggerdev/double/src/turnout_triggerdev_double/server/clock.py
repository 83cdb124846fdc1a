"""The server's time, in milliseconds, and the alarms that depend on it."""

import asyncio
import heapq
import time
from collections.abc import Callable
from itertools import count
from typing import Protocol


class ServerClock(Protocol):
    """What time it is, and how long until a moment comes."""

    def now(self) -> int:
        """Milliseconds since the epoch."""

    def delay(self, due: int) -> float | None:
        """Real seconds until `due`; None when only a turn of the clock can bring it."""


class OffsetClock:
    """The machine's clock, which may be turned forward by an offset."""

    def __init__(self) -> None:
        self._offset = 0

    def now(self) -> int:
        """Milliseconds since the epoch, the offset included."""
        return time.time_ns() // 1_000_000 + self._offset

    def delay(self, due: int) -> float | None:
        """Real seconds until `due`."""
        return max(0.0, (due - self.now()) / 1000)

    def turn(self, milliseconds: int) -> None:
        """Move the clock forward."""
        self._offset += milliseconds


class FrozenClock:
    """A clock that moves only when it is turned."""

    def __init__(self, now: int) -> None:
        self._now = now

    def now(self) -> int:
        """The moment it was last turned to."""
        return self._now

    def delay(self, due: int) -> float | None:
        """None for a moment in the future: only turning the clock brings it."""
        return 0.0 if due <= self._now else None

    def turn(self, milliseconds: int) -> None:
        """Move the clock forward."""
        self._now += milliseconds


class Alarms:
    """Calls functions when their time comes, in order; overdue ones at once.

    An alarm is a hint: the called function reads the records and decides whether anything is due.
    """

    def __init__(self, clock: ServerClock) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = count()
        self._changed = asyncio.Event()

    def at(self, due: int, ring: Callable[[], None]) -> None:
        """Call `ring` at `due`."""
        first = not self._heap or due < self._heap[0][0]
        heapq.heappush(self._heap, (due, next(self._numbers), ring))
        if first:
            self._changed.set()

    def ring_due(self) -> None:
        """Call every function that is due."""
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2]()

    def turned(self) -> None:
        """Call what has become due by turning the clock."""
        self.ring_due()
        self._changed.set()

    async def run(self) -> None:
        """Call functions when they are due, until cancelled."""
        while True:
            self._changed.clear()
            self.ring_due()
            delay = self._clock.delay(self._heap[0][0]) if self._heap else None
            try:
                async with asyncio.timeout(delay):
                    await self._changed.wait()
            except TimeoutError:
                continue

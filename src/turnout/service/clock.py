"""The clocks of a process: the machine's, and the one that all of its parts use."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from turnout.model.time import Millis
from turnout.ports.clock import Clock
from turnout.pump.failures import logged

INTERVAL: Final = 5.0
"""Seconds between two readings of the database's clock."""
STALE: Final[Millis] = 60_000
"""How long a reading is valid in a process that does not read the clock regularly."""
JUMP: Final[Millis] = 1_000
"""A correction of more is logged."""

log = logging.getLogger(__name__)


def _monotonic() -> Millis:
    return time.monotonic_ns() // 1_000_000


class SystemClock:
    """A `Clock` that tells the machine's time."""

    def now(self) -> Millis:
        """Tell the time."""
        return time.time_ns() // 1_000_000

    async def sleep(self, duration: Millis) -> None:
        """Wait."""
        await asyncio.sleep(duration / 1_000)


class ReplicaClock:
    """A `Clock` that agrees with those of all other processes on the same run store.

    It runs on monotonically from the database's time, which it reads again and again; so neither a
    wrong clock of this machine nor a step of it is seen. Where the database has no clock of its own
    (SQLite), the machine's is read.
    """

    def __init__(
        self,
        database_time: Callable[[], Awaitable[Millis | None]],
        machine: Clock | None = None,
        *,
        monotonic: Callable[[], Millis] = _monotonic,
    ) -> None:
        """database_time: None where the database has no clock.

        machine: in place of the system's clock; where the database has none, it is used as it is.
        """
        self._database_time = database_time
        self._machine = machine or SystemClock()
        self._monotonic = monotonic
        self._offset = None if machine is not None else self._machine.now() - monotonic()
        """What is added to the monotonic time; None: the machine's clock is used as it is."""
        self._not_before: Millis | None = None
        """Where the clock was when it was last corrected a little: it stands there until then."""
        self._read_at: Millis | None = None
        """When it was last read, in monotonic time."""
        self.machine_ahead: Millis | None = None
        """By how much the machine's clock was ahead at the last reading; None before the first."""

    def now(self) -> Millis:
        """Tell the time."""
        now = self._uncorrected()
        return now if self._not_before is None else max(now, self._not_before)

    async def sleep(self, duration: Millis) -> None:
        """Wait."""
        await self._machine.sleep(duration)

    async def read(self) -> None:
        """Read the database's clock, and go by it from now on."""
        before = self._monotonic()
        reading = await self._database_time()
        self._read_at = before
        if reading is None and self._offset is None:
            self.machine_ahead = 0
            return
        if reading is None:
            reading, before = self._machine.now(), self._monotonic()
        after = self._monotonic()
        error = (after - before + 1) // 2
        self._correct(reading + error, after, error)
        self.machine_ahead = self._machine.now() - self.now()

    async def refresh(self) -> None:
        """Read the database's clock unless that was done within STALE."""
        if self._read_at is None or self._monotonic() - self._read_at > STALE:
            await self.read()

    async def keep_reading(self) -> None:
        """Read the database's clock at every interval, for ever."""
        while True:
            await asyncio.sleep(INTERVAL)
            with logged("read the clock", "replica"):
                await self.read()

    def _uncorrected(self) -> Millis:
        return self._machine.now() if self._offset is None else self._monotonic() + self._offset

    def _correct(self, now: Millis, ticks: Millis, error: Millis) -> None:
        """Be at this time at these ticks; what may be the error of a reading is no correction."""
        was = self.now()
        correction = now - self._uncorrected()
        if self._offset is not None and abs(correction) <= error:
            return
        # A small correction back stops the clock for a moment, so that no time comes twice.
        self._not_before = was if abs(correction) <= JUMP else None
        self._offset = now - ticks
        if abs(correction) > JUMP:
            log.warning(
                "the clock of this process was set to the run store's",
                extra={"action": "clock_set", "correction_ms": correction, "was": was},
            )

"""The clock that the core uses."""

import asyncio
from typing import Protocol

from turnout.model.time import Millis


class Clock(Protocol):
    """Tells the time and waits: the machine's clock, or one that a test sets."""

    def now(self) -> Millis:
        """Tell the time, in milliseconds since the epoch."""
        ...

    async def sleep(self, duration: Millis) -> None:
        """Return when that much time has passed on this clock."""
        ...


async def happened(event: asyncio.Event, clock: Clock, within: Millis) -> bool:
    """Wait for an event, at most so long on the clock; True if it happened."""
    waits = (asyncio.ensure_future(event.wait()), asyncio.ensure_future(clock.sleep(within)))
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    return event.is_set()

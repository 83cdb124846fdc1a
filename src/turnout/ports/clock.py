"""Time, as the core sees it."""

from typing import Protocol

from turnout.model.time import Millis


class Clock(Protocol):
    """Tells the time and waits. The machine's clock, or one that tests turn."""

    def now(self) -> Millis:
        """Tell the time, in milliseconds since the epoch."""
        ...

    async def sleep(self, duration: Millis) -> None:
        """Return when that much time has passed on this clock."""
        ...

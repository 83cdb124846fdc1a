"""The machine's clock."""

import asyncio
import time

from turnout.model.time import Millis


class SystemClock:
    """A `Clock` that tells the machine's time."""

    def now(self) -> Millis:
        """Tell the time."""
        return time.time_ns() // 1_000_000

    async def sleep(self, duration: Millis) -> None:
        """Wait."""
        await asyncio.sleep(duration / 1_000)

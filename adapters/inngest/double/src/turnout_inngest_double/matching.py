"""What it costs the server to compare events with waits: time in which it calls no application.

The vendor's server compares an event with the open waits of its name: one by one, or by an index
where there are many and their expressions can be indexed. A double that compared for nothing would
hide from those who send such events that a few hundred waits of one name and some events a second
hold up all applications. So this one has no index.
"""

import asyncio
import time
from typing import Final

COST_S: Final = 50e-6
"""Seconds for one comparison."""


class Matching:
    """Counts comparisons, and holds calls back until the server would be done with them."""

    def __init__(self, cost_s: float = COST_S) -> None:
        self.comparisons = 0
        self._cost_s = cost_s
        self._busy_until = 0.0

    def compare(self, waits: int) -> None:
        """Have an event compared with so many waits."""
        self.comparisons += waits
        self._busy_until = max(self._busy_until, time.monotonic()) + waits * self._cost_s

    async def done(self) -> None:
        """Wait until all comparisons so far are made."""
        await asyncio.sleep(max(0.0, self._busy_until - time.monotonic()))

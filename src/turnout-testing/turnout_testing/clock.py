"""A clock that tests set."""

import asyncio
import heapq
from itertools import count

from turnout.model.time import Duration, Millis, millis


class TurnableClock:
    """Stands still until a test turns it; then sleepers wake in order of time.

    It satisfies the port `Clock`. It belongs to one event loop.
    """

    def __init__(self, now: Millis = 1_767_225_600_000) -> None:
        self._now = now
        self._sleepers: list[tuple[Millis, int, asyncio.Future[None]]] = []
        self._order = count()

    def now(self) -> Millis:
        """Return the time to which the clock was turned last."""
        return self._now

    async def sleep(self, duration: Millis) -> None:
        """Return once the clock has been turned that far; at once for a duration of 0."""
        if duration <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + duration, next(self._order), woken))
        await woken

    async def advance(self, duration: Duration) -> None:
        """Turn the clock forward, and let each sleeper that wakes run until it waits again."""
        await self.turn_to(self._now + millis(duration))

    async def turn_to(self, moment: Millis) -> None:
        """Turn the clock forward to a moment; it never goes back."""
        await settle()
        while self._sleepers and self._sleepers[0][0] <= moment:
            at, _, woken = heapq.heappop(self._sleepers)
            self._now = max(self._now, at)
            if not woken.done():
                woken.set_result(None)
                await settle()
        self._now = max(self._now, moment)
        await settle()

    def next_sleeper(self) -> Millis | None:
        """Return when the next sleeper wakes; None when there is none."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    async def skip(self) -> bool:
        """Turn the clock to the moment of the next sleeper; False when there is none."""
        at = self.next_sleeper()
        if at is None:
            return False
        await self.turn_to(at)
        return True


async def settle(rounds: int = 10) -> None:
    """Let the loop's other tasks go on until they wait for something."""
    for _ in range(rounds):
        await asyncio.sleep(0)

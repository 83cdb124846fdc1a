"""How long to pause, at the least, before the service is asked again."""

import time
from collections.abc import Callable

from turnout_triggerdev_double.standin.messages import NextAnswer

LONGEST = 2.0
LONG = 2 * LONGEST
"""Seconds; after a longer wait the pause starts from the beginning."""


class Pauses:
    """Doubles the pause while the answer stays the same.

    The service decides by its own clock when a wait is over. If this machine's clock is ahead, the
    wait is over here but not there, and the service answers with the same wait again: without a
    pause, this would be a busy loop.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._last_wait: tuple[int, int | None] | None = None
        self._times = 0
        self._at = 0.0

    def least(self, answer: NextAnswer, first: float) -> float:
        """Seconds for this answer; `first` when it is another answer than the last one."""
        wait = (answer.seq, None if answer.park is None else answer.park.until)
        repeated = wait == self._last_wait and self._now() - self._at < LONG
        self._times = self._times + 1 if repeated else 0
        self._last_wait, self._at = wait, self._now()
        grown: float = first * 2 ** min(self._times, 16)
        return max(first, min(LONGEST, grown))

    @property
    def is_repeated(self) -> bool:
        """Whether the last answer was the same as the one before it, and came soon after it."""
        return self._times > 0

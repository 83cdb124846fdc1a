"""The server's clock, which a test may move."""

import time


class Clock:
    """Wall time in milliseconds plus an offset that only a test moves.

    The application keeps its own clock, so moments that it sends (the end of a sleep, retry-after,
    the time of an event) are read by `received`, which shifts them by the same offset.
    """

    def __init__(self) -> None:
        self._offset = 0

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return time.time_ns() // 1_000_000 + self._offset

    def received(self, ms: int) -> int:
        """A moment of the application's clock on ours."""
        return ms + self._offset

    def advance(self, ms: int) -> None:
        """Let time pass."""
        self._offset += ms

"""When the next request may go: what the server says of its limits, kept for all requests.

Source: recorded answers of a self-hosted 4.5.12 server. Every limited answer has
`x-ratelimit-remaining` and `x-ratelimit-reset` (milliseconds since the epoch); a 429 has no
Retry-After header, but `secondsUntilReset` in its body.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from turnout.errors import ProviderUnavailable
from turnout.model.time import Millis
from turnout.ports.clock import Clock

LONGEST_PAUSE: Final[Millis] = 60_000
LONGEST_GUESS: Final[Millis] = 10_000
"""A reset is a moment by the server's clock, so what is read from it is bounded."""
SHORTEST_PAUSE: Final[Millis] = 200
UNTOLD_PAUSE: Final[Millis] = 5_000
PATIENCE: Final[Millis] = 15_000
"""A request waits so long for its turn; beyond that, its caller is told when to come again."""


class RateGate:
    """Holds requests back while the server has said that it would refuse them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._opens_at: Millis = 0

    async def passed(self) -> None:
        """Return when a request may go. Raises ProviderUnavailable, with the time to wait."""
        while (pause := self._opens_at - self._clock.now()) > 0:
            if pause > PATIENCE:
                raise ProviderUnavailable(
                    "triggerdev: its rate limit is used up",
                    retry_after=timedelta(milliseconds=pause),
                )
            await self._clock.sleep(pause)

    def used_up(self, headers: Mapping[str, str]) -> None:
        """Close until the reset if an answer was the last that the limit allows."""
        if headers.get("x-ratelimit-remaining") != "0":
            return
        reset = headers.get("x-ratelimit-reset", "")
        if reset.isdecimal():
            now = self._clock.now()
            self._close(min(int(reset) - now, LONGEST_GUESS))

    def refused(self, body: Any) -> timedelta:
        """Close for as long as a 429 says; returns how long that is."""
        pause = _pause_of(body)
        self._close(pause)
        return timedelta(milliseconds=pause)

    def _close(self, pause: Millis) -> None:
        self._opens_at = max(self._opens_at, self._clock.now() + pause)


def _pause_of(body: Any) -> Millis:
    seconds = body.get("secondsUntilReset") if isinstance(body, dict) else None
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return UNTOLD_PAUSE
    return int(min(max(seconds * 1_000, SHORTEST_PAUSE), LONGEST_PAUSE))

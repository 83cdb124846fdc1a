"""The server's rate limit: when the next request may be sent.

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
"""The reset is a time by the server's clock, which may be wrong; so the pause is bounded."""
SHORTEST_PAUSE: Final[Millis] = 200
UNTOLD_PAUSE: Final[Millis] = 5_000
PATIENCE: Final[Millis] = 15_000
"""How long a request waits here; a longer pause is left to the caller, as `retry_after`."""


class RateGate:
    """Holds requests back while the server would refuse them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._opens_at: Millis = 0

    async def passed(self) -> None:
        """Return when a request may be sent; ProviderUnavailable says how long to wait."""
        while (pause := self._opens_at - self._clock.now()) > 0:
            if pause > PATIENCE:
                raise ProviderUnavailable(
                    "triggerdev: its rate limit is used up",
                    retry_after=timedelta(milliseconds=pause),
                )
            await self._clock.sleep(pause)

    def used_up(self, headers: Mapping[str, str]) -> None:
        """Close the gate until the reset if the limit allows no further request."""
        if headers.get("x-ratelimit-remaining") != "0":
            return
        reset = headers.get("x-ratelimit-reset", "")
        if reset.isdecimal():
            now = self._clock.now()
            self._close(min(int(reset) - now, LONGEST_GUESS))

    def refused(self, body: Any) -> timedelta:
        """Close the gate for as long as a 429 says, and return how long that is."""
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

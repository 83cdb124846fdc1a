"""A token bucket: how many calls of a kind a provider gets each second, and at once."""

from turnout.model.time import Millis


class Flow:
    """Tokens of one provider: each call takes one, and time brings them back."""

    def __init__(self, rate: int, burst: int) -> None:
        """rate: tokens each second. burst: the most that gather."""
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._at: Millis | None = None
        self._closed_until: Millis = 0

    def take(self, count: int, now: Millis) -> int:
        """Take up to so many tokens; return how many there were."""
        if now < self._closed_until:
            return 0
        passed = 0 if self._at is None else max(0, now - self._at)
        self._at = now
        self._tokens = min(self._burst, self._tokens + passed * self._rate / 1_000)
        granted = min(count, int(self._tokens))
        self._tokens -= granted
        return granted

    def close(self, until: Millis) -> None:
        """Give no token before that time: the provider did not answer, or asks for a pause."""
        self._closed_until = until

    def wait(self, place: int, now: Millis) -> Millis:
        """Return in how many milliseconds the call at this place (from 0) of those left may go."""
        return max(0, self._closed_until - now) + (place + 1) * 1_000 // self._rate

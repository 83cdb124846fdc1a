"""Token buckets: how many calls a key may make, and the headers that say so."""

from dataclasses import dataclass

from turnout_triggerdev_double.server.errors import ApiRefusal, problem


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """`size` calls at once, `refill` more every `interval` milliseconds."""

    size: int
    refill: int
    interval: int


GENEROUS = RateLimit(size=1_000_000, refill=1_000_000, interval=1000)
REAL = RateLimit(size=750, refill=250, interval=10_000)
"""What a self-hosted server of the vendor allows by default."""


def rate(text: str) -> RateLimit:
    """`750/250/10` (size, refill, seconds), `real` or `off`."""
    named = {"off": GENEROUS, "real": REAL}
    if text in named:
        return named[text]
    size, refill, seconds = text.split("/")
    return RateLimit(size=int(size), refill=int(refill), interval=round(float(seconds) * 1000))


class TokenBuckets:
    """One bucket a key."""

    def __init__(self, allowed: RateLimit) -> None:
        self._allowed = allowed
        self._buckets: dict[str, tuple[int, int]] = {}

    def take(self, key: str, now: int) -> dict[str, str]:
        """Count one call and return the headers of its answer. Refuses with 429."""
        allowed = self._allowed
        remaining, since = self._buckets.get(key, (allowed.size, now))
        intervals = (now - since) // allowed.interval
        if intervals > 0:
            remaining = min(allowed.size, remaining + intervals * allowed.refill)
            since += intervals * allowed.interval
        reset = since + allowed.interval
        if remaining <= 0:
            self._buckets[key] = (remaining, since)
            raise self._limited(reset, now)
        self._buckets[key] = (remaining - 1, since)
        return self._headers(remaining - 1, reset)

    def _headers(self, remaining: int, reset: int) -> dict[str, str]:
        return {
            "x-ratelimit-limit": str(self._allowed.size),
            "x-ratelimit-remaining": str(remaining),
            "x-ratelimit-reset": str(reset),
        }

    def _limited(self, reset: int, now: int) -> ApiRefusal:
        seconds = (reset - now) / 1000
        size = self._allowed.size
        detail = f"Rate limit exceeded 0/{size} requests remaining. Retry in {seconds} seconds."
        refusal = problem(
            429,
            "Rate Limit Exceeded",
            detail,
            reset=reset,
            limit=size,
            remaining=-1,
            secondsUntilReset=seconds,
        )
        refusal.headers |= self._headers(0, reset)
        return refusal

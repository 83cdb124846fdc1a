"""The time of the next attempt after a failed one."""

import secrets

from turnout_inngest_double.clock import Clock
from turnout_inngest_double.outcome import Failed

TABLE_S = (15, 30, 60, 120, 300, 600, 1_200, 2_400, 3_600, 7_200)
"""The vendor's delays after the first, second … failure; up to 30 s of jitter are added."""
JITTER_MS = 30_000
MAX_RETRY_AFTER_MS = 86_400_000


def retry_at(failed: Failed | None, attempt: int, clock: Clock, interval_s: int | None) -> int:
    """The moment of the next attempt; `attempt` counts from zero and has just failed."""
    now = clock.now()
    requested = _requested_at(failed, clock)
    if requested is not None:
        # Like the vendor: not before the next whole second, not later than a day.
        return min(max(requested, now // 1000 * 1000 + 1000), now + MAX_RETRY_AFTER_MS)
    if interval_s is not None:
        return now + interval_s * 1000
    delay = TABLE_S[min(attempt, len(TABLE_S) - 1)] * 1000
    return now + delay + secrets.randbelow(JITTER_MS)


def _requested_at(failed: Failed | None, clock: Clock) -> int | None:
    if failed is None:
        return None
    if failed.retry_after_ms is not None:
        return clock.now() + failed.retry_after_ms
    return None if failed.retry_at_ms is None else clock.received(failed.retry_at_ms)

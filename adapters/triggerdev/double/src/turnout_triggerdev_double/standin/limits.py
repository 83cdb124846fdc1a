"""The server's rate limits: a refused request is sent again when the server allows it.

A server counts in buckets (4.5.12: `/api`, `/engine` and, apart from them, deployments). Every
counted answer has `x-ratelimit-remaining` and `x-ratelimit-reset` (milliseconds since the epoch,
by the server's clock); a 429 says it again in its body, `secondsUntilReset`, and has no Retry-After
header, which is followed all the same.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime

from turnout_triggerdev_double.standin.http_client import HttpAnswer

LIMITED = 429
SHORTEST, UNTOLD, LONGEST = 0.2, 5.0, 60.0
"""Seconds of a pause: at least, where the server does not say, and at most."""
SPREAD = 0.25
"""Waiting requests are spread over this part of the pause, so that they do not come at once."""
log = logging.getLogger("turnout_triggerdev_double.standin")


class ServerLimits:
    """When requests may be sent, for each of the server's buckets."""

    def __init__(self) -> None:
        self._opens_at: dict[str, float] = {}

    async def within_limits(
        self, path: str, ask: Callable[[], Awaitable[HttpAnswer]]
    ) -> HttpAnswer:
        """Send until the answer is no 429; a refused request had no effect, so none is doubled."""
        bucket = path.split("/", 2)[1]
        while True:
            await self._passed(bucket)
            answer = await ask()
            if answer.status != LIMITED:
                self._used_up(bucket, answer)
                return answer
            pause = pause_of(answer)
            log.warning("held back by the server", extra={"action": "limit", "seconds": pause})
            self._close(bucket, pause)

    async def _passed(self, bucket: str) -> None:
        while True:
            seconds = self._opens_at.get(bucket, 0.0) - time.monotonic()
            if seconds <= 0:
                return
            await asyncio.sleep(seconds * (1 + SPREAD * random.random()))  # noqa: S311 only spreads

    def _used_up(self, bucket: str, answer: HttpAnswer) -> None:
        """Close if this was the last request that the limit allows."""
        if answer.headers.get("x-ratelimit-remaining") == "0":
            self._close(bucket, pause_of(answer))

    def _close(self, bucket: str, pause: float) -> None:
        self._opens_at[bucket] = max(self._opens_at.get(bucket, 0.0), time.monotonic() + pause)


def pause_of(answer: HttpAnswer) -> float:
    """Seconds until the server will take requests again, as it says, within bounds."""
    advice = (
        _number(answer.headers.get("retry-after")),
        _number(answer.fields().get("secondsUntilReset")),
        _until_reset(answer),
    )
    seconds = next((value for value in advice if value is not None), UNTOLD)
    return min(max(seconds, SHORTEST), LONGEST)


def _until_reset(answer: HttpAnswer) -> float | None:
    """Seconds until the reset; both the reset and the answer's date are by the server's clock."""
    reset = _number(answer.headers.get("x-ratelimit-reset"))
    if reset is None:
        return None
    try:
        now = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except ValueError:
        now = time.time()
    return reset / 1000 - now


def _number(value: object) -> float | None:
    if isinstance(value, str):
        return float(value) if value.isdecimal() else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

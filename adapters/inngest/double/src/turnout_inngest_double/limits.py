"""Counters of idempotency, rate limits and throttles, kept over restarts."""

from collections import deque
from typing import Any

from turnout_inngest_double.functions import DAY_MS, Rate
from turnout_inngest_double.store import Store


class Limits:
    """Remembers what was seen and when; forgets what has run out."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._expiries: dict[str, int] = {}
        self._rates: dict[str, list[int]] = {}
        self._throttles: dict[str, float] = {}
        self._order: deque[tuple[int, str]] = deque()

    def load(self) -> None:
        """Read back what was counted before a restart."""
        for doc in self._store.load("seen"):
            self._expiries[doc["key"]] = doc["until"]
            self._order.append((doc["until"], doc["key"]))
        self._order = deque(sorted(self._order))
        self._rates = {doc["key"]: doc["times"] for doc in self._store.load("rate")}
        self._throttles = {doc["key"]: doc["next"] for doc in self._store.load("throttle")}

    def is_first(self, key: str, now: int) -> bool:
        """Whether the key was not seen in the last 24 hours; it is seen from now on."""
        self._expire(now)
        if self._expiries.get(key, 0) > now:
            return False
        until = now + DAY_MS
        self._expiries[key] = until
        self._order.append((until, key))
        self._store.mark("seen", key, lambda: {"key": key, "until": until})
        return True

    def _expire(self, now: int) -> None:
        while self._order and self._order[0][0] <= now:
            _, key = self._order.popleft()
            if self._expiries.get(key, 0) <= now:
                self._expiries.pop(key, None)
                self._store.forget("seen", key)

    def is_within(self, rate: Rate, key: str, now: int) -> bool:
        """Whether one more fits into the period that ends now; it is counted if so."""
        times = [at for at in self._rates.get(key, ()) if at > now - rate.period_ms]
        fits = len(times) < rate.limit
        if fits:
            times.append(now)
        self._rates[key] = times
        self._store.mark("rate", key, lambda: {"key": key, "times": times})
        return fits

    def start_time(self, rate: Rate, key: str, now: int) -> int:
        """When the next start of the key may be: `limit` a period, `burst` of them at once."""
        interval = rate.period_ms / rate.limit
        slack = interval * max(rate.burst, 1) - interval
        ideal = max(self._throttles.get(key, 0.0), now - slack)
        self._throttles[key] = ideal + interval
        doc: dict[str, Any] = {"key": key, "next": ideal + interval}
        self._store.mark("throttle", key, lambda: doc)
        return max(now, round(ideal))

"""Which of the waiting runs and calls may go now, under limits by key."""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass

ConcurrencySlot = tuple[Hashable, int]
"""A key, and how many may hold it at a time."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A run or a call that waits for its slots."""

    slots: tuple[ConcurrencySlot, ...]
    go: Callable[[], bool]
    """Called holding the slots; False gives them back at once."""


class Capacity:
    """Grants all of a caller's slots at once, or queues it at the first that is full.

    Order is by the given rank, then by arrival. Whoever waits holds nothing, so two callers with
    several keys cannot block each other.
    """

    def __init__(self) -> None:
        self._counts: Counter[Hashable] = Counter()
        self._queues: dict[Hashable, list[tuple[int, int, Waiting]]] = {}
        self._order = itertools.count()

    def count_of(self, key: Hashable) -> int:
        """How many hold the key."""
        return self._counts[key]

    def request(self, waiting: Waiting, rank: int = 0) -> None:
        """Call `go` now, or when every slot is free."""
        self._try((rank, next(self._order), waiting))

    def take(self, slots: tuple[ConcurrencySlot, ...]) -> None:
        """Hold the slots even if that exceeds a limit: what was held before a restart."""
        self._counts.update(key for key, _ in slots)

    def release(self, slots: tuple[ConcurrencySlot, ...]) -> None:
        """Give the slots back, and let the next ones go."""
        for key, _ in slots:
            self._counts[key] -= 1
            if self._counts[key] <= 0:
                del self._counts[key]
        for key, limit in slots:
            self._admit(key, limit)

    def _admit(self, key: Hashable, limit: int) -> None:
        while self._counts[key] < limit and (queue := self._queues.get(key)):
            entry = heapq.heappop(queue)
            if not queue:
                del self._queues[key]
            self._try(entry)

    def _try(self, entry: tuple[int, int, Waiting]) -> None:
        waiting = entry[2]
        for key, limit in waiting.slots:
            if self._counts[key] >= limit:
                heapq.heappush(self._queues.setdefault(key, []), entry)
                return
        self._counts.update(key for key, _ in waiting.slots)
        if not waiting.go():
            self.release(waiting.slots)

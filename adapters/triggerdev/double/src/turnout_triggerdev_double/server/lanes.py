"""The order in which queued runs are handed out, and the concurrency slots that they need.

A lane holds the queued runs that need the same slots: one queue, one concurrency key, one set of
limits. The run with the smallest score goes first, within a lane and among lanes. A lane that lacks
a slot is set aside until the slot is released, so that a full queue costs nothing.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from itertools import count

Lane = tuple[Hashable, ...]
SlotKey = tuple[Hashable, ...]
SlotLimit = tuple[SlotKey, int | None]


class Lanes:
    """Queued runs and occupied slots. `slots(lane)` returns the limits that apply to a lane now."""

    def __init__(self, slots: Callable[[Lane], Iterable[SlotLimit]]) -> None:
        self._slots = slots
        self._waiting: dict[Lane, list[tuple[int, int, str, str]]] = {}
        self._ready: dict[Hashable, list[tuple[int, int, Lane]]] = defaultdict(list)
        self._blocked: dict[SlotKey, set[Lane]] = defaultdict(set)
        self._holders: dict[SlotKey, set[str]] = defaultdict(set)
        self._slots_of_runs: dict[str, list[SlotKey]] = {}
        self._numbers = count()

    def add(self, lane: Lane, score: int, run: str, ticket: str) -> None:
        """Queue a run; `ticket` is passed to `take`, to recognise an outdated entry."""
        waiting = self._waiting.setdefault(lane, [])
        heapq.heappush(waiting, (score, next(self._numbers), run, ticket))
        if waiting[0][2] == run:
            self._offer(lane)

    def take(self, world: Hashable, is_valid: Callable[[str, str], bool]) -> str | None:
        """Take the next run of an environment, with its slots; None when none can go.

        Entries for which `is_valid(run, ticket)` is false are dropped.
        """
        ready = self._ready[world]
        while ready:
            score, number, lane = heapq.heappop(ready)
            waiting = self._waiting.get(lane)
            if not waiting or waiting[0][:2] != (score, number):
                continue
            _, _, run, ticket = waiting[0]
            if not is_valid(run, ticket):
                self._leave(lane)
                continue
            slots = list(self._slots(lane))
            full = self._first_full(slots)
            if full is not None:
                self._blocked[full].add(lane)
                continue
            self._leave(lane)
            self.hold(run, [key for key, _ in slots])
            return run
        return None

    def hold(self, run: str, keys: list[SlotKey]) -> None:
        """Give the run its slots."""
        self._slots_of_runs[run] = keys
        for key in keys:
            self._holders[key].add(run)

    def release(self, run: str) -> bool:
        """Release the run's slots; True if a lane may go on now."""
        moved = False
        for key in self._slots_of_runs.pop(run, ()):
            self._holders[key].discard(run)
            moved = self.unblock(key) or moved
        return moved

    def unblock(self, key: SlotKey) -> bool:
        """Check the lanes again that lacked this slot; True if there are any."""
        lanes = self._blocked.pop(key, set())
        for lane in lanes:
            self._offer(lane)
        return bool(lanes)

    def unblock_all(self) -> None:
        """Check every lane again, after limits changed."""
        for key in list(self._blocked):
            self.unblock(key)

    def holders(self, key: SlotKey) -> int:
        """How many runs occupy this slot."""
        return len(self._holders[key])

    def _first_full(self, slots: list[SlotLimit]) -> SlotKey | None:
        for key, limit in slots:
            if limit is not None and len(self._holders[key]) >= limit:
                return key
        return None

    def _offer(self, lane: Lane) -> None:
        waiting = self._waiting.get(lane)
        if waiting:
            heapq.heappush(self._ready[lane[0]], (waiting[0][0], waiting[0][1], lane))

    def _leave(self, lane: Lane) -> None:
        waiting = self._waiting[lane]
        heapq.heappop(waiting)
        if waiting:
            self._offer(lane)
        else:
            del self._waiting[lane]

"""Lanes: bounded background work of the pump, by key.

A lane is one kind of call to one provider. A key whose work is in progress is not begun again, and
a full lane takes no more keys; what it does not take stays due in the run store.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from turnout.model.time import Millis
from turnout.ports.clock import Clock
from turnout.pump.failures import logged

Item = TypeVar("Item")


@dataclass
class Lane:
    """The work in progress of one lane."""

    calls: asyncio.Semaphore
    """Limits the calls at the same time."""
    keys: set[str] = field(default_factory=set)
    """The keys of calls in progress, and of calls that wait for their turn."""


class Lanes:
    """Begins work without waiting for it.

    Work that has not begun within `hold` is given up: another pump may have taken it by then.
    """

    def __init__(self, clock: Clock, *, at_once: int, capacity: int, hold: Millis) -> None:
        """at_once: calls of a lane at the same time. capacity: keys of a lane, waiting included."""
        self._clock = clock
        self._at_once = at_once
        self._capacity = capacity
        self._hold = hold
        self._lanes: dict[str, Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def room(self, name: str) -> int:
        """Return how many more keys the lane takes."""
        return self._capacity - len(self._lane(name).keys)

    def begin(
        self,
        name: str,
        items: Collection[Item],
        key: Callable[[Item], str],
        work: Callable[[Sequence[Item]], Awaitable[None]],
    ) -> None:
        """Begin the work for those items that are not in progress yet, as far as there is room."""
        lane = self._lane(name)
        fresh = {key(item): item for item in items if key(item) not in lane.keys}
        batch = dict(list(fresh.items())[: max(0, self.room(name))])
        if not batch:
            return
        lane.keys.update(batch)
        deadline = self._clock.now() + self._hold
        task = asyncio.create_task(self._do(name, batch, work, deadline))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _task: lane.keys.difference_update(batch))

    async def settle(self) -> None:
        """Wait for all work in progress."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self, grace: float) -> None:
        """Wait up to `grace` seconds for the work in progress, then cancel it."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        unfinished = list(self._tasks)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)

    async def _do(
        self,
        name: str,
        batch: dict[str, Item],
        work: Callable[[Sequence[Item]], Awaitable[None]],
        deadline: Millis,
    ) -> None:
        async with self._lane(name).calls:
            if self._clock.now() > deadline:
                return
            with logged("work", next(iter(batch))):
                await work(list(batch.values()))

    def _lane(self, name: str) -> Lane:
        return self._lanes.setdefault(name, Lane(asyncio.Semaphore(self._at_once)))

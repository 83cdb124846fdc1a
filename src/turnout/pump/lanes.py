"""Work in the background of the pump: by key, in lanes, bounded.

A lane is one thing asked of one provider. What is under way in a lane is not begun again, and a
lane that is full takes no more; what it does not take stays due in the run store.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from turnout.errors import TurnoutError
from turnout.model.time import Millis
from turnout.ports.clock import Clock

log = logging.getLogger(__name__)

Item = TypeVar("Item")


@dataclass
class Lane:
    """What is under way in one lane: the calls, and the keys that they are for."""

    places: asyncio.Semaphore
    keys: set[str] = field(default_factory=set)


class UnderWay:
    """Begins work without waiting for it; `at_once` calls a lane, `most` keys with those in line.

    Work is begun within `hold` of having been taken, or not at all: by then it is another's.
    """

    def __init__(self, clock: Clock, *, at_once: int, most: int, hold: Millis) -> None:
        self._clock = clock
        self._at_once = at_once
        self._most = most
        self._hold = hold
        self._lanes: dict[str, Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def room(self, lane: str) -> int:
        """How many more keys the lane takes."""
        return self._most - len(self._lane(lane).keys)

    def begin(
        self,
        lane: str,
        items: Collection[Item],
        key: Callable[[Item], str],
        work: Callable[[Sequence[Item]], Awaitable[None]],
    ) -> None:
        """Begin the work for those items that are not under way yet, as far as there is room."""
        its = self._lane(lane)
        few = {key(each): each for each in items if key(each) not in its.keys}
        taken = dict(list(few.items())[: max(0, self.room(lane))])
        if not taken:
            return
        its.keys.update(taken)
        until = self._clock.now() + self._hold
        task = asyncio.create_task(self._do(its, taken, work, until))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _done: its.keys.difference_update(taken))

    async def settle(self) -> None:
        """Wait for all that is under way."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self, grace: float) -> None:
        """Wait a little for what is under way, and cancel the rest: its hold runs out."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        left = list(self._tasks)
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _do(
        self,
        lane: Lane,
        taken: dict[str, Item],
        work: Callable[[Sequence[Item]], Awaitable[None]],
        until: Millis,
    ) -> None:
        async with lane.places:
            if self._clock.now() > until:
                return
            with logged("work", next(iter(taken))):
                await work(list(taken.values()))

    def _lane(self, name: str) -> Lane:
        return self._lanes.setdefault(name, Lane(asyncio.Semaphore(self._at_once)))


class Aside:
    """Runs that could not be moved on: left alone for a while, and never in the way of others.

    A read that gave nothing but those is widened, so that later rows come into sight.
    """

    def __init__(self, clock: Clock, *, batch: int, wait: Millis) -> None:
        self._clock = clock
        self._batch = batch
        self._wait = wait
        self._until: dict[str, Millis] = {}
        self._wider = 1

    @property
    def limit(self) -> int:
        """How many rows to read."""
        return self._batch * self._wider

    def others(self, run_ids: Sequence[str]) -> list[str]:
        """Leave out what was set aside."""
        now = self._clock.now()
        self._until = {each: until for each, until in self._until.items() if until > now}
        others = [each for each in run_ids if each not in self._until]
        blocked = bool(run_ids) and not others
        self._wider = min(self._wider * 2, 64) if blocked else self._wider if others else 1
        return others

    async def move(
        self, action: str, run_ids: Sequence[str], move: Callable[[str], Awaitable[None]]
    ) -> int:
        """Move each run on; set aside those that cannot be. Returns how many were moved."""
        moved = 0
        for run_id in self.others(run_ids):
            self._until[run_id] = self._clock.now() + self._wait
            with logged(action, run_id):
                await move(run_id)
                del self._until[run_id]
                moved += 1
        return moved


@contextlib.contextmanager
def logged(action: str, what: str) -> Iterator[None]:
    """Log what goes wrong, and go on."""
    try:
        yield
    except TurnoutError as error:
        log.warning(
            "failed; tried again later",
            extra={"action": action, "what": what, "error": str(error)},
        )
    except Exception:
        log.exception("broke; tried again later", extra={"action": action, "what": what})

"""Notifies waiting connections of changes; a notice is a hint, the records are the truth."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator


class Bell:
    """Wakes all who wait, by environment."""

    def __init__(self) -> None:
        self._waiters: dict[str, set[asyncio.Future[None]]] = defaultdict(set)

    def ring(self, env: str) -> None:
        """Wake those who wait now."""
        waiters, self._waiters[env] = self._waiters[env], set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, env: str, seconds: float) -> None:
        """Return at the next ring, or after the time has passed."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters[env].add(waiter)
        try:
            async with asyncio.timeout(seconds):
                await waiter
        except TimeoutError:
            return
        finally:
            self._waiters[env].discard(waiter)


class RunNotices:
    """Subscriptions to changes of runs, and to the arrival of work, by environment."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[asyncio.Queue[str]]] = defaultdict(set)
        self.work = Bell()
        """Rings when a run may be handed out."""

    def listen(self, env: str) -> asyncio.Queue[str]:
        """Subscribe to the ids of runs that change while a worker has them."""
        listener: asyncio.Queue[str] = asyncio.Queue()
        self._listeners[env].add(listener)
        return listener

    def leave(self, env: str, listener: asyncio.Queue[str]) -> None:
        """Unsubscribe."""
        self._listeners[env].discard(listener)

    def run_moved(self, env: str, run: str) -> None:
        """Notify that a run which a worker has got a new snapshot."""
        for listener in self._listeners[env]:
            listener.put_nowait(run)

    def work_arrived(self, env: str) -> None:
        """Notify that a run may be handed out."""
        self.work.ring(env)


class RunRevisions:
    """In which order runs last changed: numbers that only grow, over a restart too.

    start: a number larger than every revision from before.
    """

    def __init__(self, start: int) -> None:
        self.start = self.last = start
        self._of_runs: dict[str, int] = {}
        self.changed = Bell()

    def note(self, env: str, run: str) -> None:
        """Give the run the next revision, and wake who waits for a change."""
        self.last += 1
        self._of_runs.pop(run, None)
        self._of_runs[run] = self.last
        self.changed.ring(env)

    def since(self, revision: int) -> Iterator[str]:
        """Give the runs that have changed after the revision, the latest first."""
        for run in reversed(self._of_runs):
            if self._of_runs[run] <= revision:
                return
            yield run

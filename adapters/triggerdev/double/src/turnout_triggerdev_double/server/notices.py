"""Notifies waiting connections of changes; a notice is a hint, the records are the truth."""

import asyncio
from collections import defaultdict


class RunNotices:
    """Subscriptions to changes of runs, and to the arrival of work, by environment."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[asyncio.Queue[str]]] = defaultdict(set)
        self._idle: dict[str, set[asyncio.Future[None]]] = defaultdict(set)

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
        idle, self._idle[env] = self._idle[env], set()
        for waiter in idle:
            if not waiter.done():
                waiter.set_result(None)

    async def work(self, env: str, seconds: float) -> None:
        """Return when work arrives, or after the time has passed."""
        waiter = asyncio.get_running_loop().create_future()
        self._idle[env].add(waiter)
        try:
            async with asyncio.timeout(seconds):
                await waiter
        except TimeoutError:
            return
        finally:
            self._idle[env].discard(waiter)

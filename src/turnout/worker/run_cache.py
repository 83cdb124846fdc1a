"""The cache of runs: a step of a cached run needs no read of the store.

A cached journal may be out of date. A commit is applied only if the run's seq in the store
is still that of the journal; else the run is read again. A cached run is locked, so that calls in
this process do not race each other.
"""

import asyncio
from collections import OrderedDict
from typing import Any, Final

from turnout.driver.decision import Decision
from turnout.driver.replay_task import ReplayTask
from turnout.model.protocol import RunCall
from turnout.model.runs import Journal
from turnout.worker.endings import Ending

CACHE_SIZE: Final = 2_000
"""Runs that are cached at most, unless more are in use."""
LARGEST_JOURNAL: Final = 64 * 1024
"""Bytes of outputs; a larger journal is read each time."""


class CachedRun:
    """One run as this process last saw it."""

    __slots__ = (
        "_journal",
        "caller",
        "decision",
        "endings",
        "fresh",
        "lock",
        "progress",
        "replay_task",
        "run_id",
        "size",
        "users",
    )

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.lock = asyncio.Lock()
        self.users = 0
        self._journal: Journal | None = None
        self.endings: list[Ending] = []
        """The ends of attempts that wait for the lock, to be committed all in one commit."""
        self.decision: Decision | None = None
        """What was decided from the journal; None if nothing has been decided yet."""
        self.progress: bytes | None = None
        """The last value that the task function itself gave to ctx.progress."""
        self.replay_task = ReplayTask()
        """What the function is shown as its own task, in every replay while the run is cached."""
        self.caller: tuple[int, str] | None = None
        """The delivery that holds the run, and its vendor run."""
        self.fresh = False
        """Whether the journal was read since the lock was taken."""
        self.size = 0
        """About how many bytes the payload and the outputs have."""

    @property
    def is_read(self) -> bool:
        """Whether the journal has been read."""
        return self._journal is not None

    @property
    def journal(self) -> Journal:
        """The journal; only where `is_read`."""
        assert self._journal is not None
        return self._journal

    def is_held_by(self, call: RunCall[Any]) -> bool:
        """Whether the caller is the vendor run that holds the run, as far as the cache knows."""
        return self.is_read and self.caller == (call.delivery, call.provider_run_id)

    def read(self, journal: Journal) -> None:
        """Take a journal as the store has it."""
        if self._journal is None or self._journal.run.seq != journal.run.seq:
            self.decision = None
        self._journal = journal
        self.fresh = True
        outputs = [step.output for step in journal.steps.values() if step.output is not None]
        self.size = len(journal.run.payload) + sum(map(len, outputs))

    def record_commit(self, journal: Journal, decision: Decision, added: int) -> None:
        """Take a journal as it was just committed; added: the bytes of its new outputs."""
        self._journal = journal
        self.decision = decision
        self.size += added

    def forget(self) -> None:
        """Forget the journal, the decision and the caller; the run is read before its next use."""
        self._journal = self.decision = self.caller = None
        self.fresh = False


class RunCache:
    """The cached runs, least recently used first."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, CachedRun] = OrderedDict()

    def at(self, run_id: str) -> "_LockedRun":
        """Lock a run in an `async with`; other users in this process wait."""
        cached = self._runs.get(run_id)
        if cached is None:
            cached = self._runs[run_id] = CachedRun(run_id)
        else:
            self._runs.move_to_end(run_id)
        return _LockedRun(self, cached)

    def release(self, cached: CachedRun) -> None:
        """Evict an unused run that has ended or is too large; evict the oldest if full."""
        if cached.users:
            return
        evicted = not cached.is_read or cached.journal.run.state.terminal
        if evicted or cached.size > LARGEST_JOURNAL:
            self._runs.pop(cached.run_id, None)
        while len(self._runs) > CACHE_SIZE:
            oldest = next(iter(self._runs.values()))
            if oldest.users:
                break
            self._runs.popitem(last=False)


class _LockedRun:
    """The context in which a run is locked; a class, because a generator would cost more."""

    __slots__ = ("_cache", "cached")

    def __init__(self, cache: RunCache, cached: CachedRun) -> None:
        self._cache = cache
        self.cached = cached

    async def __aenter__(self) -> CachedRun:
        cached = self.cached
        cached.users += 1
        try:
            await cached.lock.acquire()
        except asyncio.CancelledError:
            self._release()
            raise
        cached.fresh = False
        return cached

    async def __aexit__(self, *_: object) -> None:
        self.cached.lock.release()
        self._release()

    def _release(self) -> None:
        self.cached.users -= 1
        self._cache.release(self.cached)

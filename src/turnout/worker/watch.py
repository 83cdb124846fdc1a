"""Watches the attempts that run here: renews their leases, and answers callers in time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from turnout.errors import FailureLog
from turnout.model.protocol import Executed, Outcome
from turnout.worker.advancing import RunAdvancer
from turnout.worker.continuation import Continuation
from turnout.worker.in_flight import InFlightAttempt
from turnout.worker.loop_guard import LoopGuard
from turnout.worker.protocol_answers import not_run
from turnout.worker.run_cache import RunCache

log = logging.getLogger("turnout.worker")

Drop: TypeAlias = Callable[[InFlightAttempt], Awaitable[None]]
"""Stops an attempt that this process no longer holds, and answers its caller."""


class Watch:
    """A loop over the running attempts; it ends when there are none."""

    def __init__(self, *, runs: RunAdvancer, cache: RunCache, drop: Drop) -> None:
        self._runs = runs
        self._cache = cache
        self._drop = drop
        self._in_flight = runs.in_flight
        self._task: asyncio.Task[None] | None = None
        options = runs.options
        bounds = [bound for bound in (options.bound, *options.bounds.values()) if bound is not None]
        pauses = [options.lease / 4, *bounds]
        self._pause = min(options.watch_seconds, *(pause / 1_000 for pause in pauses))
        self._guard = LoopGuard(runs, self._pause)

    def guard(self) -> None:
        """Guard the event loop from now on."""
        self._guard.start()

    def start(self) -> None:
        """Start the loop, unless it runs already."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._loop())

    async def once(self) -> None:
        """Renew the leases of attempts that an earlier round saw; drop those that are lost."""
        older = [running for running in self._in_flight if running.watches and not running.dropped]
        for running in self._in_flight:
            running.watches += 1
        if not older:
            return
        lease_until = self._runs.clock.now() + self._runs.options.lease
        claims = [running.claim for running in older]
        lost = set(await self._runs.store.leases.renew(claims, lease_until))
        for running in older:
            if running.committing:
                continue
            if running.claim in lost:
                await self._drop(running)
            else:
                await self._report(running)

    def stop(self) -> None:
        """End the loop."""
        self._guard.stop()
        if self._task is not None:
            self._task.cancel()

    async def _loop(self) -> None:
        while len(self._in_flight):
            await asyncio.sleep(self._pause)
            with FailureLog(log, "the watch over running steps failed", action="watch_failed"):
                await self.once()

    async def _report(self, running: InFlightAttempt) -> None:
        """Record a body's progress and chunks; answer a caller that has waited for the bound."""
        bound = self._runs.options.bound_of(running.provider)
        waited = (asyncio.get_running_loop().time() - running.started_at) * 1_000
        late = bound is not None and waited >= bound and not running.answer.done()
        state = (running.step_context.progress, len(running.step_context.streamed))
        if not late and state == running.recorded_state:
            return
        async with self._cache.at(running.run_id) as cached:
            if running.committing or running.dropped:
                return
            if not cached.is_read:
                await self._runs.reload(cached, for_caller=False)
            reader = Continuation.CALLER if late else Continuation.PUMP
            answer = await self._runs.advance(cached, reader, showing=running)
            running.recorded_state = state
            if late:
                attempt = running.attempt
                receipt = not_run(attempt.step, attempt.number, Outcome.ACCEPTED)
                running.answer_with(Executed(receipt=receipt, next=answer))

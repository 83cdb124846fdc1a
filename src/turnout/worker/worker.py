"""The worker plane: an app's tasks, run one call at a time over a run store."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias, TypeVar

from turnout.driver.effects import Effects, LiveEffects
from turnout.errors import Unavailable
from turnout.model.protocol import (
    Advance,
    Call,
    Execute,
    Executed,
    Follow,
    Followed,
    Next,
    Park,
    Parked,
    Probe,
    Probed,
    Report,
    Tick,
    Ticked,
)
from turnout.model.protocol_versions import check_version
from turnout.model.runs import Run
from turnout.model.tasks import App
from turnout.ports.clock import Clock
from turnout.ports.run_store import ReplicaStore, RunStore
from turnout.worker.advancing import TRIES, RunAdvancer
from turnout.worker.bodies import Bodies, LiveBodies
from turnout.worker.continuation import Continuation
from turnout.worker.definitions import Definitions
from turnout.worker.execution import Executor
from turnout.worker.in_flight import InFlightAttempts
from turnout.worker.options import WorkerOptions
from turnout.worker.run_cache import RunCache

AnswerT = TypeVar("AnswerT")

OnReport: TypeAlias = Callable[[Report], Awaitable[None]]
OnTick: TypeAlias = Callable[[Tick], Awaitable[Ticked]]


class TaskWorker:
    """Runs an app's tasks for durable callers: the ports `Worker` and `RunsOn`, with a close.

    on_report and on_tick are parts of the control plane; they may be set later.
    """

    def __init__(
        self,
        *,
        app: App,
        store: RunStore,
        clock: Clock,
        bodies: Bodies | None = None,
        effects: Effects | None = None,
        options: WorkerOptions | None = None,
        on_report: OnReport | None = None,
        on_tick: OnTick | None = None,
        replicas: ReplicaStore | None = None,
    ) -> None:
        """replicas: what the service's processes publish, where that is in another store."""
        self.on_report = on_report
        self.on_tick = on_tick
        self._cache = RunCache()
        self._runs = RunAdvancer(
            app=app,
            store=store,
            clock=clock,
            effects=effects or LiveEffects(app),
            options=options or WorkerOptions(),
            in_flight=InFlightAttempts(),
        )
        self._definitions = Definitions(
            app, replicas or store.replicas, clock, self._runs.options.definitions
        )
        self._executor = Executor(
            runs=self._runs, cache=self._cache, bodies=bodies or LiveBodies(clock)
        )
        self._answers: Mapping[type[Call[Any]], Callable[[Any], Awaitable[Any]]] = {
            Advance: self._advance,
            Execute: self._execute,
            Park: self._park,
            Follow: self._follow,
            Report: self._report,
            Tick: self._tick,
            Probe: self._probe,
        }

    async def answer(self, call: Call[AnswerT]) -> AnswerT:
        """Answer one message of the step protocol."""
        self._executor.watch.guard()
        await self._check(call)
        answer: AnswerT = await self._answers[type(call)](call)
        return answer

    async def run_on(self, call: Advance | Execute, *, delivered: Run | None = None) -> Next:
        """Advance or execute, and then execute what comes next while that is one attempt alone.

        Each attempt is claimed before its body runs: in the commit that ends the one before, or
        that begins the run.
        """
        self._executor.watch.guard()
        await self._check(call)
        return await self._executor.run_on(call, delivered=delivered)

    async def _advance(self, call: Advance) -> Next:
        """Claim the delivery for this vendor run, replay, and say what to do next."""
        async with self._cache.at(call.run_id) as cached:
            await self._runs.claim_delivery(cached, call)
            return await self._runs.advance(cached)

    async def _execute(self, call: Execute) -> Executed:
        """Run one attempt of a step once, and commit its outcome with what follows."""
        return await self._executor.execute(call)

    async def _park(self, call: Park) -> Parked:
        """Record what the vendor run will wait on, unless there is something to do already."""
        runs = self._runs
        async with self._cache.at(call.run_id) as cached:
            await runs.claim_delivery(cached, call)
            for _ in range(TRIES):
                answer = await runs.advance(cached)
                if answer.seq != call.seq or not self._waits(answer):
                    return Parked(go=False, next=answer)
                release_at = runs.slot_release(cached, answer)
                if await runs.store.deliveries.park(
                    call.run_id, call.delivery, call.seq, call.token, release_at=release_at
                ):
                    if release_at is not None:
                        cached.forget()  # it is parked now
                    return Parked(go=True)
                await runs.reload(cached)
            raise runs.contended(cached)

    async def _follow(self, call: Follow) -> Followed:
        """Read what the run has streamed beyond what the vendor run has passed on."""
        return await self._runs.follow(call)

    async def _report(self, call: Report) -> None:
        """Pass on a vendor run's report about itself: a hint to look at it soon."""
        if self.on_report is not None:
            await self.on_report(call)

    async def _tick(self, call: Tick) -> Ticked:
        """Claim a schedule's slot and start its run, in one transaction; at most once a slot."""
        if self.on_tick is None:
            raise Unavailable("this worker has no schedules; start it with its control plane")
        return await self.on_tick(call)

    async def _probe(self, _call: Probe) -> Probed:
        """Confirm that the call came through and that the definitions match; return the time."""
        return Probed(at=self._runs.clock.now())

    async def expire(self, run_id: str) -> None:
        """Count the attempts whose lease has run out as lost, and have the pump wake the run."""
        async with self._cache.at(run_id) as cached:
            await self._runs.reload(cached, for_caller=False)
            if cached.journal.attempts:
                await self._runs.advance(cached, Continuation.PUMP)

    async def time_out(self, run_id: str) -> None:
        """End the run if its deadline has passed."""
        async with self._cache.at(run_id) as cached:
            await self._runs.reload(cached, for_caller=False)
            deadline = cached.journal.run.deadline_at
            if deadline is not None and deadline <= self._runs.clock.now():
                await self._runs.advance(cached, Continuation.PUMP)

    async def watch(self) -> None:
        """Renew the leases of running attempts once, and stop those whose claim is lost.

        A loop does this every `watch_seconds` while attempts run.
        """
        await self._executor.watch.once()

    async def close(self, grace: float = 10.0) -> None:
        """Claim nothing more, wait `grace` seconds for running attempts, interrupt those left."""
        await self._executor.close(grace)

    def _waits(self, answer: Next) -> bool:
        """Whether there is nothing to do yet."""
        if answer.run or answer.park is None:
            return False
        return answer.park.until is None or answer.park.until > self._runs.clock.now()

    async def _check(self, call: Call[Any]) -> None:
        check_version(call.protocol)
        await self._definitions.check(call)

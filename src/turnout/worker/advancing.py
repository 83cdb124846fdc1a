"""Advances a run: reads it, decides, and commits, until a commit is applied."""

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from turnout.driver.decision import Decision
from turnout.driver.effects import Effects
from turnout.driver.replay import replay, replay_open
from turnout.errors import (
    DefinitionMismatch,
    Overloaded,
    RunEnded,
    Superseded,
    TurnoutError,
    UnexpectedLog,
    log_failure,
)
from turnout.model.policies import Policies
from turnout.model.protocol import Follow, Followed, Next, RunCall
from turnout.model.runs import Calling, Journal, Run
from turnout.model.status import TIMED, AttemptState, ParkReason, RunStatus
from turnout.model.tasks import App, Task
from turnout.model.time import Millis
from turnout.model.transitions import begin, end, failure, release_time, time_out
from turnout.ports.clock import Clock
from turnout.ports.run_store import RunStore
from turnout.worker.bodies import cancelling
from turnout.worker.commit import Commit, unparked
from turnout.worker.continuation import Continuation
from turnout.worker.in_flight import InFlightAttempt, InFlightAttempts
from turnout.worker.options import WorkerOptions
from turnout.worker.protocol_answers import CHUNK_LIMIT, followed, next_ended, next_of
from turnout.worker.run_cache import CachedRun

log = logging.getLogger("turnout.worker")

_UNRECORDED: Final = "a run ends as failed, because what it does cannot be recorded"
_ACTION: Final = "commit_not_recorded"

TRIES: Final = 50
"""How many commits on one run may fail before the call is answered Overloaded."""


@dataclass(frozen=True, kw_only=True)
class RunAdvancer:
    """Advances one app's runs in one store, on behalf of one process."""

    app: App
    store: RunStore
    clock: Clock
    effects: Effects
    options: WorkerOptions
    in_flight: InFlightAttempts

    async def claim_delivery(self, cached: CachedRun, call: RunCall[Any]) -> None:
        """Read the run for a call; its vendor run holds the live delivery, or claims it now."""
        now = self.clock.now()
        try:
            journal = await self.store.deliveries.claim(
                call.run_id, call.delivery, call.provider_run_id, now
            )
        except RunEnded:
            # The vendor run that holds the delivery is told how it ended; any other is refused.
            if not await self._holds_last_delivery(call):
                raise
            journal = await self.store.journals.load(call.run_id)
        self._check_serves(call, journal.run)
        cached.read(journal)
        cached.caller = (call.delivery, call.provider_run_id)

    def take_delivered(
        self, cached: CachedRun, call: RunCall[Any], delivered: Run
    ) -> Calling | None:
        """Use the run that came with its delivery; the run's first commit then claims the delivery.

        None where this cannot be: the run is cached or not new, or its steps have a limit.
        """
        limit = counts_steps(self.app.task(delivered.task).policies)
        is_new = delivered.seq == 0 and delivered.delivery == call.delivery
        if cached.is_read or not is_new or limit:
            return None
        self._check_serves(call, delivered)
        cached.read(Journal(run=delivered))
        cached.fresh = False
        return Calling(
            number=call.delivery, provider_run_id=call.provider_run_id, at=self.clock.now()
        )

    async def reload(self, cached: CachedRun, *, for_caller: bool = True) -> None:
        """Read the run again.

        for_caller: raise Superseded where the vendor run that calls no longer holds the run.
        """
        try:
            journal = await self.store.journals.load(cached.run_id)
        except BaseException:
            cached.forget()
            raise
        if cached.caller is not None and cached.caller[0] != journal.run.delivery:
            cached.forget()
            if for_caller:
                raise Superseded
        cached.read(journal)

    async def advance(
        self,
        cached: CachedRun,
        continuation: Continuation = Continuation.CALLER,
        *,
        showing: InFlightAttempt | None = None,
    ) -> Next:
        """Take the run as far as it can go without an attempt, and say what is next.

        showing: an attempt that runs; its progress and chunks are recorded in the same commit.
        """
        for _ in range(TRIES):
            now = self.clock.now()
            if cached.journal.run.state.terminal:
                break
            commit = Commit(cached.journal)
            if showing is not None:
                self._put_reports_of(showing, commit, now)
            decision = await self.decide(cached, commit, now, continuation)
            if decision is None:
                continue
            if await self.apply(cached, commit, decision, now, continuation):
                break
            await self.reload(cached)
        else:
            raise self.contended(cached)
        return await self.next(cached)

    async def decide(
        self,
        cached: CachedRun,
        commit: Commit,
        now: Millis,
        continuation: Continuation = Continuation.CALLER,
    ) -> Decision | None:
        """Decide what the run does now, and add it to the commit; None: the run was read again."""
        run = commit.run
        if run.deadline_at is not None and run.deadline_at <= now:
            commit.finish(time_out(run, now), self.effects, now)
            return Decision(state=RunStatus.TIMED_OUT)
        task = self.app.task(run.task)
        if run.state is RunStatus.QUEUED:
            waiting = await self._not_admitted(run, task.policies, now)
            if waiting is not None:
                commit.park(waiting)
                self._plan_release(commit, now)
                return waiting
            commit.merge(begin(commit.view(), task.policies.timeouts, now))
        decision = await self._replay(cached, task, commit.view(), now)
        if decision.held_by is not None:
            log.warning(
                "a run waits for code that can read what it has recorded",
                extra={
                    "action": "run_held",
                    "run_id": run.run_id,
                    "task": run.task,
                    "error": decision.held_by.message,
                },
            )
        if decision.attempts and await self._reread_leases(cached, decision, now):
            return None
        if continuation is Continuation.PUMP and decision.state is not RunStatus.RUNNING:
            # The vendor run is woken to end the run, so that both end alike.
            commit.record_settled(decision)
            commit.run = unparked(commit.run)
            return Decision(end_deferred=True, completed=decision.completed)
        try:
            commit.record(decision, self.effects, now)
            self._put_progress(cached, commit, decision)
            commit.stream(decision.streamed, now)
            self._plan_release(commit, now)
        except TurnoutError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the run's failure
            log_failure(log, _UNRECORDED, error, action=_ACTION, run_id=run.run_id)
            await self._end_unrecorded(cached, commit, error, now, continuation)
            await self.reload(cached, for_caller=False)
            return None
        return decision

    async def apply(
        self,
        cached: CachedRun,
        commit: Commit,
        decision: Decision,
        now: Millis,
        continuation: Continuation = Continuation.CALLER,
        *,
        may_raise: bool = False,
    ) -> bool:
        """Commit; False when the run has moved since it was read.

        A commit that cannot be recorded, whatever the reason, ends the run as failed: False, too.
        may_raise: raise the error instead.
        """
        if commit.is_empty:
            cached.decision = decision
            return True
        if may_raise:
            return await self._apply(cached, commit, decision, now, continuation)
        with UnexpectedLog(log, _UNRECORDED, action=_ACTION, run_id=cached.run_id) as unexpected:
            return await self._apply(cached, commit, decision, now, continuation)
        assert unexpected.error is not None
        await self._end_unrecorded(cached, commit, unexpected.error, now, continuation)
        return False

    async def _apply(
        self,
        cached: CachedRun,
        commit: Commit,
        decision: Decision,
        now: Millis,
        continuation: Continuation,
    ) -> bool:
        wake_at = self._wake_at(commit.run, decision, now, continuation)
        try:
            applied = await self.store.journals.apply(commit.change(wake_at))
        except BaseException:
            cached.forget()  # whether it was committed is not known
            raise
        if applied:
            cached.record_commit(commit.committed(), decision, commit.added_bytes)
        return applied

    async def _replay(
        self, cached: CachedRun, task: Task, journal: Journal, now: Millis
    ) -> Decision:
        """Replay a function; one that cancels its own task ends its run, and does not stop us."""
        if task.open_mode:
            open_replay = asyncio.create_task(replay_open(task, journal, now, self.effects))
            try:
                return await open_replay
            except asyncio.CancelledError as error:
                if cancelling():
                    raise
                return Decision(state=RunStatus.FAILED, error=failure(error))
        replaying = partial(replay, task, journal, now, self.effects)
        decision = cached.replay_task.run(task.id, replaying)
        if cached.replay_task.cancels:
            cancelled = asyncio.CancelledError(f"task {task.id!r} cancelled its own task")
            return Decision(state=RunStatus.FAILED, error=failure(cancelled))
        return decision

    async def _end_unrecorded(
        self,
        cached: CachedRun,
        commit: Commit,
        error: Exception,
        now: Millis,
        continuation: Continuation,
    ) -> None:
        """End a run as failed by the error that kept its commit from being recorded."""
        ending = Commit(commit.journal)
        ending.calling = commit.calling
        policies = self.app.task(ending.run.task).policies
        ending.merge(begin(ending.view(), policies.timeouts, now))
        by_us = continuation is Continuation.PUMP
        change = end(ending.run, RunStatus.FAILED, now, error=failure(error), by_us=by_us)
        ending.finish(change, self.effects, now)
        try:
            await self.store.journals.apply(ending.change(None))
        finally:
            cached.forget()

    async def next(self, cached: CachedRun, *, lease_until: Millis | None = None) -> Next:
        """Say what a vendor run does next, from the cached run."""
        journal, decision = cached.journal, cached.decision
        run = journal.run
        if run.state.terminal or decision is None:
            return next_ended(journal, inline=self.options.inline)
        policies = self.app.task(run.task).policies
        ready = decision.ready
        if ready and counts_steps(policies):
            now = self.clock.now()
            ready = [
                attempt
                for attempt in ready
                if await self.take_limit_slot(run, policies, attempt.command.id, now)
            ]
        return next_of(
            run,
            decision,
            ready,
            policies.timeouts,
            inline=self.options.inline,
            lease_until=lease_until,
        )

    async def follow(self, call: Follow) -> Followed:
        """Read what a run has streamed; Superseded where another delivery holds it."""
        run, chunks = await self.store.journals.streamed(
            call.run_id, after=call.streamed, limit=CHUNK_LIMIT, beyond_passed=True
        )
        self._check_serves(call, run)
        if run.delivery != call.delivery:
            raise Superseded
        return followed(run, chunks)

    async def take_limit_slot(self, run: Run, policies: Policies, step: str, now: Millis) -> bool:
        """Whether a step may start under the task's limit; otherwise it stands in line.

        A run that was emitted before the task had a limit has no limit key: it is not limited.
        """
        if not counts_steps(policies) or run.limit_key is None:
            return True
        assert policies.concurrency is not None
        limit = policies.concurrency.limit
        return await self.store.limits.take_slot(run.run_id, step, limit, now)

    def contended(self, cached: CachedRun) -> Overloaded:
        """Make the error for a run that changes faster than it can be read."""
        return Overloaded(
            f"run {cached.run_id!r} changed {TRIES} times while it was being moved on"
        )

    def _check_serves(self, call: RunCall[Any], run: Run) -> None:
        if call.task != run.task:
            raise DefinitionMismatch(
                f"run {call.run_id!r} is of task {run.task!r}, not of {call.task!r}"
            )
        served = self.options.providers
        if served is not None and run.provider not in served:
            raise DefinitionMismatch(f"this worker does not serve provider {run.provider!r}")

    async def _holds_last_delivery(self, call: RunCall[Any]) -> bool:
        deliveries = await self.store.deliveries.read(call.run_id)
        last = deliveries[-1] if deliveries else None
        return (
            last is not None
            and last.number == call.delivery
            and last.provider_run_id == call.provider_run_id
        )

    async def _not_admitted(self, run: Run, policies: Policies, now: Millis) -> Decision | None:
        """Say what a queued run waits for before it may begin, if it does."""
        if run.due_at > now:
            return Decision(until=run.due_at, reasons=(ParkReason.SLEEP,))
        limit = policies.concurrency
        if limit is None or limit.counts != "runs" or run.limit_key is None:
            return None
        lookahead = self.options.lookahead(run.provider, limit.limit)
        if await self.store.limits.take_slot(
            run.run_id, None, limit.limit, now, lookahead=lookahead
        ):
            return None
        return Decision(reasons=(ParkReason.SLOT,))

    async def _reread_leases(self, cached: CachedRun, decision: Decision, now: Millis) -> bool:
        """Whether the run was read again, because attempts that look lost may not be.

        Leases are renewed without raising the run's seq, so a cached lease may be out of date.
        """
        running = self.in_flight.claims_of(cached.run_id, decision.attempts)
        if running:
            lost = await self.store.leases.renew(running, now + self.options.lease)
            running = [claim for claim in running if claim not in lost]
        if running or not cached.fresh:
            await self.reload(cached)
            return True
        return False

    def _put_progress(self, cached: CachedRun, commit: Commit, decision: Decision) -> None:
        """Put the function's progress into the commit, unless this replay only repeats it."""
        progress = decision.progress
        if progress is None or progress == cached.progress:
            return
        has_moved = bool(decision.new_steps) or decision.state is not RunStatus.RUNNING
        if cached.progress is not None or has_moved or commit.run.progress is None:
            commit.put_progress(progress)
        cached.progress = progress

    def _plan_release(self, commit: Commit, now: Millis) -> None:
        """Say when a run that a commit parks is released, if it is."""
        run, before = commit.run, commit.journal.run
        after = self.options.release_after.get(run.provider)
        if run.parked and run is not before and (after is not None or run.release_at is not None):
            release_at = None if after is None else release_time(run, after, now)
            commit.run = run._replace(release_at=release_at)

    def slot_release(self, cached: CachedRun, answer: Next) -> Millis | None:
        """Say when a run is released whose vendor run waits only for limit slots of its steps.

        Such a run is not parked: it can go on, as far as its journal knows.
        """
        run = cached.journal.run
        after = self.options.release_after.get(run.provider)
        reasons = set() if answer.park is None else set(answer.park.reasons)
        only_slots = ParkReason.SLOT in reasons and ParkReason.STEP not in reasons
        if after is None or run.parked or not only_slots:
            return None
        return self.clock.now() + after

    def _put_reports_of(self, running: InFlightAttempt, commit: Commit, now: Millis) -> None:
        """Put a running body's progress and chunks into the commit, while its claim holds."""
        body, attempt = running.step_context, running.attempt
        commit.put_progress(body.progress)
        attempts = commit.journal.attempts.get(attempt.step, ())
        last = attempts[-1] if attempts else attempt
        if last.state is AttemptState.CLAIMED and last.number == attempt.number:
            # The whole row is written, and the lease may have been renewed since the row was read.
            alive = last._replace(lease_until=now + self.options.lease)
            commit.stream_of(alive, body.streamed, now)

    def _wake_at(
        self, run: Run, decision: Decision, now: Millis, continuation: Continuation
    ) -> Millis | None:
        """When the pump must wake the run at the latest; None where it need not."""
        if decision.end_deferred or (continuation is Continuation.PUMP and decision.ready):
            return now
        if run.state.terminal or decision.until is None:
            return None
        grace = self.options.alarm_grace.get(run.provider, self.options.default_grace)
        if grace and TIMED.issuperset(decision.reasons):
            # The provider's own timer ends it, and no wake does. Of a wait that the pump records
            # (the back-off of a lost attempt, or of one that was answered `accepted`) the provider
            # has not been told.
            return decision.until if continuation is Continuation.PUMP else None
        return decision.until + grace


def counts_steps(policies: Policies) -> bool:
    """Whether each executing step of the task needs a limit slot."""
    return policies.concurrency is not None and policies.concurrency.counts == "steps"

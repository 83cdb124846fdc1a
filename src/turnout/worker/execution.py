"""The life of an attempt, from top to bottom: claim it, run its body, commit its outcome, answer.

An attempt is claimed before its body runs, and whoever commits the claim first runs the body. The
claim is a commit of its own or, for a caller in this process, part of the commit that made the
attempt the next thing to do.
"""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from typing import Any, Final

from turnout.driver.commands import StepCommand
from turnout.driver.context import MAX_CHUNKS, StepContext
from turnout.driver.decision import Decision, after_claim
from turnout.driver.retries import BodyOutcome
from turnout.errors import FailureLog, Overloaded, Refused, TurnoutError, Unavailable, UnexpectedLog
from turnout.model.policies import Policies
from turnout.model.protocol import Advance, Execute, Executed, Next, Outcome
from turnout.model.runs import Attempt, Journal, Run
from turnout.model.status import AttemptState
from turnout.model.time import Millis
from turnout.worker.advancing import TRIES, RunAdvancer, counts_steps
from turnout.worker.bodies import Bodies, failed_by
from turnout.worker.commit import Commit, unparked
from turnout.worker.continuation import Continuation
from turnout.worker.endings import Ending, continuation_of, is_held, put_ending
from turnout.worker.in_flight import ClaimedAttempt, InFlightAttempt
from turnout.worker.protocol_answers import not_run, receipt_of, step_timeout
from turnout.worker.run_cache import CachedRun, RunCache
from turnout.worker.watch import Watch

log = logging.getLogger("turnout.worker")

_ONE_BY_ONE: Final = "attempts that ended together are committed one by one"
_ACTION: Final = "group_not_committed"
STORE_TRIES: Final = 12
"""How often an outcome is committed to a store that does not answer: for about 20 seconds."""


class Executor:
    """Runs attempts for callers."""

    def __init__(self, *, runs: RunAdvancer, cache: RunCache, bodies: Bodies) -> None:
        self.runs = runs
        self.cache = cache
        self.bodies = bodies
        self.watch = Watch(runs=runs, cache=cache, drop=self._drop)
        self.closing = False
        """Whether the executor is closing, and claims nothing more."""

    async def execute(self, call: Execute) -> Executed:
        """Run one attempt of a step once, and commit its outcome with what follows.

        The Next in the answer is all that the caller needs: it need not advance before it goes on.
        """
        async with self.cache.at(call.run_id) as cached:
            claim = await self._claim_attempt(cached, call)
            if isinstance(claim, Executed):
                return claim
            running = self._start(claim, cached.journal, Continuation.CALLER)
        return await running.answer

    async def run_on(self, call: Advance | Execute, *, delivered: Run | None) -> Next:
        """Advance or execute, and then execute what comes next while that is one attempt alone."""
        async with self.cache.at(call.run_id) as cached:
            if isinstance(call, Execute):
                claim: ClaimedAttempt | Executed | Next = await self._claim_attempt(cached, call)
            else:
                claim = await self._advance_and_claim(cached, call, delivered)
            if not isinstance(claim, ClaimedAttempt):
                return claim.next if isinstance(claim, Executed) else claim
            running = self._start(claim, cached.journal, Continuation.WORKER)
        return (await running.answer).next

    # -- claim --------------------------------------------------------------------------------

    async def _claim_attempt(self, cached: CachedRun, call: Execute) -> ClaimedAttempt | Executed:
        """Claim the attempt that is called for, or answer why it does not run.

        A recorded attempt is answered with its outcome. An attempt that another worker holds, or
        that is not next, is answered `busy`.
        """
        if not cached.is_held_by(call):
            await self.runs.claim_delivery(cached, call)
        for _ in range(TRIES):
            if _recorded(cached, call) is not None:
                return await self._answer_recorded(cached, call)
            if self.closing:
                raise Overloaded("this worker is stopping; send the call again")
            if not self._is_next(cached, call):
                # The cache may be out of date, or a back-off may just have ended.
                if not cached.fresh:
                    await self.runs.reload(cached)
                answer = await self.runs.advance(cached)
                if _recorded(cached, call) is not None:
                    continue
                if not self._is_next(cached, call):
                    return _busy(call, answer)
            claim = await self._commit_claim(cached, call)
            if claim is not None:
                return claim
            await self.runs.reload(cached)
        raise self.runs.contended(cached)

    async def _commit_claim(
        self, cached: CachedRun, call: Execute
    ) -> ClaimedAttempt | Executed | None:
        """Commit a claim in a commit of its own; None when the run has changed meanwhile."""
        journal, decision = cached.journal, cached.decision
        assert decision is not None
        command, now = decision.commands[call.step][0], self.runs.clock.now()
        policies = self._policies(journal.run)
        if not await self.runs.take_limit_slot(journal.run, policies, call.step, now):
            return _busy(call, await self.runs.next(cached))
        commit = Commit(journal)
        claim = self._put_claim(commit, command, call.attempt, policies, now)
        applied = await self.runs.apply(cached, commit, _after(decision, claim), now)
        return claim if applied else None

    async def _advance_and_claim(
        self, cached: CachedRun, call: Advance, delivered: Run | None
    ) -> ClaimedAttempt | Next:
        """Advance the run, and claim the next attempt in the same commit, if only one is next.

        The delivery is claimed before that, or in the same commit if the run came with it.
        """
        calling = None
        if delivered is not None and not self.closing:
            calling = self.runs.take_delivered(cached, call, delivered)
        if calling is None:
            await self.runs.claim_delivery(cached, call)
        if self.closing:
            return await self.runs.advance(cached)
        for _ in range(TRIES):
            if cached.journal.run.state.terminal:
                return await self.runs.next(cached)
            now, commit = self.runs.clock.now(), Commit(cached.journal)
            commit.calling = calling
            decision = await self.runs.decide(cached, commit, now)
            if decision is None:
                continue
            claim = self._claim_next(commit, decision, now)
            if await self.runs.apply(cached, commit, _after(decision, claim), now):
                cached.caller = (call.delivery, call.provider_run_id)
                return claim or await self.runs.next(cached)
            if calling is None:
                await self.runs.reload(cached)
            else:
                calling = None
                await self.runs.claim_delivery(cached, call)
        raise self.runs.contended(cached)

    def _claim_next(self, commit: Commit, decision: Decision, now: Millis) -> ClaimedAttempt | None:
        """Add the claim of the next attempt to a commit, if only one is next and nothing waits.

        A step under a limit is claimed in a commit of its own, after it has a limit slot.
        """
        if len(decision.ready) != 1 or decision.reasons:
            return None
        policies = self._policies(commit.run)
        if counts_steps(policies):
            return None
        (ready,) = decision.ready
        return self._put_claim(commit, ready.command, ready.attempt, policies, now)

    def _put_claim(
        self,
        commit: Commit,
        command: StepCommand[Any],
        number: int,
        policies: Policies,
        now: Millis,
    ) -> ClaimedAttempt:
        """Add a claim to a commit; the claim holds once the commit is applied."""
        options, timeout = self.runs.options, step_timeout(command, policies.timeouts)
        attempt = Attempt(
            step=command.id,
            number=number,
            state=AttemptState.CLAIMED,
            fence=commit.run.fence,
            worker=options.worker_id,
            claimed_at=now,
            lease_until=now + options.lease,
            timeout_at=None if timeout is None else now + timeout,
        )
        commit.put_attempt(attempt)
        commit.run = unparked(commit.run)
        return ClaimedAttempt(
            attempt=attempt,
            command=command,
            timeout=timeout,
            retries=command.retries or commit.run.retries or policies.retries,
        )

    # -- run ----------------------------------------------------------------------------------

    def _start(
        self, claim: ClaimedAttempt, journal: Journal, reader: Continuation
    ) -> InFlightAttempt:
        """Run a claimed attempt in a task; it is answered after its commit, or at the bound."""
        loop = asyncio.get_running_loop()
        running = self._begin(claim, journal, reader, loop.create_future())
        running.task = loop.create_task(self._run_all(running))
        self.watch.start()
        return running

    def _begin(
        self,
        claim: ClaimedAttempt,
        journal: Journal,
        reader: Continuation,
        answer: asyncio.Future[Executed],
    ) -> InFlightAttempt:
        run, attempt = journal.run, claim.attempt
        running = InFlightAttempt(
            run_id=run.run_id,
            provider=run.provider,
            claimed=claim,
            attempt=attempt,
            journal=journal,
            step_context=StepContext(
                run_id=run.run_id,
                step=attempt.step,
                attempt=attempt.number,
                chunk_limit=MAX_CHUNKS - run.chunks,
            ),
            answer=answer,
            reader=reader,
            started_at=asyncio.get_running_loop().time(),
        )
        self.runs.in_flight.add(running)
        return running

    async def _run_all(self, first: InFlightAttempt) -> None:
        """Run an attempt, then each attempt that the commit of the one before has claimed."""
        running: InFlightAttempt | None = first
        while running is not None:
            running = await self._run(running)

    async def _run(self, running: InFlightAttempt) -> InFlightAttempt | None:
        """Run the body and commit its outcome; return the attempt that the commit claimed."""
        claim = running.claimed
        body = self.bodies.run(claim.command, running.step_context, running.journal, claim.timeout)
        try:
            with FailureLog(
                log,
                "an attempt could not be committed",
                action="attempt_not_committed",
                attempt=running.claim,
            ) as failure:
                return await self._commit(running, body)
            # The lease will run out: then the attempt counts as lost, and the run goes on.
            error = failure.error
            running.answer_with(error if isinstance(error, TurnoutError) else Unavailable())
        except asyncio.CancelledError:
            if not running.dropped:
                running.answer_with(Unavailable("this worker was stopped; send the call again"))
                raise
        finally:
            self.runs.in_flight.remove(running)
        return None

    # -- commit -------------------------------------------------------------------------------

    async def _commit(
        self, running: InFlightAttempt, body: Awaitable[BodyOutcome]
    ) -> InFlightAttempt | None:
        """Commit how a body ends; then answer the caller, or begin the attempt that was claimed.

        An outcome that cannot be had or recorded, whatever the reason, fails the attempt by name.
        """
        with UnexpectedLog(
            log,
            "an attempt fails, because its outcome cannot be recorded",
            action="outcome_not_recorded",
            attempt=running.claim,
        ) as unexpected:
            outcome = await body
            if running.dropped:
                return None
            return await self._commit_patiently(running, outcome, may_raise=True)
        if running.dropped:
            return None
        failed = failed_by(unexpected)
        return await self._commit_patiently(running, failed, may_raise=False)

    async def _commit_patiently(
        self, running: InFlightAttempt, outcome: BodyOutcome, *, may_raise: bool
    ) -> InFlightAttempt | None:
        """Commit an outcome; a store that does not answer is tried again."""
        ending = Ending(running, outcome)
        for failures in range(STORE_TRIES):
            try:
                return await self._commit_or_join(ending, may_raise=may_raise)
            except Unavailable:
                running.committing, ending.answer = False, None
            await asyncio.sleep(min(0.1 * 2**failures, 2.0))
        return await self._commit_or_join(ending, may_raise=may_raise)

    async def _commit_or_join(self, ending: Ending, *, may_raise: bool) -> InFlightAttempt | None:
        """Commit an ending with all of its run that wait; one who waited may find it committed."""
        locked = self.cache.at(ending.running.run_id)
        locked.cached.endings.append(ending)
        async with locked as cached:
            if ending.answer is None:
                await self._commit_group(cached, ending, may_raise=may_raise)
            return self._answer(ending.running, ending.outcome(), cached.journal)

    async def _commit_group(self, cached: CachedRun, current: Ending, *, may_raise: bool) -> None:
        """Commit the endings of a run that wait; where that fails, only the current one.

        The others then find no answer when it is their turn, and commit theirs.
        """
        waiting, cached.endings = cached.endings, []
        group = [ending for ending in waiting if not ending.running.dropped]
        for ending in group:
            ending.running.committing = True
        if len(group) > 1 and await self._commit_together(cached, group):
            return
        await self._commit_endings(cached, [current], may_raise=may_raise)

    async def _commit_together(self, cached: CachedRun, group: Sequence[Ending]) -> bool:
        """Commit endings in one change; False where one of them is at fault."""
        try:
            with UnexpectedLog(log, _ONE_BY_ONE, action=_ACTION, run_id=cached.run_id):
                await self._commit_endings(cached, group, may_raise=True)
                return True
        except Unavailable as error:
            for ending in group:
                ending.answer = error
            return True
        except TurnoutError as error:
            extra = {"action": _ACTION, "run_id": cached.run_id, "error": str(error)}
            log.info(_ONE_BY_ONE, extra=extra)
        return False

    async def _commit_endings(
        self, cached: CachedRun, endings: Sequence[Ending], *, may_raise: bool = False
    ) -> None:
        """Commit the ends of those attempts that this process still holds, in one change."""
        if not cached.is_read:
            await self.runs.reload(cached, for_caller=False)
        for _ in range(TRIES):
            journal = cached.journal
            owned = [ending for ending in endings if is_held(journal, ending.running.attempt)]
            if len(owned) < len(endings) and not cached.fresh:
                await self.runs.reload(cached, for_caller=False)
            elif not owned or await self._commit_held(cached, owned, may_raise=may_raise):
                break
        else:
            raise self.runs.contended(cached)
        for ending in endings:
            if ending.answer is None:
                ending.answer = await self._answer_current(cached, ending.running)

    async def _commit_held(
        self, cached: CachedRun, endings: Sequence[Ending], *, may_raise: bool
    ) -> bool:
        """Commit the ends of attempts that this process holds; False: the run was read again."""
        now, commit = self.runs.clock.now(), Commit(cached.journal)
        settled = [put_ending(commit, ending, now) for ending in endings]
        continuation = continuation_of(endings)
        decision = await self.runs.decide(cached, commit, now, continuation)
        if decision is None:
            return False
        own_next = continuation is Continuation.WORKER and not self.closing
        claim = self._claim_next(commit, decision, now) if own_next else None
        after, apply = _after(decision, claim), self.runs.apply
        if not await apply(cached, commit, after, now, continuation, may_raise=may_raise):
            await self.runs.reload(cached, for_caller=False)
            return False
        if claim is not None:
            endings[0].answer = claim
            return True
        answer = await self.runs.next(cached)
        for ending, (attempt, step) in zip(endings, settled, strict=True):
            ending.answer = Executed(receipt=receipt_of(step, attempt), next=answer)
        return True

    # -- answer -------------------------------------------------------------------------------

    def _answer(
        self, running: InFlightAttempt, answer: Executed | ClaimedAttempt, journal: Journal
    ) -> InFlightAttempt | None:
        """Answer the caller, or begin the attempt that was claimed for it."""
        if isinstance(answer, Executed):
            running.answer_with(answer)
            return None
        following = self._begin(answer, journal, running.reader, running.answer)
        following.task = running.task
        return following

    async def _answer_recorded(self, cached: CachedRun, call: Execute) -> Executed:
        """Answer with what is recorded of an attempt."""
        attempt = _recorded(cached, call)
        runs, claim = self.runs, (call.run_id, call.step, call.attempt)
        is_claimed = attempt is not None and attempt.state is AttemptState.CLAIMED
        if is_claimed and claim not in runs.in_flight and not cached.fresh:
            await runs.reload(cached)
        answer = await runs.advance(cached)
        attempt = _recorded(cached, call)
        if attempt is None:
            return _busy(call, answer)
        if attempt.state is AttemptState.CLAIMED:
            answer = await runs.next(cached, lease_until=attempt.lease_until)
        receipt = receipt_of(cached.journal.steps[call.step], attempt)
        return Executed(receipt=receipt, next=answer)

    async def _answer_current(self, cached: CachedRun, running: InFlightAttempt) -> Executed:
        """Answer for an attempt that this process no longer holds, from the journal."""
        answer = await self.runs.advance(cached, running.continuation)
        name, number = running.attempt.step, running.attempt.number
        attempts = cached.journal.attempts.get(name, ())
        attempt = attempts[number - 1] if number <= len(attempts) else None
        if attempt is None or attempt.state is AttemptState.CLAIMED:
            return Executed(receipt=not_run(name, number, Outcome.BUSY), next=answer)
        return Executed(receipt=receipt_of(cached.journal.steps[name], attempt), next=answer)

    # -- stop ---------------------------------------------------------------------------------

    async def close(self, grace: float) -> None:
        """Claim nothing more, wait `grace` seconds for running attempts, interrupt those left."""
        self.closing = True
        in_flight = self.runs.in_flight
        tasks = {running.task for running in in_flight if running.task is not None}
        if tasks and grace > 0:
            await asyncio.wait(tasks, timeout=grace)
        # In rounds: a commit in progress may still claim an attempt.
        while any(not running.dropped for running in in_flight):
            for running in in_flight:
                if not running.committing and not running.dropped:
                    await self._interrupt_or_log(running)
            # Not for the tasks: they may go on with the attempt that their commit claims.
            await asyncio.gather(*(running.ended() for running in in_flight if running.committing))
        self.watch.stop()
        await self.bodies.close()

    async def _interrupt_or_log(self, running: InFlightAttempt) -> None:
        try:
            await self._interrupt(running)
        except TurnoutError:
            log.warning(
                "an attempt could not be interrupted; it counts as lost when its lease runs out",
                exc_info=True,
                extra={"action": "interrupt_failed", "attempt": running.claim},
            )

    async def _interrupt(self, running: InFlightAttempt) -> None:
        """Interrupt an attempt: it does not count, and another worker may go on at once."""
        running.drop()
        async with self.cache.at(running.run_id) as cached:
            running.answer_with(Overloaded("this worker is stopping; send the call again"))
            await self._commit_endings(cached, [Ending(running, None)])

    async def _drop(self, running: InFlightAttempt) -> None:
        """Stop an attempt that this process no longer holds, and answer its caller."""
        running.drop()
        try:
            async with self.cache.at(running.run_id) as cached:
                await self.runs.reload(cached)
                running.answer_with(await self._answer_current(cached, running))
        except Refused as error:
            running.answer_with(error)
        except TurnoutError as error:
            running.answer_with(error)
            raise

    # -- look-ups ----------------------------------------------------------------------------

    def _is_next(self, cached: CachedRun, call: Execute) -> bool:
        run, decision = cached.journal.run, cached.decision
        if decision is None or run.state.terminal:
            return False
        if run.deadline_at is not None and run.deadline_at <= self.runs.clock.now():
            return False
        return any(
            ready.command.id == call.step and ready.attempt == call.attempt
            for ready in decision.ready
        )

    def _policies(self, run: Run) -> Policies:
        return self.runs.app.task(run.task).policies


def _recorded(cached: CachedRun, call: Execute) -> Attempt | None:
    attempts = cached.journal.attempts.get(call.step, ())
    return attempts[call.attempt - 1] if call.attempt <= len(attempts) else None


def _busy(call: Execute, answer: Next) -> Executed:
    return Executed(receipt=not_run(call.step, call.attempt, Outcome.BUSY), next=answer)


def _after(decision: Decision, claim: ClaimedAttempt | None) -> Decision:
    """Return the decision after a commit, which may have claimed an attempt."""
    return decision if claim is None else after_claim(decision, claim.attempt.step)

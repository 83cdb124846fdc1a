"""Claims: an attempt is begun once, by whoever commits first.

An attempt is claimed in a commit of its own, or, for a caller that goes on by itself, in the commit
that made it the next thing to do. Either way it is claimed before its body runs.
"""

from dataclasses import dataclass
from typing import Any

from turnout.driver.commands import StepCommand
from turnout.driver.decision import Decision, claimed
from turnout.errors import Overloaded
from turnout.model.policies import Policies, Retries
from turnout.model.protocol import Execute, Executed, Outcome, RunCall
from turnout.model.runs import Attempt, Run
from turnout.model.status import AttemptState
from turnout.model.time import Millis
from turnout.worker.answers import executed, not_run, receipt_of, step_timeout
from turnout.worker.changes import Draft, unparked
from turnout.worker.run_cache import Seat
from turnout.worker.runner import TRIES, Runner, counts_steps


@dataclass(frozen=True, kw_only=True, slots=True)
class Claimed:
    """An attempt that this process has committed to run, and what its body needs."""

    attempt: Attempt
    command: StepCommand[Any]
    limit: Millis | None
    retries: Retries


async def begin_attempt(
    runner: Runner, seat: Seat, call: Execute, *, closing: bool
) -> Claimed | Executed:
    """Claim the attempt that is called for, or tell why it is not begun.

    Recorded: its outcome. Claimed by another: busy, until that one's lease ends. Not the one that
    comes next: busy, with what does.
    """
    for _ in range(TRIES):
        if _recorded(seat, call) is not None:
            return await _recalled(runner, seat, call)
        if closing:
            raise Overloaded("this worker is stopping; send the call again")
        if not _comes_next(runner, seat, call):
            # What is remembered may be old, or a back-off may just have ended.
            if not seat.fresh:
                await runner.reload(seat)
            then = await runner.look(seat)
            if _recorded(seat, call) is not None:
                continue
            if not _comes_next(runner, seat, call):
                return executed(not_run(call.step, call.attempt, Outcome.BUSY), then)
        found = await _claim(runner, seat, call)
        if found is not None:
            return found
        await runner.reload(seat)
    raise runner.contended(seat)


async def begin_next(
    runner: Runner, seat: Seat, call: RunCall[Any], *, known: Run | None = None
) -> Claimed | None:
    """Bring the run as far as it goes, and claim with it the only attempt that comes next.

    None where it is not exactly one: the seat then shows what is. The delivery is claimed first,
    or with the first commit of a run that is known.
    """
    calling = None if known is None else runner.guess(seat, call, known)
    if calling is None:
        await runner.claim(seat, call)
    for _ in range(TRIES):
        if seat.known.run.state.terminal:
            return None
        now, draft = runner.clock.now(), Draft(seat.known)
        draft.calling = calling
        decision = await runner.decide(seat, draft, now)
        if decision is None:
            continue
        begun = put_next(runner, draft, decision, now)
        if await runner.apply(seat, draft, standing(decision, begun), now):
            seat.caller = (call.delivery, call.provider_run_id)
            return begun
        if calling is None:
            await runner.reload(seat)
        else:
            calling = None
            await runner.claim(seat, call)
    raise runner.contended(seat)


def put_next(runner: Runner, draft: Draft, decision: Decision, now: Millis) -> Claimed | None:
    """Claim in this draft the attempt that comes next, if that is all there is to do.

    Steps that a limit counts are left to `begin_attempt`, which stands in line for a slot first.
    """
    if len(decision.ready) != 1 or decision.reasons:
        return None
    policies = runner.app.task(draft.run.task).policies
    if counts_steps(policies):
        return None
    (ready,) = decision.ready
    return _put_claim(runner, draft, ready.command, ready.attempt, policies, now)


def standing(decision: Decision, begun: Claimed | None) -> Decision:
    """Say what stands once a draft with this claim, or without one, has been committed."""
    return decision if begun is None else claimed(decision, begun.attempt.step)


def _recorded(seat: Seat, call: Execute) -> Attempt | None:
    tried = seat.known.attempts.get(call.step, ())
    return tried[call.attempt - 1] if call.attempt <= len(tried) else None


def _comes_next(runner: Runner, seat: Seat, call: Execute) -> bool:
    run, decision = seat.known.run, seat.decision
    if decision is None or run.state.terminal:
        return False
    if run.deadline_at is not None and run.deadline_at <= runner.clock.now():
        return False
    return any(
        each.command.id == call.step and each.attempt == call.attempt for each in decision.ready
    )


async def _recalled(runner: Runner, seat: Seat, call: Execute) -> Executed:
    """Answer with what is recorded of an attempt."""
    found = _recorded(seat, call)
    claim = (call.run_id, call.step, call.attempt)
    unsure = found is not None and found.state is AttemptState.CLAIMED
    if unsure and runner.flights.get(claim) is None and not seat.fresh:
        await runner.reload(seat)
    then = await runner.look(seat)
    found = _recorded(seat, call)
    if found is None:
        return executed(not_run(call.step, call.attempt, Outcome.BUSY), then)
    if found.state is AttemptState.CLAIMED:
        then = await runner.next(seat, lease_until=found.lease_until)
    return executed(receipt_of(seat.known.steps[call.step], found), then)


async def _claim(runner: Runner, seat: Seat, call: Execute) -> Claimed | Executed | None:
    journal, decision = seat.known, seat.decision
    assert decision is not None
    command, now = decision.commands[call.step][0], runner.clock.now()
    policies = runner.app.task(journal.run.task).policies
    if not await runner.slot(journal.run, policies, call.step, now):
        then = await runner.next(seat)
        return executed(not_run(call.step, call.attempt, Outcome.BUSY), then)
    draft = Draft(journal)
    begun = _put_claim(runner, draft, command, call.attempt, policies, now)
    return begun if await runner.apply(seat, draft, standing(decision, begun), now) else None


def _put_claim(
    runner: Runner,
    draft: Draft,
    command: StepCommand[Any],
    number: int,
    policies: Policies,
    now: Millis,
) -> Claimed:
    """Put a claim into a draft; it stands once the draft has been committed."""
    limit = step_timeout(command, policies.timeouts)
    attempt = Attempt(
        step=command.id,
        number=number,
        state=AttemptState.CLAIMED,
        fence=draft.run.fence,
        worker=runner.options.worker_id,
        claimed_at=now,
        lease_until=now + runner.options.lease,
        timeout_at=None if limit is None else now + limit,
    )
    draft.put_attempt(attempt)
    draft.run = unparked(draft.run)
    return Claimed(
        attempt=attempt, command=command, limit=limit, retries=command.retries or policies.retries
    )

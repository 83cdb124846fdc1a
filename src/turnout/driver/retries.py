"""Decides what becomes of an attempt: whether its step is tried again, and when."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from turnout.driver.effects import settled
from turnout.errors import InvalidDefinition
from turnout.model.ids import is_shadow, primary_id
from turnout.model.policies import Retries
from turnout.model.runs import Attempt, Failure, Step
from turnout.model.status import AttemptState
from turnout.model.time import LONGEST, Millis

TIMED_OUT: Final = Failure(name="TimedOut", message="the step's time was up")
LOST: Final = Failure(
    name="Lost", message="the worker that ran this attempt was not heard of in time"
)
INTERRUPTED: Final = Failure(name="Interrupted", message="the worker stopped")


@dataclass(frozen=True, kw_only=True, slots=True)
class BodyOutcome:
    """How a step's body ended: with an output, or with an error."""

    output: bytes | None = None
    """Canonical JSON."""
    error: Failure | None = None
    non_retryable: bool = False
    """Whether the error ends the step, however many tries are left."""
    retry_after: Millis | None = None
    """The moment before which the step is not tried again; None: as its policy says."""
    timed_out: bool = False


def settle_attempt(
    run_id: str,
    step: Step,
    attempts: Sequence[Attempt],
    retries: Retries,
    outcome: BodyOutcome,
    now: Millis,
) -> tuple[Attempt, Step]:
    """Settle the last of a step's attempts, and the step with it where that was its last try."""
    last = attempts[-1]
    if outcome.error is None:
        completed = last._replace(state=AttemptState.COMPLETED, ended_at=now)
        return completed, settled(step, now, output=outcome.output)
    state = AttemptState.TIMED_OUT if outcome.timed_out else AttemptState.FAILED
    ended = last._replace(state=state, ended_at=now, error=outcome.error)
    if outcome.non_retryable:
        return ended, settled(step, now, error=outcome.error)
    return _retry_or_fail(run_id, step, (*attempts[:-1], ended), retries, now, outcome.retry_after)


def lose_attempt(
    run_id: str, step: Step, attempts: Sequence[Attempt], retries: Retries, now: Millis
) -> tuple[Attempt, Step]:
    """Settle an attempt whose lease ran out; it counts, unless it is a shadow's.

    A shadow repeats what its primary recorded, and its lost attempt has used up nothing of that.
    """
    if is_shadow(run_id):
        return interrupt_attempt(attempts[-1], now)._replace(error=LOST), step
    ended = attempts[-1]._replace(state=AttemptState.LOST, ended_at=now, error=LOST)
    return _retry_or_fail(run_id, step, (*attempts[:-1], ended), retries, now, None)


def interrupt_attempt(attempt: Attempt, now: Millis) -> Attempt:
    """Settle an attempt that a graceful stop ended; it does not count."""
    return attempt._replace(state=AttemptState.INTERRUPTED, ended_at=now, error=INTERRUPTED)


def counted(attempts: Sequence[Attempt]) -> int:
    """How many of a step's attempts used up one of its tries."""
    return sum(attempt.state.counts for attempt in attempts)


def check_retry_after(moment: Millis, now: Millis) -> Millis:
    """Accept a moment that user code asked to be tried again at."""
    if moment - now > LONGEST:
        raise InvalidDefinition("RetryAfter: the delay is longer than 366 days")
    return max(moment, now)


def _retry_or_fail(
    run_id: str,
    step: Step,
    attempts: Sequence[Attempt],
    retries: Retries,
    now: Millis,
    retry_after: Millis | None,
) -> tuple[Attempt, Step]:
    tries = counted(attempts)
    if tries >= retries.max_attempts:
        return attempts[-1], settled(step, now, error=attempts[-1].error)
    if retry_after is None:
        retry_after = now + retries.delay(tries, seed=f"{primary_id(run_id)}/{step.step}")
    return attempts[-1]._replace(retry_at=retry_after), step

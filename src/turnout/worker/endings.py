"""The end of an attempt, between the end of its body and its commit.

Attempts of one run that end while a commit of the run is under way are committed together in the
next one, and the function is replayed once for all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from turnout.driver.retries import BodyOutcome, interrupt_attempt, settle_attempt
from turnout.errors import Unavailable
from turnout.model.protocol import Executed
from turnout.model.runs import Attempt, Journal, Step
from turnout.model.status import AttemptState
from turnout.model.time import Millis
from turnout.worker.commit import Commit
from turnout.worker.continuation import Continuation
from turnout.worker.in_flight import ClaimedAttempt, InFlightAttempt


@dataclass(slots=True, eq=False)
class Ending:
    """The end of an attempt, from the end of its body until the caller can be answered."""

    running: InFlightAttempt
    body: BodyOutcome | None
    """How the body ended; None: the attempt is interrupted, and does not count."""
    answer: Executed | ClaimedAttempt | Unavailable | None = None
    """What its commit brought; Unavailable where the store did not answer."""

    def outcome(self) -> Executed | ClaimedAttempt:
        """Return what its commit brought; raises Unavailable."""
        if isinstance(self.answer, Unavailable):
            raise self.answer
        assert self.answer is not None
        return self.answer


def put_ending(commit: Commit, ending: Ending, now: Millis) -> tuple[Attempt, Step]:
    """Add the end of an attempt to a commit."""
    running, journal = ending.running, commit.journal
    step = journal.steps[running.attempt.step]
    # From the journal, which has the number of chunks that are already recorded.
    attempts = journal.attempts[step.step]
    if ending.body is None:
        attempt = interrupt_attempt(attempts[-1], now)
    else:
        retries = running.claimed.retries
        attempt, step = settle_attempt(running.run_id, step, attempts, retries, ending.body, now)
    commit.put_attempt(attempt)
    if step is not journal.steps[step.step]:
        commit.put_step(step)
    commit.put_progress(running.step_context.progress)
    commit.stream_of(attempt, running.step_context.streamed, now)
    return attempt, step


def continuation_of(endings: Sequence[Ending]) -> Continuation:
    """Say who acts on what comes next: of several, any caller whose answer is still to come."""
    continuations = {ending.running.continuation for ending in endings}
    if len(endings) == 1 or continuations == {Continuation.PUMP}:
        return continuations.pop()
    return Continuation.CALLER


def is_held(journal: Journal, attempt: Attempt) -> bool:
    """Whether a claim of this process still stands in the journal."""
    attempts = journal.attempts.get(attempt.step, ())
    last = attempts[-1] if attempts else None
    return (
        last is not None
        and last.number == attempt.number
        and last.state is AttemptState.CLAIMED
        and last.worker == attempt.worker
        and not journal.run.state.terminal
        and journal.run.fence == attempt.fence
    )

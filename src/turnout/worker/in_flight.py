"""The attempts whose bodies run in this process now."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from turnout.driver.commands import StepCommand
from turnout.driver.context import StepContext
from turnout.model.policies import Retries
from turnout.model.protocol import Executed
from turnout.model.runs import Attempt, Claim, Journal
from turnout.model.time import Millis
from turnout.worker.continuation import Continuation


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimedAttempt:
    """An attempt that this process has claimed, and what its body needs."""

    attempt: Attempt
    command: StepCommand[Any]
    timeout: Millis | None
    retries: Retries


@dataclass(slots=True, eq=False, kw_only=True)
class InFlightAttempt:
    """One attempt that runs here, from its claim to its commit."""

    run_id: str
    provider: str
    """The provider whose vendor run calls."""
    claimed: ClaimedAttempt
    attempt: Attempt
    """The attempt, as it was claimed."""
    journal: Journal
    """The run as the claim left it."""
    step_context: StepContext
    """The progress and chunks that the body reports."""
    answer: asyncio.Future[Executed]
    """The answer to the caller; given before the commit if it is `accepted`."""
    reader: Continuation
    """Who acts on the answer, for as long as the answer is waited for."""
    started_at: float
    """When it began, in the loop's time."""
    task: asyncio.Task[None] | None = None
    watches: int = 0
    """How many rounds of the watch have seen the attempt."""
    recorded_state: tuple[bytes | None, int] = (None, 0)
    """The progress and the number of chunks that were last recorded while it ran."""
    committing: bool = False
    """Whether its outcome is being committed."""
    dropped: bool = False
    """Whether the attempt was stopped, so that its outcome is not committed."""
    _ended: asyncio.Future[None] | None = None

    @property
    def claim(self) -> Claim:
        """The key of the attempt: run, step and number."""
        return self.run_id, self.attempt.step, self.attempt.number

    @property
    def continuation(self) -> Continuation:
        """Who acts on what comes next: the pump once the caller has been answered."""
        return Continuation.PUMP if self.answer.done() else self.reader

    def ended(self) -> asyncio.Future[None]:
        """Return a future that is done once this attempt has ended."""
        if self._ended is None:
            self._ended = asyncio.get_running_loop().create_future()
        return self._ended

    def end(self) -> None:
        """Complete the future of `ended`."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def answer_with(self, answer: Executed | BaseException) -> None:
        """Answer the caller, if it has no answer yet."""
        if self.answer.done():
            return
        if isinstance(answer, BaseException):
            self.answer.set_exception(answer)
            self.answer.exception()  # marks it as retrieved: its reader may have gone
        else:
            self.answer.set_result(answer)

    def drop(self) -> None:
        """Stop the body as far as it can be stopped; its outcome is not committed."""
        self.dropped = True
        self.step_context.cancelled = True
        if self.task is not None:
            self.task.cancel()


@dataclass(slots=True)
class InFlightAttempts:
    """The attempts that run in this process, by claim."""

    _by_claim: dict[Claim, InFlightAttempt] = field(default_factory=dict)

    def __iter__(self) -> Iterator[InFlightAttempt]:
        return iter(tuple(self._by_claim.values()))

    def __len__(self) -> int:
        return len(self._by_claim)

    def __contains__(self, claim: Claim) -> bool:
        return claim in self._by_claim

    def add(self, attempt: InFlightAttempt) -> None:
        """Add an attempt that begins."""
        self._by_claim[attempt.claim] = attempt

    def remove(self, attempt: InFlightAttempt) -> None:
        """Remove an attempt that has ended."""
        if self._by_claim.get(attempt.claim) is attempt:
            del self._by_claim[attempt.claim]
        attempt.end()

    def claims_of(self, run_id: str, attempts: Sequence[Attempt]) -> list[Claim]:
        """Return the claims of those of a run's attempts that run here and are not dropped."""
        claims = [(run_id, attempt.step, attempt.number) for attempt in attempts]
        return [
            claim
            for claim in claims
            if (running := self._by_claim.get(claim)) is not None and not running.dropped
        ]

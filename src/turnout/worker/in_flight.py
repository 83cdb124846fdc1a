"""The attempts whose bodies run in this process now."""

import asyncio
from collections.abc import Iterator, Sequence
from contextvars import Context
from dataclasses import dataclass, field

from turnout.driver.context import StepContext
from turnout.model.protocol import Executed
from turnout.model.runs import Attempt

Claim = tuple[str, str, int]
"""A run, a step, an attempt's number."""


@dataclass(slots=True, eq=False, kw_only=True)
class Flight:
    """One attempt that runs here, from its claim to its commit.

    answer: what the caller waits for; done before the landing when the caller was told `accepted`,
    or has gone. onward: its caller goes on with what comes next, in this context and this task.
    landing: its outcome is being committed. dropped: its outcome is not wanted.
    """

    run_id: str
    provider: str
    attempt: Attempt
    here: StepContext
    answer: asyncio.Future[Executed]
    began: float
    context: Context
    onward: bool = False
    task: asyncio.Task[None] | None = None
    watched: int = 0
    shown: tuple[bytes | None, int] = (None, 0)
    landing: bool = False
    dropped: bool = False
    over: asyncio.Future[None] | None = None

    def ended(self) -> asyncio.Future[None]:
        """Give what is done once it has landed, or will not land any more."""
        if self.over is None:
            self.over = asyncio.get_running_loop().create_future()
        return self.over

    @property
    def claim(self) -> Claim:
        """The name of the attempt."""
        return self.run_id, self.attempt.step, self.attempt.number

    def answered(self, answer: Executed | BaseException) -> None:
        """Give the caller its answer, if it still waits."""
        if self.answer.done():
            return
        if isinstance(answer, BaseException):
            self.answer.set_exception(answer)
            self.answer.exception()  # it may have no reader any more, and that is no news
        else:
            self.answer.set_result(answer)

    def drop(self) -> None:
        """Stop the body as far as it can be stopped; what it still does is not wanted."""
        self.dropped = True
        self.here.cancelled = True
        if self.task is not None:
            self.task.cancel()


@dataclass(slots=True)
class Flights:
    """All of them, by claim."""

    _flying: dict[Claim, Flight] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Flight]:
        return iter(tuple(self._flying.values()))

    def __len__(self) -> int:
        return len(self._flying)

    def get(self, claim: Claim) -> Flight | None:
        """Find one."""
        return self._flying.get(claim)

    def add(self, flight: Flight) -> None:
        """Begin one."""
        self._flying[flight.claim] = flight

    def end(self, flight: Flight) -> None:
        """Forget one."""
        if self._flying.get(flight.claim) is flight:
            del self._flying[flight.claim]
        if flight.over is not None and not flight.over.done():
            flight.over.set_result(None)

    def own(self, run_id: str, attempts: Sequence[Attempt]) -> list[Claim]:
        """Those of a run's attempts that run here."""
        named = [(run_id, each.step, each.number) for each in attempts]
        return [
            claim
            for claim in named
            if (flight := self._flying.get(claim)) is not None and not flight.dropped
        ]

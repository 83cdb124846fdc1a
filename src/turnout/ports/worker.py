"""The worker plane: what a durable caller calls."""

from typing import Protocol, TypeVar

from turnout.model.protocol import Advance, Call, Execute, Next
from turnout.model.runs import Run

AnswerT = TypeVar("AnswerT")


class Worker(Protocol):
    """Runs a task one call at a time; every call is idempotent."""

    async def answer(self, call: Call[AnswerT]) -> AnswerT:
        """Answer one message of the step protocol, whose class says what it does.

        Raises Superseded or RunEnded when the vendor run must end quietly, DefinitionMismatch when
        its worker is of another protocol or definition, Unavailable when the same call should be
        made again later.
        """
        ...


class RunsOn(Protocol):
    """A worker that runs several attempts in turn for one call of a caller in its process."""

    async def run_on(self, call: Advance | Execute, *, delivered: Run | None = None) -> Next:
        """Advance or execute, and then execute what comes next while that is one attempt alone.

        It does what the caller would ask for in several calls, in fewer commits.
        delivered: the run as it came with its delivery, which saves a read if it is unchanged.
        The Next says what is left to do.
        """
        ...


class WorkerInProcess(Worker, RunsOn, Protocol):
    """A worker in this process: it answers, and runs on."""

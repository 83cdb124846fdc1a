"""Stand-ins for the bodies of steps."""

import asyncio
from collections.abc import Mapping
from typing import Any

from turnout.driver.commands import StepCommand
from turnout.driver.context import StepContext
from turnout.driver.retries import BodyOutcome
from turnout.model.runs import Journal
from turnout.model.time import Millis
from turnout.ports.clock import Clock
from turnout.worker.bodies import LiveBodies


class InTurn:
    """One outcome for each attempt of a step, in turn; the last one for all that follow."""

    def __init__(self, *outcomes: Any) -> None:
        if not outcomes:
            raise ValueError("InTurn: give at least one outcome")
        self._outcomes = outcomes

    def __call__(self, attempt: int) -> Any:
        """Give the outcome of an attempt; the first is 1."""
        return self._outcomes[min(attempt, len(self._outcomes)) - 1]


class StubBodies:
    """Runs steps' own functions, but for those that have a stand-in."""

    def __init__(self, clock: Clock, stubs: Mapping[str, Any]) -> None:
        self._live = LiveBodies(clock, threads=8)
        self._stubs = stubs
        self.steps_replaced: set[str] = set()

    async def run(
        self,
        command: StepCommand[Any],
        context: StepContext,
        journal: Journal,
        limit: Millis | None,
        /,
    ) -> BodyOutcome:
        """Run the stand-in of the step, or the step; either is retried and recorded alike."""
        if command.id not in self._stubs:
            return await self._live.run(command, context, journal, limit)
        self.steps_replaced.add(command.id)
        stub = self._stubs[command.id]
        outcome = stub(context.attempt) if isinstance(stub, InTurn) else stub
        function = command.function
        try:
            command.function = _Stub(function, outcome)
            return await self._live.run(command, context, journal, limit)
        finally:
            command.function = function

    async def close(self) -> None:
        """Let go of the threads."""
        await self._live.close()


class _Stub:
    """A body that does what was given: is called, is raised, or is returned."""

    def __init__(self, function: Any, outcome: Any) -> None:
        self._outcome = outcome
        # What it stands in for says how its output is read.
        self.__annotations__ = getattr(function, "__annotations__", {})

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        outcome = self._outcome
        if isinstance(outcome, BaseException) or (
            isinstance(outcome, type) and issubclass(outcome, BaseException)
        ):
            raise outcome
        if not callable(outcome):
            return outcome
        output = outcome(*args, **kwargs)
        return await output if asyncio.iscoroutine(output) else output

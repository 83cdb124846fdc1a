"""How a shadow's steps run: by default never; the primary's recorded results replace them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from turnout.driver.commands import StepCommand
from turnout.driver.context import StepContext
from turnout.driver.retries import BodyOutcome
from turnout.errors import RetryAfter
from turnout.model.runs import Attempt, Failure, Journal, Step
from turnout.model.status import AttemptState, StepState
from turnout.model.tasks import App, Task
from turnout.model.time import Millis
from turnout.ports.clock import Clock
from turnout.worker.bodies import Bodies
from turnout_dualrun.recordings import Recordings

_WITHOUT_OUTCOME = {AttemptState.LOST, AttemptState.INTERRUPTED}
"""Attempts of a shadow that used up no recording: the next one gets what theirs would have been."""

NOT_RECORDED = Failure(name="NotRecorded", message="the primary made no such attempt")


class ShadowBodies:
    """Runs a shadow's attempts by the task's declared mode: replay, mock or execute."""

    def __init__(self, *, app: App, recordings: Recordings, clock: Clock, live: Bodies) -> None:
        self._app = app
        self._recordings = recordings
        self._clock = clock
        self._live = live

    async def run(
        self,
        command: StepCommand[Any],
        context: StepContext,
        journal: Journal,
        limit: Millis | None,
        /,
    ) -> BodyOutcome:
        """Return what the primary recorded, after the same time; or run the mock, or the step."""
        task = self._app.task(journal.run.task)
        match task.shadow:
            case "replay":
                return await self._replay(context, journal)
            case "mock":
                return await self._live.run(_with_mock(task, command), context, journal, limit)
            case "execute":
                return await self._live.run(command, context, journal, limit)

    async def close(self) -> None:
        """Close what runs mocks and executed steps."""
        await self._live.close()

    async def _replay(self, context: StepContext, journal: Journal) -> BodyOutcome:
        await self._recordings.fetch(context.run_id)
        place = 1 + sum(
            attempt.number < context.attempt and attempt.state not in _WITHOUT_OUTCOME
            for attempt in journal.attempts.get(context.step, ())
        )
        recorded = self._recordings.attempt(context.run_id, context.step, place)
        step = self._recordings.step(context.run_id, context.step)
        if recorded is None or step is None or recorded.ended_at is None:
            return BodyOutcome(error=NOT_RECORDED, non_retryable=True)
        await self._clock.sleep(recorded.ended_at - recorded.claimed_at)
        return outcome(recorded, step, self._clock.now())


def outcome(recorded: Attempt, step: Step, now: Millis) -> BodyOutcome:
    """Turn a recorded attempt into an outcome; the shadow's driver decides what follows.

    The shadow's own policy decides the delay of a retry anew, so that it can be compared. Only a
    delay that the step's code asked for is repeated.
    """
    if recorded.state is AttemptState.COMPLETED:
        return BodyOutcome(output=step.output)
    by_code = recorded.error is not None and recorded.error.name == RetryAfter.__name__
    wait = (recorded.retry_at or 0) - (recorded.ended_at or 0)
    return BodyOutcome(
        error=recorded.error,
        non_retryable=recorded.retry_at is None and step.state is StepState.FAILED,
        retry_after=now + max(0, wait) if by_code and recorded.retry_at is not None else None,
        timed_out=recorded.state is AttemptState.TIMED_OUT,
    )


def _with_mock(task: Task, command: StepCommand[Any]) -> StepCommand[Any]:
    """Make the same step with the mock that the task declares for it."""
    mock = task.mocks.get(command.id) or _refusing_mock(task, command.id)
    mocked = replace(command, function=mock)
    command.session.unawaited.clear()  # the new command is run here, never awaited
    return mocked


def _refusing_mock(task: Task, step: str) -> Callable[..., Any]:
    def refuse(*_args: Any, **_kwargs: Any) -> Any:
        raise LookupError(f"task {task.id!r} declares no mock for step {step!r}")

    return refuse

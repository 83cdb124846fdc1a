"""How a shadow's steps run: never, by default; what the primary recorded stands in for them."""

from collections.abc import Callable
from typing import Any

from turnout.driver.commands import StepCommand
from turnout.driver.context import StepContext
from turnout.driver.retries import BodyOutcome
from turnout.dualrun.recordings import Recordings
from turnout.errors import RetryAfter
from turnout.model.runs import Attempt, Failure, Journal, Step
from turnout.model.status import AttemptState, StepState
from turnout.model.tasks import App, Task
from turnout.model.time import Millis
from turnout.ports.clock import Clock
from turnout.worker.bodies import Bodies

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
        asked: StepCommand[Any],
        here: StepContext,
        journal: Journal,
        timeout: Millis | None,  # noqa: ASYNC109 - measured on our clock, not the loop's
    ) -> BodyOutcome:
        """Give what the primary recorded, after as long; or call a stand-in, or the step itself."""
        task = self._app.task(journal.run.task)
        match task.shadow:
            case "replay":
                return await self._replayed(here)
            case "mock":
                return await self._live.run(_mocked(task, asked), here, journal, timeout)
            case "execute":
                return await self._live.run(asked, here, journal, timeout)

    async def close(self) -> None:
        """Let go of what mocks and executed steps ran in."""
        await self._live.close()

    async def _replayed(self, here: StepContext) -> BodyOutcome:
        await self._recordings.fetch(here.run_id)
        recorded = self._recordings.attempt(here.run_id, here.step, here.attempt)
        step = self._recordings.step(here.run_id, here.step)
        if recorded is None or step is None or recorded.ended_at is None:
            return BodyOutcome(error=NOT_RECORDED, non_retryable=True)
        await self._clock.sleep(recorded.ended_at - recorded.claimed_at)
        return outcome(recorded, step, self._clock.now())


def outcome(recorded: Attempt, step: Step, now: Millis) -> BodyOutcome:
    """Turn a recorded attempt into an outcome, for the shadow's driver to decide upon.

    The delay of a retry is decided anew by the shadow's own policy, so that it is compared; only a
    delay that the step's code asked for is repeated.
    """
    if recorded.state is AttemptState.COMPLETED:
        return BodyOutcome(output=step.output)
    asked = recorded.error is not None and recorded.error.name == RetryAfter.__name__
    wait = (recorded.retry_at or 0) - (recorded.ended_at or 0)
    return BodyOutcome(
        error=recorded.error,
        non_retryable=recorded.retry_at is None and step.state is StepState.FAILED,
        retry_after=now + max(0, wait) if asked and recorded.retry_at is not None else None,
        timed_out=recorded.state is AttemptState.TIMED_OUT,
    )


def _mocked(task: Task, asked: StepCommand[Any]) -> StepCommand[Any]:
    stand_in = task.mocks.get(asked.id)
    if stand_in is None:
        return _with(asked, _no_stand_in(task, asked.id))
    return _with(asked, stand_in)


def _with(asked: StepCommand[Any], function: Callable[..., Any]) -> StepCommand[Any]:
    made: StepCommand[Any] = StepCommand(
        asked.session, asked.id, function, asked.args, asked.kwargs, asked.retries, asked.timeout
    )
    asked.session.unawaited.clear()
    return made


def _no_stand_in(task: Task, step: str) -> Callable[..., Any]:
    def refuse(*_args: Any, **_kwargs: Any) -> Any:
        raise LookupError(f"task {task.id!r} declares no stand-in for step {step!r}")

    return refuse

"""The effects of a shadow's commands: they change nothing outside of the shadow's own run.

Sleeps are shortened to a limit; waits, children and emissions end as the primary's did, after the
same time.
"""

from typing import Any

from turnout.driver.commands import Command, SleepCommand
from turnout.driver.effects import NewStep, new_step, settled
from turnout.model.runs import Failure, Run, Step
from turnout.model.status import StepKind
from turnout.model.time import Millis
from turnout_dualrun.recordings import Recordings

NOT_RECORDED = Failure(name="NotRecorded", message="the primary did not ask for this")


class ShadowEffects:
    """The effects of shadows; the primary's recording was fetched before the replay."""

    def __init__(self, recordings: Recordings, *, longest: Millis) -> None:
        self._recordings = recordings
        self._longest = longest

    def record(self, run: Run, command: Command[Any], position: str, now: Millis) -> NewStep:
        """Record a new command, with the time at which its recorded outcome is due."""
        step = new_step(command, position, now)
        if command.kind is StepKind.STEP:
            return NewStep(step=step)
        step = step._replace(due_at=self._due_at(run, command, now))
        at_once = step.due_at is not None and step.due_at <= now
        return NewStep(step=self.due(run, step, now) if at_once else step)

    def due(self, run: Run, step: Step, now: Millis) -> Step:
        """Settle a wait as the primary's was settled."""
        if step.kind is StepKind.SLEEP:
            return settled(step, now)
        recorded = self._recordings.step(run.run_id, step.step)
        if recorded is None:
            return settled(step, now, error=NOT_RECORDED)
        return settled(step, now, output=recorded.output, error=recorded.error)

    def ended(self, run: Run, now: Millis) -> None:
        """Start nothing."""
        del run, now

    def _due_at(self, run: Run, command: Command[Any], now: Millis) -> Millis | None:
        """When the wait is over; None where the primary's wait never ended."""
        if isinstance(command, SleepCommand):
            planned = command.duration
            if planned is None:
                planned = max(0, (command.until or 0) - now)
            return now + min(planned, self._longest)
        recorded = self._recordings.step(run.run_id, command.id)
        if recorded is None:
            return now
        if recorded.ended_at is None:
            return None
        return now + min(recorded.ended_at - recorded.asked_at, self._longest)

"""The decision of a replay, as data."""

from dataclasses import dataclass, field
from typing import Any

from turnout.driver.commands import StepCommand, Streamed
from turnout.driver.effects import NewStep
from turnout.model.runs import Attempt, Failure, Step
from turnout.model.status import ParkReason, RunStatus
from turnout.model.time import Millis


@dataclass(slots=True, kw_only=True)
class Ready:
    """An attempt that can start now. index: the step's place in the order of asking."""

    command: StepCommand[Any]
    attempt: int
    index: int


@dataclass(slots=True, kw_only=True)
class Decision:
    """What a replay found: what to record, what to run, what to wait for, or the end."""

    new_steps: list[NewStep] = field(default_factory=list)
    """Commands that the journal does not have yet."""
    steps: list[Step] = field(default_factory=list)
    """Recorded steps that this replay settled, because their time had come."""
    attempts: list[Attempt] = field(default_factory=list)
    """Attempts whose lease had run out, as lost."""
    ready: list[Ready] = field(default_factory=list)
    commands: dict[str, tuple[StepCommand[Any], int]] = field(default_factory=dict)
    """Open steps by id, ready or not, with their place in the order of asking."""
    until: Millis | None = None
    """When the run must look again if nothing wakes it before."""
    reasons: tuple[ParkReason, ...] = ()
    """What it waits for, beside what is ready."""
    state: RunStatus = RunStatus.RUNNING
    result: bytes | None = None
    error: Failure | None = None
    progress: bytes | None = None
    """The last value that the function gave to ctx.progress."""
    streamed: list[Streamed] = field(default_factory=list)
    """All that the function streamed in this replay, old and new."""
    completed: int = 0
    """How many steps are completed."""
    current: list[str] = field(default_factory=list)
    """Steps that are neither completed nor failed."""
    unasked: tuple[str, ...] = ()
    """Recorded steps that the function no longer asks for."""
    held_by: Failure | None = None
    """Why the function was not replayed: this code cannot read what the run has recorded."""
    end_deferred: bool = False
    """Whether the function has ended, and its vendor run is woken to end the run."""

    @property
    def parked(self) -> bool:
        """Whether there is nothing to do but wait."""
        return not self.ready and self.state is RunStatus.RUNNING


def after_claim(decision: Decision, step_id: str) -> Decision:
    """Return the decision after one of its ready attempts has been claimed; saves a replay."""
    reasons = decision.reasons
    return Decision(
        ready=[ready for ready in decision.ready if ready.command.id != step_id],
        commands=decision.commands,
        until=decision.until,
        reasons=reasons if ParkReason.STEP in reasons else (*reasons, ParkReason.STEP),
        completed=decision.completed,
        current=decision.current,
    )

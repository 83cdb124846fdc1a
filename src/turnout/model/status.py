"""The states of a run, a step, an attempt, a wait and a delivery."""

from enum import StrEnum
from typing import Final


class RunStatus(StrEnum):
    """Where a run stands. A parked run is running; parked is a flag beside it."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"

    @property
    def terminal(self) -> bool:
        """Whether nothing more will happen."""
        return self is not RunStatus.QUEUED and self is not RunStatus.RUNNING


class RunOrigin(StrEnum):
    """Why a run exists."""

    EVENT = "event"
    """An event started it, or another run."""
    SLOT = "slot"
    """A slot of a schedule, at its time."""
    CATCH_UP = "catch_up"
    """A slot that was missed."""
    MANUAL = "manual"
    """Someone, by a command."""
    REDELIVERY = "redelivery"
    """An event that had been refused at a door, emitted again."""
    RETRY = "retry"
    """Someone, for a run that had ended."""


class TransitionCause(StrEnum):
    """Who or what changed a run's state."""

    EMIT = "emit"
    """Its event; the actor is the event's id."""
    CALL = "call"
    """Its own code, in a call of its vendor run."""
    CANCEL = "cancel"
    """Someone, through `cancel`; the actor says who."""
    PARENT = "parent"
    """The cancel of the run that invoked it; the actor is that run's id."""
    EVENT = "event"
    """An event that its task names to cancel it; the actor is the event's id."""
    DEADLINE = "deadline"
    RECONCILE = "reconcile"
    """What its provider's own list said; the actor is the provider."""


class Role(StrEnum):
    """Whose result counts, and whose is only compared."""

    PRIMARY = "primary"
    SHADOW = "shadow"


class StepKind(StrEnum):
    """What a task function asked for under an id."""

    STEP = "step"
    SLEEP = "sleep"
    EVENT = "event"
    INVOKE = "invoke"
    EMIT = "emit"


class StepState(StrEnum):
    """Where a step stands: open until it is completed or has finally failed."""

    OPEN = "open"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def settled(self) -> bool:
        """Whether its outcome is committed for good."""
        return self is not StepState.OPEN


class AttemptState(StrEnum):
    """Where one try of a step stands."""

    CLAIMED = "claimed"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    LOST = "lost"
    INTERRUPTED = "interrupted"

    @property
    def counts(self) -> bool:
        """Whether it uses up one of the step's attempts; a graceful stop does not."""
        return self is not AttemptState.INTERRUPTED


class DeliveryState(StrEnum):
    """Where the handing over of a run to a provider stands."""

    PENDING = "pending"
    SENT = "sent"
    CLAIMED = "claimed"
    ENDED = "ended"
    SUPERSEDED = "superseded"


class DeliveryReason(StrEnum):
    """Why a delivery of a run was made."""

    FIRST = "first"
    """The run was emitted."""
    RELEASED = "released"
    """The run had ended its vendor run in order to wait, and now goes on."""
    LOST = "lost"
    """The delivery before counts as lost."""
    MOVED = "moved"
    """The run goes on at another provider."""
    OPERATOR = "operator"
    """Someone asked for it."""

    @classmethod
    def unrecorded(cls, number: int) -> "DeliveryReason":
        """Return the reason of a delivery that an earlier release recorded without one."""
        return cls.FIRST if number == 1 else cls.LOST


class ParkReason(StrEnum):
    """Why a run waits."""

    SLOT = "slot"
    SLEEP = "sleep"
    EVENT = "event"
    CHILD = "child"
    BACKOFF = "backoff"
    STEP = "step"


TIMED: Final = frozenset({ParkReason.SLEEP, ParkReason.BACKOFF})
"""Reasons to wait that nothing but time ends."""


class Capability(StrEnum):
    """One ability of the port: one Protocol, one group of conformance tests."""

    EMIT = "emit"
    SCHEDULE_RECURRING = "schedule_recurring"
    CANCEL = "cancel"
    STATUS = "status"
    DEFINE_TASK = "define_task"
    RETRIES = "retries"
    CONCURRENCY = "concurrency"
    TIMEOUTS = "timeouts"


class Held(StrEnum):
    """Who holds a capability's promise, or that it is refused."""

    PROVIDER = "provider"
    OURS = "ours"
    REFUSED = "refused"

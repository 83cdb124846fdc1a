"""What the run store records of a run: the run, its steps, their attempts, its waits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from turnout.model.events import StoredEvent
from turnout.model.ids import SHADOW_SUFFIX
from turnout.model.labels import NO_LABELS, Labels
from turnout.model.policies import Retries
from turnout.model.status import (
    AttemptState,
    DeliveryReason,
    DeliveryState,
    ParkReason,
    Role,
    RunOrigin,
    RunStatus,
    StepKind,
    StepState,
    TransitionCause,
)
from turnout.model.time import Millis


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """An error as it is recorded: the name of its class, and its message (bounded)."""

    name: str
    message: str


class Run(NamedTuple):
    """One execution of a task. Payload and result are canonical JSON."""

    run_id: str
    task: str
    provider: str
    payload: bytes
    event: str
    event_id: str
    emitted_at: Millis
    due_at: Millis
    """When it may start: `emitted_at`, or the delayed start."""
    state: RunStatus = RunStatus.QUEUED
    seq: int = 0
    """Raised by every commit: what a reader saw is current while the seq is the same."""
    fence: int = 0
    """Raised by cancel, deadlines and moves: an attempt of an older fence commits nothing."""
    delivery: int = 1
    """The number of the live delivery."""
    definition: str = ""
    code_version: str = ""
    key: str | None = None
    shadow: str | None = None
    """The provider that is to run its shadow, in a dual run; None without one."""
    limit_key: str | None = None
    """The value of the concurrency key, as canonical JSON; None without a limit."""
    started_at: Millis | None = None
    ended_at: Millis | None = None
    deadline_at: Millis | None = None
    """When the pump must time it out: the queue deadline, then the run deadline."""
    parked: bool = False
    parked_until: Millis | None = None
    parked_for: tuple[ParkReason, ...] = ()
    release_at: Millis | None = None
    """When a parked run is released: its vendor run ends. None: its vendor run waits with it."""
    parent_run_id: str | None = None
    parent_step: str | None = None
    result: bytes | None = None
    error: Failure | None = None
    progress: bytes | None = None
    streamed: bytes | None = None
    """How many chunks each branch of the function itself has streamed, as JSON; None: none."""
    chunks: int = 0
    """How many chunks are recorded, those of its steps included."""
    passed: int = 0
    """How many of them the vendor runs before the live one have passed on."""
    emit_seq: int = 0
    """The order of emit; given by the store."""
    labels: Labels = NO_LABELS
    origin: RunOrigin = RunOrigin.EVENT
    retry_of: str | None = None
    """The run that it goes on for, or begins again."""
    retries: Retries | None = None
    """The retry policy of this run; None: its task's."""

    @property
    def role(self) -> Role:
        """Primary or shadow, by the run's id."""
        return Role.SHADOW if self.run_id.endswith(SHADOW_SUFFIX) else Role.PRIMARY


class Step(NamedTuple):
    """What a task function asked for under an id, and its committed outcome."""

    step: str
    kind: StepKind
    position: str
    """Where in the function it was asked for, as text that sorts in the order of asking.

    Branches are depth-first: `0003`, `0004.0001.0000` (fifth command, second branch, first in it).
    """
    asked_at: Millis
    state: StepState = StepState.OPEN
    ended_at: Millis | None = None
    due_at: Millis | None = None
    """When a sleep ends, or a wait times out."""
    child: str | None = None
    """The run that an invoke started."""
    output: bytes | None = None
    error: Failure | None = None


class Attempt(NamedTuple):
    """One try of a step of the kind `step`."""

    step: str
    number: int
    state: AttemptState
    fence: int
    """The run's fence when it was claimed."""
    worker: str
    """The process that runs it."""
    claimed_at: Millis
    lease_until: Millis
    """When it counts as lost, unless the lease is renewed."""
    timeout_at: Millis | None = None
    ended_at: Millis | None = None
    error: Failure | None = None
    retry_at: Millis | None = None
    """After a failure: when the next one may be claimed."""
    streamed: int = 0
    """How many chunks it has streamed that are recorded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """One piece of what a run streams, through ctx.stream; append-only."""

    number: int
    """Its place in the run, from 0, over all streams."""
    name: str
    """The stream."""
    value: bytes
    """Canonical JSON."""
    at: Millis
    """When it was recorded."""
    step: str | None = None
    """The step whose body streamed it; None: the function itself."""
    attempt: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """An open wait for an event, which settles the step, or cancels the run."""

    run_id: str
    step: str | None
    """The step that waits; None: the event cancels the run."""
    event: str
    match: tuple[tuple[str, bytes], ...] = ()
    """Paths into the event's payload, and the canonical JSON that each must have."""
    whole: bool = False
    """Whether the step gets the whole event; else it gets the payload."""
    since_run: bool = False
    """Whether an event that was emitted before the wait, but not before its run, meets it, too.

    Such a wait takes an event that no other wait of its run has met.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class Transition:
    """One change of a run's state; append-only."""

    state: RunStatus
    at: Millis
    cause: TransitionCause | None = None
    """Who or what said so; None: an earlier release recorded it."""
    actor: str | None = None
    """Who exactly, where the cause leaves that open."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Journal:
    """A run with all its steps and attempts, as one consistent read."""

    run: Run
    steps: Mapping[str, Step] = field(default_factory=dict)
    attempts: Mapping[str, tuple[Attempt, ...]] = field(default_factory=dict)
    """By step id, in order of number; steps without an attempt are absent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewRun:
    """A run to be inserted as queued, with its first delivery pending at `run.due_at`."""

    run: Run
    cancel_on: tuple[Wait, ...] = ()
    """Waits that cancel it."""
    slotted: bool = False
    """Whether it waits for a limit slot of its own: its task has a limit that counts runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Emission:
    """An event and the runs that it starts: one transaction."""

    event: StoredEvent
    runs: tuple[NewRun, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Calling:
    """A vendor run that calls for a delivery, and when."""

    number: int
    provider_run_id: str
    at: Millis


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One commit on one run, applied whole if the run's seq is still that of `before`.

    The store itself does what crosses runs: at an end it frees the slot and wakes the next run in
    line, settles the parent's invoke, and ends the delivery.
    """

    before: Run
    after: Run
    """The run as it becomes; the store sets its seq to the old one + 1."""
    steps: tuple[Step, ...] = ()
    """Steps to insert or replace; the waits of those that settle are closed."""
    attempts: tuple[Attempt, ...] = ()
    """Attempts to insert or replace."""
    transitions: tuple[Transition, ...] = ()
    chunks: tuple[Chunk, ...] = ()
    """Chunks to append."""
    waits: tuple[Wait, ...] = ()
    """Waits to open; a run that ends closes all of its own."""
    emissions: tuple[Emission, ...] = ()
    """Events to store with it, with the runs that they start."""
    wake_at: Millis | None = None
    """When the pump must wake the parked run at the latest; None leaves no alarm."""
    stop_vendor: bool = False
    """Whether the provider's own run must be stopped: we ended the run, not its worker."""
    calling: Calling | None = None
    """The vendor run that claims the live delivery with this change; Superseded if it may not."""

    @property
    def only_claims(self) -> bool:
        """Whether it only claims attempts, so that losing it would lose nothing but claims."""
        beyond = (self.steps, self.transitions, self.waits, self.emissions, self.chunks)
        return (
            bool(self.attempts)
            and not any(beyond)
            and self.calling is None
            and all(attempt.state is AttemptState.CLAIMED for attempt in self.attempts)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """The n-th handing over of a run to a provider."""

    run_id: str
    number: int
    provider: str
    task: str
    state: DeliveryState = DeliveryState.PENDING
    due_at: Millis = 0
    """When the pump must act next: send it, check it, or stop it."""
    provider_run_id: str | None = None
    token: str | None = None
    """The token that wakes the parked vendor run, where its provider has tokens."""
    sent_at: Millis | None = None
    claimed_at: Millis | None = None
    called_at: Millis | None = None
    """When a vendor run last called in."""
    stopping: bool = False
    failures: int = 0
    reason: DeliveryReason = DeliveryReason.FIRST
    epoch: int = 0
    """The store's epoch when it was made; raised after the store was restored from a backup."""
    tags: tuple[str, ...] = ()
    """The run's tags, for the provider to show; only of one that is to be sent."""
    run: Run | None = field(default=None, compare=False, repr=False)
    """The run as it stood when a pump took its first delivery to send it, unless it is large."""

    @property
    def key(self) -> str:
        """The idempotency key that the provider gets; it only saves work."""
        return f"{self.run_id}.{self.number}" + (f"-{self.epoch}" if self.epoch else "")


def read_delivery_key(key: str) -> tuple[str, int]:
    """Read the run's id and the delivery's number from a delivery's key; ValueError."""
    run_id, _, number = key.rpartition(".")
    return run_id, int(number.partition("-")[0])


@dataclass(frozen=True, kw_only=True, slots=True)
class Wake:
    """A wake that a parked run is to get: sent again until the run has called."""

    run_id: str
    seq: int
    due_at: Millis
    sent: int = 0
    delivery: Delivery | None = None
    """The live delivery, which the sender needs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SendResult:
    """What became of one sending of a delivery to its provider."""

    run_id: str
    number: int
    due_at: Millis
    """When the pump must check the delivery, or send it again."""
    sent_at: Millis
    provider_run_id: str | None = None
    error: str | None = None
    """Why the provider did not accept it; None where it did."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFilter:
    """Which runs to read; a run must meet every condition that is set."""

    task: str | None = None
    states: frozenset[RunStatus] = frozenset()
    """Any of these; empty: any state."""
    provider: str | None = None
    before: int | None = None
    """An emit_seq, exclusive: for the next page, newest first."""
    after: int | None = None
    """An emit_seq, exclusive: for the next page, in order of emit."""
    shadowed: bool = False
    """Only runs that are to have a shadow."""
    held: bool = False
    """Only runs that wait for code that can read what they recorded; their error says why."""
    tags: tuple[str, ...] = ()
    """Only runs that have all of these."""
    user_id: str | None = None
    since: Millis | None = None
    """Only runs that were emitted then or later."""
    until: Millis | None = None
    """Only runs that were emitted earlier."""
    error: str | None = None
    """Only runs that failed or timed out, with this somewhere in `name: message` of the error."""
    limit: int = 100


Claim: TypeAlias = tuple[str, str, int]
"""A claimed attempt: the run's id, the step's, the attempt's number."""

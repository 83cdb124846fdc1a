"""The step protocol: the messages between a worker and the service.

A provider's worker speaks them over HTTP; adapters in process make the same calls on the `Worker`
port. They are published as JSON Schema and OpenAPI. A field is added only with a version, and
marked with it (`protocol_versions.Since`); none is removed while an older version is spoken.
"""

from enum import StrEnum
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from turnout.model.protocol_versions import NEWEST, OLDEST
from turnout.model.status import ParkReason, RunStatus
from turnout.model.time import Millis

PROTOCOL = NEWEST
"""The newest version, which the messages here are of."""
LARGEST_MESSAGE = 1024 * 1024
"""Bytes; larger values travel by artifact reference."""

Text = Annotated[str, Field(max_length=512, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""Without control characters: no database keeps NUL, and a line break would forge a log line."""

LARGEST_COUNT = 2**31 - 1
LARGEST_SEQ = 2**63 - 1
LARGEST_MOMENT = 253_402_300_799_999
"""The end of the year 9999, the last that has a date."""

Count = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
Moment = Annotated[Millis, Field(ge=0, le=LARGEST_MOMENT)]


class Message(BaseModel):
    """A value on the wire: frozen, no field beyond the schema's."""

    model_config = ConfigDict(
        defer_build=True,  # a command that reads no message does not pay for their validators
        frozen=True,
        extra="forbid",
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


def _on_the_wire(name: str, default: Any = ...) -> Any:
    """A field that has another name in messages than in Python."""
    return Field(default, validation_alias=name, serialization_alias=name)


class Start(Message):
    """One attempt to start now; several are parallel."""

    step: str
    index: int
    attempt: int
    timeout_ms: Millis | None = None
    label: str


class Parking(Message):
    """The run waits until a time, a wake, or both."""

    until: Millis | None = None
    reasons: list[ParkReason]


class Problem(Message):
    """An error by name."""

    name: str
    message: str


class Result(Message):
    """A run's result: its digest, and the value itself where small."""

    sha256: str
    inline: Any = None


class Progress(Message):
    """How far a run is."""

    completed: int = _on_the_wire("done")
    """How many steps are completed."""
    current: list[str]
    """The steps that are at work or waited for."""
    progress: Any = _on_the_wire("told", None)
    """What the task last said through ctx.progress."""
    chunks: int = 0
    """How many chunks the run has streamed through ctx.stream; 0 where vendors get ids only."""


class Next(Message):
    """What a vendor run does next; of several answers, the one with the highest seq wins."""

    seq: int
    state: RunStatus
    run: list[Start] = Field(default_factory=list)
    park: Parking | None = None
    result: Result | None = None
    error: Problem | None = None
    progress: Progress


class Outcome(StrEnum):
    """How an execute ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    """The attempt has failed, and was the last one."""
    RETRY = "retry"
    """The attempt has failed; the next one is due at `retry_at`."""
    TIMED_OUT = "timed_out"
    """The attempt took too long: as retry or, without `retry_at`, as failed."""
    ACCEPTED = "accepted"
    """The step takes longer than the caller waits; it goes on under its lease."""
    BUSY = "busy"
    """Another caller holds the claim, or the attempt is not what comes next."""


class Receipt(Message):
    """What became of one attempt."""

    step: str
    attempt: int
    outcome: Outcome
    duration_ms: Millis = 0
    sha256: str | None = None
    error: Problem | None = None
    retry_at: Millis | None = None


class Executed(Message):
    """The answer to execute."""

    receipt: Receipt
    next: Next


class Parked(Message):
    """The answer to park: go and wait, or look again first."""

    go: bool
    next: Next | None = None


class StreamedChunk(Message):
    """A piece of one of the run's streams."""

    number: int
    """Its place in the run, from 0, over all streams."""
    stream: str
    chunk: Any


class Followed(Message):
    """The answer to follow: the chunks after those that were passed on, as many as fit."""

    seq: int
    """The run's, as it was read."""
    recorded: int
    """How many chunks there are; if that is more than were passed on, follow again."""
    chunks: list[StreamedChunk] = Field(default_factory=list)
    progress: Any = _on_the_wire("told", None)
    """What the task last said through ctx.progress."""


class Ticked(Message):
    """The answer to tick: the run that the slot started, or why none."""

    run_id: str | None
    reason: Literal["started", "claimed", "not_owner", "paused", "removed"]


class Probed(Message):
    """The answer to probe: the signature and the definition are good, and this is our clock."""

    at: Millis


class Refusal(Message):
    """The body of every answer that is not 2xx."""

    code: str
    message: str
    retry_after_ms: Millis | None = None


AnswerT_co = TypeVar("AnswerT_co", covariant=True)


class Call(Message, Generic[AnswerT_co]):
    """A message to the worker, which answers it with an `AnswerT_co`."""

    protocol: int = OLDEST
    """The version that the caller speaks; a message without one is of the first."""


class RunCall(Call[AnswerT_co]):
    """What every message of a vendor run carries: who calls, for which run and delivery."""

    task: Text
    definition: Text = ""
    run_id: Text
    delivery: Count
    provider_run_id: Text
    provider_attempt: int = Field(default=1, ge=0, le=LARGEST_COUNT)


class Advance(RunCall[Next]):
    """The first message of every vendor attempt, and after any wake."""

    op: Literal["advance"] = "advance"


class Execute(RunCall[Executed]):
    """Run one attempt of one step; keyed by (run, step, attempt)."""

    op: Literal["execute"] = "execute"
    step: Text
    attempt: Count


class Park(RunCall[Parked]):
    """Register the token that the vendor run is about to wait on."""

    op: Literal["park"] = "park"
    seq: int = Field(ge=0, le=LARGEST_SEQ)
    token: Text


class Follow(RunCall[Followed]):
    """Read what the run has streamed, and its progress; nothing is claimed or changed."""

    op: Literal["follow"] = "follow"
    streamed: int = Field(default=0, ge=0, le=LARGEST_COUNT)
    """How many of the run's chunks the vendor run has passed on."""


class ReportEvent(StrEnum):
    """What a vendor's hook saw of its own run."""

    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    HANDED_OVER = "handed_over"
    """It ends near a limit of its vendor's; the run goes on in its next delivery, made by this."""


class Report(RunCall[None]):
    """A hint from the vendor's hooks: look."""

    op: Literal["report"] = "report"
    event: ReportEvent
    at: Moment


class Tick(Call[Ticked]):
    """Say that a schedule's slot is due at the vendor, and claim it."""

    op: Literal["tick"] = "tick"
    schedule: Text
    slot: Moment
    """The nominal time in the vendor's payload, never the clock."""
    provider: Text
    provider_run_id: Text


class Probe(Call[Probed]):
    """Try the way to the service; no run is named, and nothing is changed."""

    op: Literal["probe"] = "probe"
    definition: Text = ""


AnyCall = Annotated[
    Advance | Execute | Park | Follow | Report | Tick | Probe, Field(discriminator="op")
]

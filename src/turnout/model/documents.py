"""The three documents that a run leaves in object storage, as values, schema version 1.

Every field says where its value comes from (`Source`) and how parity compares it (`Comparison`);
both stand in the published schemas. Absent and null never mean the same: all fields are always
written, and a value that was never recorded has no digest beside it.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from turnout.errors import InvalidJson
from turnout.model.canonical import canonical_bytes, sha256_of
from turnout.model.keys import is_run_name, value_path
from turnout.model.status import AttemptState, Role, RunStatus, StepKind, StepState
from turnout.model.time import Millis, iso


class Source(StrEnum):
    """Where a field's value comes from."""

    PROVIDER = "provider"
    """What the provider itself says: its API, its trace."""
    RECORDED = "ours"
    """What Turnout recorded while the provider drove the run."""
    CONSTRUCTION = "by construction"
    """Given before the run started, so that equal values prove nothing."""


class Comparison(StrEnum):
    """How parity compares a field."""

    EXACT = "exact"
    """Equal or not; part of the parity digest."""
    MEASURED = "measured"
    """Durations and what may be unknown: a rule of the checker, never part of a digest."""
    VOLATILE = "volatile"
    """Different in every run: role, provider, ids, clock times. Never compared as it stands;
    differences of clock times are what `timings` and `duration_ms` hold."""


def says(source: Source, comparison: Comparison, text: str) -> FieldInfo:
    """Declare a field's meaning, source and comparison; written into the schema."""
    extra: dict[str, Any] = {"x-source": source.value, "x-comparison": comparison.value}
    field: FieldInfo = Field(description=text, json_schema_extra=extra)
    return field


def _moment(value: object, info: ValidationInfo) -> object:
    if info.mode != "json":
        return value
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
        if at is not None and at.tzinfo is not None:
            return round(at.timestamp() * 1_000)
    except (ValueError, OverflowError):
        pass
    raise PydanticCustomError("moment", "should be a time like 2026-01-31T12:00:00.000Z")


def _run_id(text: str) -> str:
    if is_run_name(text):
        return text
    raise PydanticCustomError("run_id", "should be the id of a run or of its shadow")


Moment: TypeAlias = Annotated[
    Millis,
    BeforeValidator(_moment),
    Field(ge=0, le=253_402_300_799_999),
    PlainSerializer(iso, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""Milliseconds since the epoch in Python; ISO 8601 in UTC in the document."""

Count: TypeAlias = Annotated[int, Field(ge=0, le=2**53)]
Digest: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
RunId: TypeAlias = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._=-]{0,134}$"),
    AfterValidator(_run_id),
]
DocumentPath: TypeAlias = Annotated[
    str, Field(max_length=300, pattern=r"^(status|(steps|values)/[A-Za-z0-9._=-]{1,250})\.json$")
]
AttemptOutcome: TypeAlias = Literal[
    AttemptState.COMPLETED,
    AttemptState.FAILED,
    AttemptState.TIMED_OUT,
    AttemptState.LOST,
    AttemptState.INTERRUPTED,
]
Branch: TypeAlias = Annotated[str, Field(max_length=500, pattern=r"^[A-Za-z0-9._=/-]*$")]

_RUN, _INPUT, _PROVIDER = Source.RECORDED, Source.CONSTRUCTION, Source.PROVIDER
_EXACT, _MEASURED, _VOLATILE = Comparison.EXACT, Comparison.MEASURED, Comparison.VOLATILE


class Document(BaseModel):
    """A frozen, strict value: nothing is converted, nothing unknown is taken."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class RecordedError(Document):
    """An error as it was recorded; its message is already redacted."""

    name: Annotated[str, says(_RUN, _EXACT, "the error's class")]
    message: Annotated[str, says(_RUN, _EXACT, "what it said")]


class ValueRef(Document):
    """A large value, kept beside the document."""

    path: Annotated[DocumentPath, says(_RUN, _EXACT, "below the run's folder; named by its digest")]
    size: Annotated[Count, says(_RUN, _EXACT, "bytes of its canonical JSON")]


class Transition(Document):
    """One change of a run's state."""

    state: Annotated[RunStatus, says(_RUN, _EXACT, "the state entered")]
    at: Annotated[Moment, says(_RUN, _VOLATILE, "when it was committed")]


class Timings(Document):
    """Where a run's time went, in milliseconds; null while it is not known yet.

    Moments are counted once: executing wins over waiting, and what is neither is overhead, so
    `total_ms` = (moments executing) + `waiting_ms` + `overhead_ms`.
    """

    queued_ms: Annotated[
        Count | None, says(_RUN, _MEASURED, "from emit to running; part of the overhead")
    ]
    execution_ms: Annotated[
        Count, says(_RUN, _MEASURED, "sum of all attempts; parallel ones add up")
    ]
    waiting_ms: Annotated[
        Count,
        says(_RUN, _MEASURED, "planned sleeps, waits and back-offs while nothing executed"),
    ]
    total_ms: Annotated[Count | None, says(_RUN, _MEASURED, "from emit to the end")]
    overhead_ms: Annotated[
        Count | None, says(_RUN, _MEASURED, "neither executing nor waiting as planned")
    ]


class StatusDocument(Document):
    """`runs/<run_id>/status.json`: how a run went."""

    schema_id: Annotated[
        Literal["turnout/status@1"], says(_INPUT, _EXACT, "this schema and its version")
    ] = Field(default="turnout/status@1", alias="schema")
    run_id: Annotated[RunId, says(_RUN, _VOLATILE, "the run; a shadow's ends in -dryrun")]
    task: Annotated[str, says(_INPUT, _EXACT, "the task's name")]
    provider: Annotated[str, says(_INPUT, _VOLATILE, "who called")]
    provider_run_id: Annotated[
        str | None, says(_PROVIDER, _VOLATILE, "the provider's id of the last delivery")
    ]
    provider_state: Annotated[
        RunStatus | None,
        says(_PROVIDER, _MEASURED, "what the provider itself reports; null where it was not asked"),
    ]
    role: Annotated[Role, says(_INPUT, _VOLATILE, "whose result counts")]
    shadow_mode: Annotated[
        Literal["replay", "mock", "execute"] | None,
        says(_INPUT, _VOLATILE, "how a shadow's steps ran; null for a primary"),
    ]
    not_comparable: Annotated[
        Literal["late", "provider_failure", "unsupported"] | None,
        says(_RUN, _VOLATILE, "why this run must not be compared with its twin; null if it may"),
    ]
    key: Annotated[str | None, says(_INPUT, _EXACT, "the concurrency key; null without a limit")]
    state: Annotated[RunStatus, says(_RUN, _EXACT, "where the run stands")]
    transitions: Annotated[
        tuple[Transition, ...], says(_RUN, _EXACT, "the path of states, oldest first")
    ] = Field(min_length=1)
    attempts: Annotated[Count, says(_RUN, _EXACT, "attempts of all steps that count")]
    deliveries: Annotated[Count, says(_RUN, _VOLATILE, "how often it was handed to a provider")]
    timings: Annotated[Timings, says(_RUN, _MEASURED, "where the time went")]
    error: Annotated[RecordedError | None, says(_RUN, _EXACT, "why it did not complete")]
    result: Annotated[Any, says(_RUN, _EXACT, "what the task returned, where it is small")]
    result_ref: Annotated[ValueRef | None, says(_RUN, _EXACT, "the result, where it is large")]
    result_sha256: Annotated[
        Digest | None,
        says(_RUN, _EXACT, "of the result's canonical JSON; null without a result"),
    ]
    emitted_at: Annotated[Moment, says(_RUN, _VOLATILE, "when the run was asked for")]

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        _check_value("result", self.result, self.result_ref, self.result_sha256)
        if self.transitions[-1].state is not self.state:
            raise PydanticCustomError(
                "transitions", "/transitions: the last one should enter the state of the run"
            )
        return self


class StepEntry(Document):
    """A step's place in the order in which the function asked, branches depth-first."""

    index: Annotated[Count, says(_RUN, _EXACT, "its place, from 0")]
    step: Annotated[str, says(_RUN, _EXACT, "its id")]
    kind: Annotated[StepKind, says(_RUN, _EXACT, "what was asked for")]
    branch: Annotated[
        Branch,
        says(_RUN, _EXACT, "its parallel branch, by position; empty at the top"),
    ]


class DocumentEntry(Document):
    """A document of the run, and its digests."""

    path: Annotated[DocumentPath, says(_RUN, _EXACT, "below the run's folder")]
    size: Annotated[Count, says(_RUN, _VOLATILE, "bytes")]
    sha256: Annotated[Digest, says(_RUN, _VOLATILE, "of the bytes")]
    parity_sha256: Annotated[Digest, says(_RUN, _EXACT, "of the parity form")]


class ConcurrencyEntry(Document):
    """The limit that the run was under."""

    key: Annotated[str, says(_INPUT, _EXACT, "runs of one key share the limit")]
    limit: Annotated[Count, says(_INPUT, _EXACT, "at most so many at once")]


class ManifestDocument(Document):
    """`runs/<run_id>/manifest.json`: what the run left; written last, once."""

    schema_id: Annotated[
        Literal["turnout/manifest@1"], says(_INPUT, _EXACT, "this schema and its version")
    ] = Field(default="turnout/manifest@1", alias="schema")
    run_id: Annotated[RunId, says(_RUN, _VOLATILE, "the run; a shadow's ends in -dryrun")]
    task: Annotated[str, says(_INPUT, _EXACT, "the task's name")]
    code_version: Annotated[str, says(_INPUT, _EXACT, "of the code that ran it")]
    protocol: Annotated[Count, says(_INPUT, _EXACT, "version of the step protocol")]
    steps: Annotated[tuple[StepEntry, ...], says(_RUN, _EXACT, "as asked for")]
    unasked: Annotated[
        tuple[str, ...], says(_RUN, _EXACT, "recorded steps that the code no longer asked for")
    ]
    documents: Annotated[tuple[DocumentEntry, ...], says(_RUN, _EXACT, "sorted by path")]
    concurrency: Annotated[
        ConcurrencyEntry | None, says(_INPUT, _EXACT, "the limit; null without one")
    ]

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        _check_rising("steps", [entry.index for entry in self.steps])
        _check_rising("documents", [entry.path for entry in self.documents])
        return self


class AttemptEntry(Document):
    """One try of a step."""

    number: Annotated[Count, says(_RUN, _EXACT, "from 1")]
    started_at: Annotated[Moment, says(_RUN, _VOLATILE, "when it was claimed")]
    duration_ms: Annotated[Count, says(_RUN, _MEASURED, "from the claim to the commit")]
    outcome: Annotated[
        AttemptOutcome,
        says(_RUN, _EXACT, "how it ended; an interrupted one does not count"),
    ]
    error: Annotated[RecordedError | None, says(_RUN, _EXACT, "why it failed")]
    retry_at: Annotated[
        Moment | None, says(_RUN, _VOLATILE, "no sooner than this comes the next attempt")
    ]


class StepDocument(Document):
    """`runs/<run_id>/steps/<nnnn>-<step_id>.json`: one step and its attempts; written once."""

    schema_id: Annotated[
        Literal["turnout/step@1"], says(_INPUT, _EXACT, "this schema and its version")
    ] = Field(default="turnout/step@1", alias="schema")
    run_id: Annotated[RunId, says(_RUN, _VOLATILE, "the run; a shadow's ends in -dryrun")]
    step: Annotated[str, says(_RUN, _EXACT, "its id")]
    kind: Annotated[StepKind, says(_RUN, _EXACT, "what was asked for")]
    index: Annotated[Count, says(_RUN, _EXACT, "its place, from 0")]
    branch: Annotated[
        Branch, says(_RUN, _EXACT, "its parallel branch, by position; empty at the top")
    ]
    state: Annotated[StepState, says(_RUN, _EXACT, "open where the run ended before the step did")]
    attempts: Annotated[tuple[AttemptEntry, ...], says(_RUN, _EXACT, "oldest first")]
    error: Annotated[RecordedError | None, says(_RUN, _EXACT, "why it finally failed")]
    output: Annotated[Any, says(_RUN, _EXACT, "what it returned, where it is small")]
    output_ref: Annotated[ValueRef | None, says(_RUN, _EXACT, "the output, where it is large")]
    output_sha256: Annotated[
        Digest | None,
        says(_RUN, _EXACT, "of the output's canonical JSON; null without an output"),
    ]

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        _check_value("output", self.output, self.output_ref, self.output_sha256)
        _check_rising("attempts", [entry.number for entry in self.attempts])
        return self


AnyDocument: TypeAlias = StatusDocument | ManifestDocument | StepDocument


def _check_value(name: str, value: Any, ref: ValueRef | None, digest: str | None) -> None:
    """Refuse a value, a reference and a digest that do not fit together."""
    inline = digest is not None and ref is None
    if not inline and value is not None:
        raise PydanticCustomError("value", "/{name}: should be null here", {"name": name})
    if ref is not None and ref.path != value_path(digest or ""):
        raise PydanticCustomError(
            "value", "/{name}_ref/path: should be named by the digest", {"name": name}
        )
    if inline and digest != _digest(name, value):
        raise PydanticCustomError(
            "value", "/{name}_sha256: is not the digest of {name}", {"name": name}
        )


def _digest(name: str, value: Any) -> str:
    try:
        return sha256_of(canonical_bytes(value))
    except InvalidJson as error:
        raise PydanticCustomError(
            "value", "/{name}{error}", {"name": name, "error": str(error)}
        ) from None


def _check_rising(name: str, values: list[Any]) -> None:
    if values != sorted(set(values)):
        raise PydanticCustomError("order", "/{name}: should be in order, each once", {"name": name})

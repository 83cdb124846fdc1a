"""The fields that a check reads of every status document, also where the digests are equal."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from turnout.model.documents import Count, Digest
from turnout.model.status import Role, RunStatus


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class StateChange(_Part):
    """A state entered, and when."""

    state: RunStatus
    at: AwareDatetime


class MeasuredTimings(_Part):
    """The only duration that is compared."""

    overhead_ms: Count | None


class MeasuredStatus(_Part):
    """The fields of a `StatusDocument` that no digest covers, and those that place a run."""

    run_id: str
    task: str
    role: Role
    provider: str
    provider_state: RunStatus | None
    shadow_mode: Literal["replay", "mock", "execute"] | None
    not_comparable: Literal["late", "provider_failure", "unsupported"] | None
    state: RunStatus
    transitions: Annotated[tuple[StateChange, ...], Field(min_length=1)]
    timings: MeasuredTimings
    attempts: Count
    result_sha256: Digest | None
    emitted_at: AwareDatetime

"""What reconciliation finds and keeps: sweeps over the providers' lists, and findings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from turnout.model.time import Millis


class SweepKind(StrEnum):
    """Which of a provider's runs a sweep lists."""

    OPEN = "open"
    """Those that have not ended."""
    CREATED = "created"
    """Those that were created since the mark, in any state."""


class FindingKind(StrEnum):
    """How a provider's list and the run store differ."""

    MISSING = "missing"
    """A run waits for its vendor run, and the provider has none that goes on."""
    SUPERSEDED = "superseded"
    """A vendor run goes on, and its run has ended or has another one."""
    FORGOTTEN = "forgotten"
    """A vendor run proves to be of this store, which has no such run."""
    DISAGREES = "disagrees"
    """A run and its vendor run ended in different states."""
    STUCK = "stuck"
    """A vendor run goes on and is silent for longer than the pump lets it be."""


class Resolution(StrEnum):
    """What was done about a finding."""

    REDELIVERED = "delivered again"
    FAILED = "failed"
    """The run was failed: its provider lost it too often."""
    STOPPED = "stopped"
    """The provider confirmed that the vendor run has ended."""
    STOPPING = "stopping"
    """The provider was asked to stop it, and has not confirmed the end."""
    REPORTED = "reported"
    """Nothing was done: a person decides."""
    RECORDED = "recorded"
    """Nothing is to be done: the run store counts."""

    @property
    def is_left(self) -> bool:
        """Whether something remains to be done."""
        return self in {Resolution.REPORTED, Resolution.STOPPING}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Where a provider's list and the run store differed, and what was done."""

    provider: str
    kind: FindingKind
    subject: str
    """The delivery's key, or the vendor run's id where the run is not known."""
    resolution: Resolution
    run_id: str | None = None
    provider_run_id: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """What was seen, as JSON: no payloads."""
    found_at: Millis
    """When it was first found."""
    seen_at: Millis
    """When it was last found, or resolved."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """How far a sweep is, and what it has counted."""

    provider: str
    kind: SweepKind
    mark: Millis | None = None
    """When the one began that was finished last."""
    started_at: Millis | None = None
    """When the one began that goes on; None: none goes on."""
    cursor: str = ""
    """Its next page."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """What it has counted, or what the last one had."""
    error: str | None = None
    """Why it stopped before its end."""

"""The report of a parity check; `--json` prints it with these fields."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from turnout.model.documents import Source


class Verdict(StrEnum):
    """The verdict of a check."""

    PASS = "PASS"  # noqa: S105 (a verdict, not a password)
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"

    @property
    def exit_code(self) -> int:
        """0 PASS, 1 FAIL, 3 INCONCLUSIVE."""
        return {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: 3}[self]


class Kind(StrEnum):
    """The kinds of differences."""

    STATUS = "status"
    """The final state, the error or the task."""
    TRANSITIONS = "transitions"
    """Another path to the end."""
    STEP = "step"
    """A step that one side does not have, or of another kind."""
    ORDER = "order"
    """The same steps in another order; parallel branches may come in any."""
    ATTEMPTS = "attempts"
    """Another number of tries of a step, or other outcomes of them."""
    DELAY = "delay"
    """The pause between two tries is out of tolerance."""
    OUTPUT = "output"
    """Another result of a step or of the run, or of a team's own document."""
    SLOW = "slow"
    """The shadow's overhead is above the bound."""
    MISSING = "missing"
    """A twin, or one of its documents, is not there."""
    OVERLAP = "overlap"
    """More runs of one concurrency key at once than its limit allows."""
    INVALID = "invalid"
    """An artifact that is invalid: corrupt, cut short, of another run, too large, or changed."""


INTOLERABLE: Final = (Kind.MISSING, Kind.OVERLAP, Kind.INVALID)
"""Kinds that no ignore covers and no gate allows: lost, too many at once, unreadable."""


class PairOutcome(StrEnum):
    """The outcome of one pair."""

    MATCHED = "matched"
    MISMATCHED = "mismatched"
    IGNORED = "ignored"


class ReportPart(BaseModel):
    """A part of the result: frozen, and complete as declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Explanation(ReportPart):
    """How two values differ, in words; places are JSON Pointers into the compared value."""

    summary: str
    """How many changes there are, by their kind."""
    lines: list[str]
    """One change a line; a changed text is followed by its differing lines."""


class Difference(ReportPart):
    """One difference of one pair."""

    run_id: str
    task: str | None = None
    artifact: str
    """The document's key below the run, for example `steps/0001-load.json`."""
    step: str | None = None
    pointer: str
    """RFC 6901, into `artifact`."""
    kind: Kind
    primary: Any = None
    shadow: Any = None
    absent: Literal["primary", "shadow"] | None = None
    """The side without the value: absent, which is not null."""
    source: Source
    label: str | None = None
    """`noise-like` for values that look like clock times or random ids."""
    detail: str | None = None
    explanation: Explanation | None = None
    """How two values differ as a whole; only at their first difference."""
    ignored_by: str | None = None
    """The declared ignore that took this difference out of the verdict."""


class TaskCount(ReportPart):
    """The pairs of one task."""

    pairs: int = 0
    matched: int = 0
    mismatched: int = 0
    ignored: int = 0
    missing: int = 0
    late: int = 0
    not_comparable: int = 0
    not_due: int = 0
    not_tested: int = 0
    kinds: dict[Kind, int] = Field(default_factory=dict)
    """Pairs of this task with a difference of that kind."""
    overhead_primary_ms: float | None = None
    """Median."""
    overhead_shadow_ms: float | None = None
    """Median."""


class FieldCount(ReportPart):
    """How often one kind was compared, and the source of its values."""

    source: Source
    compared: int = 0
    mismatched: int = 0
    not_tested: int = 0


class SetAside(ReportPart):
    """A pair that was counted and not compared."""

    run_id: str
    task: str | None = None
    why: Literal["late", "not_comparable", "not_due"]
    reason: str


class IgnoreUse(ReportPart):
    """A declared ignore, and what it did in this check."""

    path: str
    reason: str
    owner: str
    expires: str
    expired: bool
    """Expired: reported, and not applied."""
    differences: int = 0
    pairs: int = 0


class Timing(ReportPart):
    """A sample of overheads, for charts."""

    run_id: str
    task: str
    primary_ms: float
    shadow_ms: float


class GateResult(ReportPart):
    """The verdict of one gate on one task."""

    gate: str
    verdict: Verdict
    reason: str
    """One sentence: what was seen, what was asked for, and which setting would help."""
    pairs: int
    interval: tuple[float, float | None] | None = None
    """What the pairs do not contradict: a match rate, or a ratio of times; None is without end."""
    more_pairs: int | None = None
    """About how many more pairs of the present kind give a PASS; None where none would."""


class TaskVerdict(ReportPart):
    """The gates of one task; the worst of them is the task's verdict."""

    task: str
    verdict: Verdict
    gates: list[GateResult]


class GatesReport(ReportPart):
    """The gates of all tasks, and the digest of the file that set them."""

    verdict: Verdict
    gate_file_sha256: str
    tasks: list[TaskVerdict]


class ParityReport(ReportPart):
    """The result of one check.

    `pairs` = `matched` + `mismatched` + `ignored`; `missing` is a part of `mismatched`; `late`,
    `not_comparable` and `not_due` are not in `pairs`; `not_tested` counts fields, not pairs.
    """

    format: Literal["turnout.parity/1"] = "turnout.parity/1"
    verdict: Verdict
    reasons: list[str]
    """Why the verdict is what it is, the most important first."""
    store: str
    checked_at: datetime
    duration_ms: float
    pairs: int
    matched: int
    mismatched: int
    ignored: int
    missing: int
    late: int
    not_comparable: int
    not_due: int = 0
    """Runs whose shadow may still come: neither `missing` nor `late`."""
    not_tested: int
    single: int
    """Runs that were never meant to have a twin; not compared."""
    documents: int
    """Documents whose digests or contents were compared, both sides together."""
    fetched: int
    """Documents that were read."""
    verified: int
    """Documents that were read although their digests agree, to verify the digests."""
    fields: dict[str, FieldCount]
    tasks: dict[str, TaskCount]
    differences: list[Difference]
    differences_total: int
    """How many differences there are; `differences` may hold fewer of them."""
    set_aside: list[SetAside]
    ignores: list[IgnoreUse]
    timings: list[Timing]
    junk: int
    """Keys under `runs/` that belong to no run."""
    warnings: list[str]
    providers: dict[Literal["primary", "shadow"], list[str]] = Field(default_factory=dict)
    """The providers of each side, from the status documents."""
    notes: list[str] = Field(default_factory=list)
    """Notes for readers, from the caller of the check."""
    gates: GatesReport | None = None
    """Verdicts by task and gate; None where no gate file was given."""

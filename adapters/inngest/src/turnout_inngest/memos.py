"""Memos: the worker's answers as the vendor records them, in small JSON without payloads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from turnout.model.protocol import Executed, Next, Outcome
from turnout.model.status import ParkReason, RunStatus
from turnout.model.time import Millis
from turnout_inngest.json_fields import unexpected_shape

UNDER_WAY = frozenset({ParkReason.BACKOFF, ParkReason.STEP})
"""Reasons to wait that the branches of the steps themselves see to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptCall:
    """A call for one attempt of one step."""

    step: str
    attempt: int
    repeat: int = 0
    """How often the same attempt has been called for before."""

    @property
    def label(self) -> str:
        """What the vendor's dashboard shows; no other vendor step of the run ends like this."""
        return f"{self.step} #{self.attempt}"


@dataclass(frozen=True, kw_only=True, slots=True)
class NextMemo:
    """The Next of an answer."""

    at: Millis
    """When the worker answered."""
    seq: int
    state: RunStatus
    starts: tuple[AttemptCall, ...] = ()
    parked: frozenset[ParkReason] | None = None
    """Why the run waits; None where it does not."""
    until: Millis | None = None
    sha256: str | None = None
    error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiptMemo:
    """What became of an attempt."""

    outcome: Outcome
    retry_at: Millis | None = None
    """When the next attempt may begin, where there is one."""

    @property
    def is_open(self) -> bool:
        """Whether the same attempt must be called for again."""
        return self.outcome in {Outcome.ACCEPTED, Outcome.BUSY}


def memo_of(answer: Next | Executed, at: Millis) -> dict[str, Any]:
    """Write an answer of the worker as a memo."""
    if isinstance(answer, Next):
        return {"at": at, "next": _next(answer)}
    receipt = answer.receipt
    receipt_fields = _compact(
        {
            "step": receipt.step,
            "attempt": receipt.attempt,
            "outcome": receipt.outcome.value,
            "duration_ms": receipt.duration_ms,
            "error": _error(receipt.error),
            "retry_at": receipt.retry_at,
        }
    )
    return {"at": at, "receipt": receipt_fields, "next": _next(answer.next)}


def next_of(memo: Mapping[str, Any]) -> NextMemo:
    """Read the Next of a memo; ProviderUnavailable where the vendor gives back something else."""
    try:
        return _next_of(memo)
    except _SHAPE_ERRORS:
        raise unexpected_shape("data", memo, _EXPECTED) from None


def receipt_of(memo: Mapping[str, Any]) -> ReceiptMemo:
    """Read the receipt of a memo; ProviderUnavailable as above."""
    try:
        receipt = memo["receipt"]
        return ReceiptMemo(outcome=Outcome(receipt["outcome"]), retry_at=receipt.get("retry_at"))
    except _SHAPE_ERRORS:
        raise unexpected_shape("data", memo, _EXPECTED) from None


_SHAPE_ERRORS = (KeyError, TypeError, ValueError, AttributeError)
_EXPECTED = "what this adapter's step has answered"


def _next_of(memo: Mapping[str, Any]) -> NextMemo:
    next_step = memo["next"]
    park = next_step.get("park")
    error = next_step.get("error")
    return NextMemo(
        at=memo["at"],
        seq=next_step["seq"],
        state=RunStatus(next_step["state"]),
        starts=tuple(
            AttemptCall(step=step, attempt=attempt) for step, attempt in next_step.get("run", ())
        ),
        parked=None if park is None else frozenset(map(ParkReason, park["reasons"])),
        until=None if park is None else park.get("until"),
        sha256=next_step.get("sha256"),
        error="" if error is None else f"{error['name']}: {error['message']}",
    )


def _next(answer: Next) -> dict[str, Any]:
    park = answer.park
    return _compact(
        {
            "seq": answer.seq,
            "state": answer.state.value,
            "run": [[attempt.step, attempt.attempt] for attempt in answer.run] or None,
            "park": None
            if park is None
            else _compact(
                {"until": park.until, "reasons": [attempt.value for attempt in park.reasons]}
            ),
            "sha256": None if answer.result is None else answer.result.sha256,
            "error": _error(answer.error),
        }
    )


def _error(problem: Any) -> dict[str, str] | None:
    return None if problem is None else {"name": problem.name, "message": problem.message[:2_000]}


def _compact(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}

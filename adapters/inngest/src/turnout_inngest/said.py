"""What the worker said, as it is remembered at the vendor: plain JSON, small, without payloads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from turnout.model.protocol import Executed, Next, Outcome
from turnout.model.status import ParkReason, RunStatus
from turnout.model.time import Millis
from turnout_inngest.shapes import misshapen

TIMED = frozenset({ParkReason.SLEEP, ParkReason.BACKOFF})
"""Reasons to wait that nothing but time ends."""
UNDER_WAY = frozenset({ParkReason.BACKOFF, ParkReason.STEP})
"""Reasons to wait that the branches of the steps themselves see to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Try:
    """One attempt of one step. again: how often it has been called for before."""

    step: str
    attempt: int
    again: int = 0

    @property
    def label(self) -> str:
        """What the vendor's dashboard shows; no other of the run's vendor steps ends like this."""
        return f"{self.step} #{self.attempt}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """A Next, and when it was said. parked is None where the run does not wait."""

    at: Millis
    seq: int
    state: RunStatus
    starts: tuple[Try, ...] = ()
    parked: frozenset[ParkReason] | None = None
    until: Millis | None = None
    sha256: str | None = None
    error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """What became of a try. retry_at: when the next one may begin, where there is one."""

    outcome: Outcome
    retry_at: Millis | None = None

    @property
    def is_open(self) -> bool:
        """Whether the same try must be called for again."""
        return self.outcome in {Outcome.ACCEPTED, Outcome.BUSY}


def told(answer: Next | Executed, at: Millis) -> dict[str, Any]:
    """Write an answer of the worker."""
    if isinstance(answer, Next):
        return {"at": at, "next": _next(answer)}
    receipt = answer.receipt
    written = _without_none(
        {
            "step": receipt.step,
            "attempt": receipt.attempt,
            "outcome": receipt.outcome.value,
            "duration_ms": receipt.duration_ms,
            "error": _error(receipt.error),
            "retry_at": receipt.retry_at,
        }
    )
    return {"at": at, "receipt": written, "next": _next(answer.next)}


def said_of(memo: Mapping[str, Any]) -> Said:
    """Read the Next of an answer; ProviderUnavailable where the vendor gives back no such thing."""
    try:
        return _said_of(memo)
    except _OTHER_SHAPES:
        raise misshapen("data", memo, _WANTED) from None


def receipt_of(memo: Mapping[str, Any]) -> Receipt:
    """Read the receipt of an answer to execute; ProviderUnavailable as above."""
    try:
        found = memo["receipt"]
        return Receipt(outcome=Outcome(found["outcome"]), retry_at=found.get("retry_at"))
    except _OTHER_SHAPES:
        raise misshapen("data", memo, _WANTED) from None


_OTHER_SHAPES = (KeyError, TypeError, ValueError, AttributeError)
_WANTED = "what this adapter's step has answered"


def _said_of(memo: Mapping[str, Any]) -> Said:
    then = memo["next"]
    park = then.get("park")
    error = then.get("error")
    return Said(
        at=memo["at"],
        seq=then["seq"],
        state=RunStatus(then["state"]),
        starts=tuple(Try(step=step, attempt=attempt) for step, attempt in then.get("run", ())),
        parked=None if park is None else frozenset(map(ParkReason, park["reasons"])),
        until=None if park is None else park.get("until"),
        sha256=then.get("sha256"),
        error="" if error is None else f"{error['name']}: {error['message']}",
    )


def _next(then: Next) -> dict[str, Any]:
    park = then.park
    return _without_none(
        {
            "seq": then.seq,
            "state": then.state.value,
            "run": [[each.step, each.attempt] for each in then.run] or None,
            "park": None
            if park is None
            else _without_none(
                {"until": park.until, "reasons": [each.value for each in park.reasons]}
            ),
            "sha256": None if then.result is None else then.result.sha256,
            "error": _error(then.error),
        }
    )


def _error(problem: Any) -> dict[str, str] | None:
    return None if problem is None else {"name": problem.name, "message": problem.message[:2_000]}


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}

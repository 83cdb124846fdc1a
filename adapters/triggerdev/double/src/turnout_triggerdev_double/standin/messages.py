"""The answers of the step protocol that the loop reads."""

from dataclasses import dataclass, field
from typing import Any

ENDED = frozenset({"completed", "failed", "cancelled", "timed_out"})


class UnreadableAnswer(Exception):
    """An answer that does not follow the protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStart:
    """One attempt of a step to start now."""

    step: str
    attempt: int
    timeout_ms: int | None
    label: str
    """What to show, with the attempt's number in it."""

    @property
    def key(self) -> tuple[str, int]:
        """Its key among the attempts of the run."""
        return (self.step, self.attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkRequest:
    """A reason to wait."""

    until: int | None
    reasons: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NextAnswer:
    """What to do next."""

    seq: int
    state: str
    run: tuple[StepStart, ...] = ()
    park: ParkRequest | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    progress: dict[str, Any] = field(default_factory=dict)


def read_next(value: Any) -> NextAnswer:
    """A Next. Raises UnreadableAnswer."""
    try:
        park = value.get("park")
        return NextAnswer(
            seq=int(value["seq"]),
            state=str(value["state"]),
            run=tuple(_start(start) for start in value.get("run") or ()),
            park=None if park is None else _park(park),
            result=value.get("result"),
            error=value.get("error"),
            progress=value.get("progress") or {},
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnreadableAnswer(f"not a Next: {error!r}") from error


def _start(value: Any) -> StepStart:
    step, attempt = str(value["step"]), int(value["attempt"])
    return StepStart(
        step=step,
        attempt=attempt,
        timeout_ms=value.get("timeout_ms"),
        label=str(value.get("label") or f"{step} #{attempt}"),
    )


def _park(value: Any) -> ParkRequest:
    until = value.get("until")
    return ParkRequest(
        until=None if until is None else int(until),
        reasons=frozenset(str(reason) for reason in value.get("reasons") or ()),
    )

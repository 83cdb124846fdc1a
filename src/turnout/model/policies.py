"""The policies of a task, and what follows from them alone, such as the delay of a retry."""

import hashlib
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from turnout.errors import InvalidDefinition
from turnout.model.text import is_storable
from turnout.model.time import Duration, Millis, millis


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How often one step is tried, and how long is waited between.

    `max_attempts` counts the first try. The n-th delay is `min_delay * factor**(n-1)`, at most
    `max_delay`, then stretched by up to `jitter` (a part of one).
    """

    max_attempts: int = 3
    min_delay: Duration = "1s"
    max_delay: Duration = "60s"
    factor: float = 2.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.max_attempts, bool) or not 1 <= self.max_attempts <= 1_000:  # noqa: PLR2004
            raise InvalidDefinition("retries.max_attempts is from 1 to 1000")
        if not 1 <= self.factor <= 100:  # noqa: PLR2004
            raise InvalidDefinition("retries.factor is from 1 to 100")
        if not 0 <= self.jitter <= 1:
            raise InvalidDefinition("retries.jitter is from 0 to 1")
        low = millis(self.min_delay, field="retries.min_delay")
        if millis(self.max_delay, field="retries.max_delay") < low:
            raise InvalidDefinition("retries.max_delay is shorter than retries.min_delay")

    def plain(self) -> dict[str, Any]:
        """Write it as JSON values that make an equal policy."""
        bounds = {name: f"{millis(getattr(self, name))}ms" for name in ("min_delay", "max_delay")}
        return asdict(self) | bounds

    def delay(self, failed: int, *, seed: str) -> Millis:
        """Return how long to wait after the `failed`-th failed attempt.

        Jitter is drawn from `seed`, so that the same run has the same delays wherever it is
        replayed.
        """
        low, high = millis(self.min_delay), millis(self.max_delay)
        # 2**64 ms is beyond any delay: the exponent is bounded before floats overflow.
        grown = low * self.factor ** min(failed - 1, 64) if low else 0
        return round(min(grown, high) * (1 + self.jitter * _draw(f"{seed}#{failed}")))


@dataclass(frozen=True, kw_only=True)
class Concurrency:
    """At most `limit` of a key at once, in order of emit.

    `key` is a path into the event (`payload.agent_id`); without one the whole task shares the
    limit. `counts="runs"`: from a run's start to its end, sleeping or not. `counts="steps"`:
    executing steps only.
    """

    limit: int
    key: str | None = None
    counts: Literal["runs", "steps"] = "runs"

    def __post_init__(self) -> None:
        if isinstance(self.limit, bool) or self.limit < 1:
            raise InvalidDefinition("concurrency.limit is at least 1")
        if self.counts not in {"runs", "steps"}:
            raise InvalidDefinition("concurrency.counts is 'runs' or 'steps'")
        if self.key is not None:
            check_path(self.key, field="concurrency.key")


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Wall-clock limits, each optional.

    queue: from emit (or the delayed start) to the start. run: from the start to the end, waits
    included. step: one attempt of one step.
    """

    queue: Duration | None = None
    run: Duration | None = None
    step: Duration | None = None

    def __post_init__(self) -> None:
        for name in ("queue", "run", "step"):
            limit = getattr(self, name)
            if limit is not None and millis(limit, field=f"timeouts.{name}") == 0:
                raise InvalidDefinition(f"timeouts.{name} is longer than 0")


@dataclass(frozen=True, kw_only=True)
class CancelOn:
    """An event that cancels a run: the values at `match` are equal in both payloads."""

    event: str
    match: str | None = None

    def __post_init__(self) -> None:
        if self.match is not None:
            check_path(self.match, field="cancel_on.match")


@dataclass(frozen=True, kw_only=True)
class Policies:
    """All that a task asks of its orchestrator."""

    retries: Retries = field(default_factory=Retries)
    concurrency: Concurrency | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    cancel_on: tuple[CancelOn, ...] = ()


def check_path(path: str, *, field: str) -> None:
    """Refuse a path that does not start at the event's payload."""
    first, *names = path.split(".")
    if first != "payload" or not all(names) or not is_storable(path):
        raise InvalidDefinition(f"{field}: {path!r} is not a path like payload.agent_id")


def at_path(path: str, payload: object) -> object:
    """Find the value at a path into a payload; None where there is none."""
    value = payload
    for name in path.split(".")[1:]:
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    return value


def _draw(seed: str) -> float:
    digest = hashlib.sha256(seed.encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48

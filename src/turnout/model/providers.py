"""What providers say of runs, of themselves and of the way to them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from turnout.model.status import RunStatus
from turnout.model.time import Millis


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """What became of one delivery: the vendor's run, or why there is none.

    provider_run_id may be None where the vendor tells it only when the run calls in. refused is
    final and fails the run by name; without it and without an error, the delivery was accepted.
    """

    key: str
    provider_run_id: str | None = None
    error: Exception | None = None


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What the provider itself says of one vendor run.

    state is None when it knows no such run. word is the vendor's own. evidence is JSON that is
    kept for parity: no secrets, no payloads.
    """

    state: RunStatus | None
    word: str
    seen_at: Millis
    started_at: Millis | None = None
    ended_at: Millis | None = None
    attempts: int | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


class LinkState(StrEnum):
    """Where a caller's own connection to its vendor stands."""

    IDLE = "idle"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"


@dataclass(frozen=True, kw_only=True)
class LinkStatus:
    """What a link is doing, how often it was made, and what went wrong last, if anything did.

    problem is kept when the link is up again; it is bounded, and holds no secret.
    """

    state: LinkState
    connections: int = 0
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something at the vendor that an operator should know of, and what to do about it."""

    text: str
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class Probing:
    """One thing found on the way from the vendor's worker to this service."""

    what: str
    ok: bool
    text: str
    fix: str = ""

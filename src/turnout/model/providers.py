"""What providers answer: about deliveries, vendor runs, connections and checks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from turnout.model.status import RunStatus
from turnout.model.time import Millis


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """What became of one delivery: accepted, or why not."""

    key: str
    """The key of the delivery."""
    provider_run_id: str | None = None
    """The vendor's run; None where it is known only once the run calls in."""
    error: Exception | None = None
    """Why the delivery was not accepted; it is sent again."""


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What the provider itself says of one vendor run."""

    state: RunStatus | None
    """None when the provider knows no such run, or did not answer."""
    word: str
    """The vendor's own word for the state."""
    seen_at: Millis
    started_at: Millis | None = None
    ended_at: Millis | None = None
    attempts: int | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """JSON that is stored for parity: no secrets, no payloads."""
    key: str = ""
    """The key of its delivery, where the provider's list shows it."""
    aliases: tuple[str, ...] = ()
    """Other ids under which a delivery may have recorded the vendor run."""
    store: str = ""
    """The id of the run store that it is of, where the provider's list shows it."""


class LinkState(StrEnum):
    """The states of a caller's own connection to its vendor."""

    IDLE = "idle"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"


@dataclass(frozen=True, kw_only=True)
class LinkStatus:
    """A caller's own connection to its vendor: its state and its history."""

    state: LinkState
    connections: int = 0
    """How often the connection was made."""
    problem: str = ""
    """What went wrong last, also once the link is up again; bounded, and without secrets."""


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Who may call a path of the service."""

    path: str
    callers: str
    """Who may call it, like `calls that are signed with TURNOUT_SIGNING_KEYS`."""
    open: bool = False
    """Whether strangers may start runs by it."""
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something at the vendor that an operator should know of, and what to do about it."""

    text: str
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """The result of one check of the way from the vendor's worker to this service."""

    subject: str
    """What was checked, like `address` or `signature`."""
    ok: bool
    text: str
    """What the check found."""
    fix: str = ""
    """What to do about it; empty where nothing is to be done."""

"""What operators do with routes: a change to be made, and the entry that it leaves; pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from turnout.model.routing import Route, Stage
from turnout.model.time import Millis


class Action(StrEnum):
    """What was done."""

    MOVE = "move"
    ROLLBACK = "rollback"
    STAY = "stay"
    UNPIN = "unpin"
    DRILL = "drill"
    DRAIN = "drain"
    VERIFIED = "verified"
    """A step of a rollback or a drill was seen to be done; it changes no route."""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """Who does something, and why."""

    operator: str
    reason: str
    ticket: str | None = None


@dataclass(frozen=True, kw_only=True)
class Change:
    """A route to be set; it counts only over the route that it was decided on."""

    task: str
    action: Action
    before: Route
    after: Route
    evidence: str | None = None
    """The digest of the verdict that allowed it."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """What else the history is to keep, as JSON."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row of the history."""

    number: int
    task: str
    action: Action
    at: Millis
    signature: Signature
    evidence: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def routes(self) -> tuple[Route, Route] | None:
        """The route before and after; None: it changed none."""
        if "before" not in self.detail:
            return None
        return route_from(self.detail["before"]), route_from(self.detail["after"])


def detail_of(change: Change) -> dict[str, Any]:
    """Write what the history keeps of a change beside its columns."""
    return {**change.detail, "before": asdict(change.before), "after": asdict(change.after)}


def route_from(document: Mapping[str, Any]) -> Route:
    """Read a route of the history."""
    return Route(**{**document, "stage": Stage(document["stage"])})

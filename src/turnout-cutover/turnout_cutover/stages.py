"""The stages of a task: what a target means, what lies between two routes; pure."""

import re
from dataclasses import dataclass, replace
from typing import Final

from turnout.errors import WrongUse
from turnout.model.routing import DUAL, Route, Stage
from turnout.model.time import Millis

ORDER: Final = tuple(Stage)
"""The stages in the order of a move."""

_RAMP: Final = re.compile(r"ramp:(\d{1,3})")


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where an operator wants a task to be."""

    stage: Stage
    percentage: int = 0

    def __str__(self) -> str:
        return f"ramp:{self.percentage}" if self.stage is Stage.RAMP else self.stage.value


def read_target(text: str) -> Target:
    """Read `old`, `dual`, `ramp:N` or `new`; WrongUse names what there is."""
    ramp = _RAMP.fullmatch(text)
    if ramp is not None and 1 <= int(ramp[1]) <= 99:  # noqa: PLR2004 - 0 is old, 100 is new
        return Target(stage=Stage.RAMP, percentage=int(ramp[1]))
    if text in (Stage.OLD, Stage.DUAL, Stage.NEW):
        return Target(stage=Stage(text))
    raise WrongUse(f"--to {text}: write old, dual, ramp:N with N from 1 to 99, or new")


def default_route(flag: str | None) -> Route | None:
    """Return the route of a task that has none: what the flag `dual OLD NEW` says of it."""
    words = (flag or "").split()
    if len(words) != 3 or words[0] != DUAL:  # noqa: PLR2004 - dual, primary, shadow
        return None
    return Route(stage=Stage.DUAL, old=words[1], new=words[2])


def routed(route: Route, target: Target) -> Route:
    """Return the route as the target wants it; its number is that of the change to come."""
    return replace(route, stage=target.stage, percentage=target.percentage)


def same_place(first: Route, second: Route) -> bool:
    """Whether two routes send runs to the same providers; their changes may differ."""
    return replace(first, generation=second.generation) == second


def progress(route: Route) -> tuple[int, int]:
    """Return how far a route is on its way; it sorts."""
    return ORDER.index(route.stage), route.percentage


def is_forward(before: Route, after: Route) -> bool:
    """Whether more runs, or more of a task, would be the new provider's."""
    return progress(after) > progress(before)


def skipped(before: Route, after: Route) -> tuple[Stage, ...]:
    """List the stages that a change forward passes over."""
    return ORDER[ORDER.index(before.stage) + 1 : ORDER.index(after.stage)]


def needs_evidence(before: Route, after: Route) -> bool:
    """Whether runs of users go to the new provider by this change, so that its gates count.

    The first step, to a dual run, has none: a dual run is what the evidence comes from.
    """
    return is_forward(before, after) and after.stage is not Stage.DUAL


def soak_left(since: Millis | None, soak: Millis, now: Millis) -> Millis:
    """Return how long a task must stay where it is; since: when it came there, if it did."""
    return 0 if since is None else max(0, since + soak - now)


def describe(route: Route) -> str:
    """Write a route in a few words."""
    place = f"ramp {route.percentage} %" if route.stage is Stage.RAMP else route.stage.value
    return f"{place} ({route.old} → {route.new}){', pinned' if route.stay else ''}"

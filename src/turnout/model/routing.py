"""Which provider a new run goes to: the flag first, then the routes."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from turnout.errors import InvalidSettings

DUAL = "dual"
"""The value of ORCHESTRATOR_PROVIDER that lets the routes decide."""


class Stage(StrEnum):
    """How far a task has moved from its old provider to the new one."""

    OLD = "old"
    DUAL = "dual"
    RAMP = "ramp"
    NEW = "new"
    DRAINED = "drained"


@dataclass(frozen=True, kw_only=True)
class Route:
    """Where a task's new runs go in `dual`. percentage: the new provider's part, while ramping."""

    stage: Stage
    old: str
    new: str
    percentage: int = 0
    generation: int = 0
    """The number of the change that set it, over the changes of all tasks."""
    stay: bool = False
    """Whether it is pinned: whoever changes it must override that."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The provider of a new run, and the one that runs its shadow."""

    provider: str
    shadow: str | None = None


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The providers that the settings name; primary and shadow count in `dual` only."""

    provider: str
    primary: str | None = None
    shadow: str | None = None

    def __post_init__(self) -> None:
        if self.provider == DUAL and (self.primary is None or self.shadow is None):
            raise InvalidSettings(
                "ORCHESTRATOR_PROVIDER=dual needs ORCHESTRATOR_PRIMARY, the provider whose result"
                " counts, and the adapter of another one, which ORCHESTRATOR_SHADOW names"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The providers that new runs may go to."""
        named = (self.primary, self.shadow) if self.provider == DUAL else (self.provider,)
        return tuple(name for name in named if name is not None)

    def __str__(self) -> str:
        return f"{DUAL} {self.primary} {self.shadow}" if self.provider == DUAL else self.provider


@dataclass(frozen=True, kw_only=True)
class Flag:
    """A value that the replicas started with, and its place among all values there were."""

    generation: int
    """From 1; every other value raises it."""
    value: str
    """As `str(Selection)`."""


def choose(selection: Selection, routes: Mapping[str, Route], *, task: str, sticky: str) -> Choice:
    """Choose the provider of one new run.

    Where the settings name a provider, routes are ignored, so that setting it back always works.
    sticky: runs of one key stay together while a task ramps.
    """
    if selection.provider != DUAL:
        return Choice(provider=selection.provider)
    route = routes.get(task)
    if route is None:
        assert selection.primary is not None
        return Choice(provider=selection.primary, shadow=selection.shadow)
    match route.stage:
        case Stage.OLD:
            return Choice(provider=route.old)
        case Stage.DUAL:
            return Choice(provider=route.old, shadow=route.new)
        case Stage.RAMP:
            ramped = _percentile(f"{task}/{sticky}") < route.percentage
            return Choice(provider=route.new if ramped else route.old)
        case Stage.NEW | Stage.DRAINED:
            return Choice(provider=route.new)


def armed_at(selection: Selection, routes: Mapping[str, Route], *, task: str) -> tuple[str, ...]:
    """Say at which providers the schedules of a task are armed; the first one owns them.

    While a task moves, both are: whichever ticks first claims the slot, so neither a step ahead nor
    a rollback has to wait for a schedule.
    """
    route = routes.get(task)
    if selection.provider != DUAL or route is None:
        return selection.names
    match route.stage:
        case Stage.OLD:
            return (route.old,)
        case Stage.DUAL | Stage.RAMP:
            return (route.old, route.new)
        case Stage.NEW:
            return (route.new, route.old)
        case Stage.DRAINED:
            return (route.new,)


def _percentile(sticky: str) -> int:
    """Return a number from 0 to 99; the same text always gets the same number."""
    return int.from_bytes(hashlib.sha256(sticky.encode()).digest()[:8]) % 100

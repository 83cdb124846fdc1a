"""Whether a provider may be given up: what is left of it, requirement by requirement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from turnout.model.routing import Route, Stage
from turnout.model.runs import RunFilter
from turnout.model.status import RunStatus
from turnout.model.time import Millis, iso
from turnout.ports.caller import DurableCaller
from turnout.ports.run_store import RunStore
from turnout_cutover.agreement import Agreement
from turnout_cutover.changes import Action, Entry
from turnout_cutover.draining import Drain, Phase, drain
from turnout_cutover.operations import Operations, known_tasks
from turnout_cutover.rolling_back import OpensLive
from turnout_cutover.stages import default_route, describe, is_forward

DAY: Millis = 24 * 3_600_000

HISTORY = 10_000
"""Entries of the history that are read."""


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One thing that must hold before a provider is given up."""

    name: str
    satisfied: bool
    text: str

    def line(self) -> str:
        """Write it in one line."""
        return f"{'✓' if self.satisfied else '✗'} {self.name}: {self.text}"


async def requirements(
    operations: Operations,
    provider: str,
    open_live: OpensLive,
    *,
    stable: Millis,
) -> Sequence[Requirement]:
    """Say what is left of a provider; nothing is changed.

    stable: for how long no task may have gone back to it, and no change may have been overridden.
    """
    now = operations.clock.now()
    routes = await effective_routes(operations)
    entries = await operations.log.history(limit=HISTORY)
    async with open_live() as live:
        caller = live.callers.get(provider)
        return [
            left_by_tasks(provider, routes),
            stable_for(provider, routes, entries, stable=stable, now=now),
            await completed_elsewhere(operations.store, provider, routes),
            drained(await drain(operations, provider, caller)),
            await nothing_armed(provider, caller),
            follows(await operations.agreement()),
        ]


async def effective_routes(operations: Operations) -> Mapping[str, Route | None]:
    """Read the route of every task that a replica or a route knows; None: nobody knows it."""
    routes, replicas = await operations.log.routes(), await operations.replicas()
    default = default_route(await operations.flag())
    return {task: routes.get(task, default) for task in sorted(known_tasks(replicas, routes))}


def left_by_tasks(provider: str, routes: Mapping[str, Route | None]) -> Requirement:
    """Whether every task has left the provider for good; pure."""
    staying = [
        f"{task}: {'no route' if route is None else describe(route)}"
        for task, route in routes.items()
        if not has_left(provider, route)
    ]
    text = f"{len(routes)} task(s) get their runs elsewhere"
    return Requirement(name="tasks", satisfied=not staying, text="; ".join(staying) or text)


def has_left(provider: str, route: Route | None) -> bool:
    """Whether no new run and no shadow of a route goes to the provider."""
    if route is None:
        return False
    if route.stage in (Stage.NEW, Stage.DRAINED):
        return route.new != provider
    return provider not in (route.old, route.new)


def stable_for(
    provider: str,
    routes: Mapping[str, Route | None],
    entries: Sequence[Entry],
    *,
    stable: Millis,
    now: Millis,
) -> Requirement:
    """Whether no task that was at the provider has moved, or was overridden, for long; pure."""
    faults = [
        f"{entry.task} {word} at {iso(entry.at)}"
        for entry in entries
        if entry.at > now - stable
        and (word := _instability(provider, entry)) is not None
        and entry.task in routes
    ]
    text = f"nothing went back or was overridden for {stable // DAY} day(s)"
    return Requirement(name="stable", satisfied=not faults, text="; ".join(faults) or text)


def _instability(provider: str, entry: Entry) -> str | None:
    """Say what makes an entry count against stability; None: it does not."""
    routes = entry.routes
    if routes is None or provider not in (routes[0].old, routes[0].new):
        return None
    if entry.action is Action.DRILL:
        return None
    if "override" in entry.detail:
        return "was overridden"
    if is_forward(routes[1], routes[0]):
        return "went back"
    return "moved on" if is_forward(*routes) and entry.action is not Action.DRAIN else None


async def completed_elsewhere(
    store: RunStore,
    provider: str,
    routes: Mapping[str, Route | None],
) -> Requirement:
    """Whether every task that moved has completed once where it is now."""
    missing = []
    for task, route in routes.items():
        if route is None or route.old != provider or not has_left(provider, route):
            continue
        completed = RunFilter(
            task=task, provider=route.new, states=frozenset({RunStatus.COMPLETED}), limit=1
        )
        if not await store.runs.find(completed):
            missing.append(f"{task} at {route.new}")
    text = "every task that moved has completed where it is"
    incomplete = f"not completed yet: {', '.join(missing)}"
    return Requirement(
        name="completed", satisfied=not missing, text=incomplete if missing else text
    )


def drained(result: Drain) -> Requirement:
    """Whether nothing is open at the provider, by both lists; pure."""
    busy = [task.line() for task in result.tasks if task.phase is not Phase.DRAINED]
    text = "; ".join([*busy, result.comparison.line()])
    return Requirement(name="drained", satisfied=result.drained, text=text)


async def nothing_armed(provider: str, caller: DurableCaller | None) -> Requirement:
    """Whether the provider's own runtime fires no schedule."""
    if caller is None:
        return Requirement(
            name="nothing armed", satisfied=False, text="it cannot be read from here"
        )
    active = [schedule.id for schedule in await caller.armed() if schedule.active]
    fix = f"{', '.join(active)}; turnout drain {provider} --close REASON disarms them"
    return Requirement(
        name="nothing armed",
        satisfied=not active,
        text=fix if active else "no schedule is armed there",
    )


def follows(agreement: Agreement) -> Requirement:
    """Whether all replicas follow the routes; pure."""
    objection = agreement.objection()
    return Requirement(
        name="replicas", satisfied=objection is None, text=objection or f"{agreement.count} agree"
    )

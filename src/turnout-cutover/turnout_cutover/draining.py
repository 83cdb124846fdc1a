"""Draining a provider: whether new runs still go there, and what is still open, on both sides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from turnout.bootstrap.adapters import EMBEDDED
from turnout.errors import ProviderUnavailable
from turnout.model.providers import Sighting
from turnout.model.replicas import Replica
from turnout.model.routing import DUAL, Route, Stage
from turnout.model.time import Millis, iso
from turnout.ports.caller import DurableCaller
from turnout.ports.listing import Lists
from turnout.ports.run_store import RunStore
from turnout_cutover.open_runs import OpenRuns, VendorRun, read_open_runs, read_vendor_runs
from turnout_cutover.operations import Operations, known_tasks
from turnout_cutover.stages import default_route

MOST_PAGES: Final = 10_000
"""Pages of a provider's list that are read; a list that has more does not end."""


class Phase(StrEnum):
    """How far a task has left a provider."""

    ACTIVE = "active"
    """New runs may go there."""
    DRAINING = "draining"
    """No new runs go there, and some are still open."""
    DRAINED = "drained"
    """Nothing is open there."""


@dataclass(frozen=True, kw_only=True)
class TaskDrain:
    """How far one task has left the provider."""

    task: str
    phase: Phase
    open: OpenRuns | None

    def line(self) -> str:
        """Write it in one line."""
        if self.open is None:
            return f"{self.task}: {self.phase}"
        oldest = f"the oldest from {iso(self.open.oldest)}"
        return f"{self.phase}: {self.open.text()}, {oldest}"

    def document(self) -> dict[str, Any]:
        """Write it as JSON."""
        runs = None if self.open is None else self.open.document()
        return {"task": self.task, "phase": self.phase.value, "runs": runs}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The provider's own list of open runs, beside the run store's."""

    available: bool
    """False: the provider has no list, or none that is needed."""
    needed: bool = True
    """False for a provider in the service's own processes: the run store knows all of it."""
    count: int = 0
    only_there: Sequence[str] = ()
    """Open at the provider, and not in the run store."""
    only_here: Sequence[str] = ()
    """Open in the run store, and not at the provider."""

    @property
    def agrees(self) -> bool:
        """Whether both have the same, as far as it can be told."""
        return (self.available or not self.needed) and not self.only_there and not self.only_here

    def line(self) -> str:
        """Write it in one line."""
        if not self.available:
            return (
                "the provider cannot list its runs: look at its dashboard"
                if self.needed
                else "the provider runs in the service's own processes: it has no list of its own"
            )
        if self.agrees:
            return f"the provider's own list agrees: {self.count} open"
        unknown, unlisted = ", ".join(self.only_there[:9]), ", ".join(self.only_here[:9])
        return (
            f"the provider's own list disagrees: {len(self.only_there)} open only there"
            f" ({unknown}), {len(self.only_here)} only here ({unlisted})"
        )


@dataclass(frozen=True, kw_only=True)
class Drain:
    """How far all tasks have left a provider."""

    provider: str
    tasks: Sequence[TaskDrain]
    comparison: Comparison
    checked_at: Millis

    @property
    def drained(self) -> bool:
        """Whether nothing is open there, by both lists, and nothing new goes there."""
        return self.comparison.agrees and all(task.phase is Phase.DRAINED for task in self.tasks)


def receives(route: Route) -> tuple[str, ...]:
    """Name the providers that new runs of a route go to."""
    match route.stage:
        case Stage.OLD | Stage.DUAL:
            return (route.old,)
        case Stage.RAMP:
            return (route.old, route.new)
        case Stage.NEW | Stage.DRAINED:
            return (route.new,)


def phase_of(
    provider: str, route: Route | None, replicas: Sequence[Replica], runs: OpenRuns | None
) -> Phase:
    """Say how far a task has left a provider; pure.

    route: the one in force; None: not known, so that new runs may go anywhere.
    """
    named = {replica.provider for replica in replicas} - {DUAL}
    if route is None or provider in {*named, *receives(route)}:
        return Phase.ACTIVE
    return Phase.DRAINED if runs is None else Phase.DRAINING


async def drain(operations: Operations, provider: str, caller: DurableCaller | None) -> Drain:
    """Read what is still at a provider, by the run store and by its own list.

    caller: the provider's; None: it is not set up here, or runs in the service's own processes.
    """
    now = operations.clock.now()
    routes, replicas = await operations.log.routes(), await operations.replicas()
    default = default_route(await operations.flag())
    runs = {
        group.task: group
        for group in await read_open_runs(operations.store)
        if group.provider == provider
    }
    return Drain(
        provider=provider,
        tasks=[
            TaskDrain(
                task=task,
                phase=phase_of(provider, routes.get(task, default), replicas, runs.get(task)),
                open=runs.get(task),
            )
            for task in sorted({*runs, *known_tasks(replicas, routes)})
        ],
        comparison=await compared(operations.store, provider, caller, now),
        checked_at=now,
    )


async def compared(
    store: RunStore, provider: str, caller: DurableCaller | None, now: Millis
) -> Comparison:
    """Compare the provider's own list with the run store, where the provider has one."""
    lister: object = caller
    if provider in EMBEDDED or not isinstance(lister, Lists):
        return Comparison(available=False, needed=provider not in EMBEDDED)
    sightings = await listed(lister)
    stored = await read_vendor_runs(store, provider)
    return compare(sightings, stored, before=now - lister.list_lag)


def compare(
    vendor: Mapping[str, Sighting], stored: Sequence[VendorRun], *, before: Millis
) -> Comparison:
    """Compare the provider's open runs with those of the run store; pure.

    before: a vendor run that called later need not be in the list yet.
    """
    open_there = {
        key for key, sighting in vendor.items() if sighting.state and not sighting.state.terminal
    }
    by_key = {run.provider_run_id: run for run in stored}
    missing = [
        run.run_id
        for key, run in by_key.items()
        if key not in open_there and run.claimed_at is not None and run.claimed_at < before
    ]
    return Comparison(
        available=True,
        count=len(open_there),
        only_there=sorted(open_there - by_key.keys()),
        only_here=sorted(missing),
    )


async def listed(caller: Lists) -> Mapping[str, Sighting]:
    """Read all pages of the runs that have not ended at the provider."""
    sightings: dict[str, Sighting] = {}
    cursor = ""
    for _ in range(MOST_PAGES):
        page, cursor = await caller.list_runs(cursor=cursor)
        sightings |= page
        if not cursor:
            return sightings
    raise ProviderUnavailable(f"the list of runs has no end after {MOST_PAGES} pages")

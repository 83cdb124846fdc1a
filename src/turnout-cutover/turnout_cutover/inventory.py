"""What is armed at a provider: schedules, delayed runs, runs that sleep, wait or work.

Schedules and vendor runs come from the provider itself, payloads from the run store. An empty list
is no proof that nothing is there: a new, empty server answers the same. The provider's history is.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import orjson
from pydantic import BaseModel, ValidationError

from turnout.bootstrap.adapters import EMBEDDED
from turnout.errors import ProviderUnavailable, UnknownRun, WrongUse
from turnout.model.runs import Run, RunFilter
from turnout.model.status import RunStatus
from turnout.model.time import Millis, iso
from turnout.ports.caller import DurableCaller
from turnout.ports.listing import Lists
from turnout.ports.run_store import RunStore
from turnout.service.process import Turnout
from turnout_cutover.draining import Comparison, compared
from turnout_cutover.operations import caller_of

HISTORY: Final[Millis] = 30 * 24 * 3_600_000
"""How far back the provider's list shows that it is the one that was used."""

PAGE: Final = 500
"""Runs that are read at once."""

SCHEDULE: Final = "schedule"
DELAYED: Final = "delayed"


@dataclass(frozen=True, kw_only=True)
class Armed:
    """One thing that will go on by itself."""

    kind: str
    """`schedule`, `delayed`, `queued`, `running`, or what a run waits for, like `sleep`."""
    key: str
    """The schedule's id, or the run's."""
    task: str
    due: str | None
    """When it goes on at the latest; None: when something happens."""
    event: str | None = None
    """What started the run; with the payload it can be emitted again."""
    payload: Any = None
    source: str = "run store"
    """Who says so: `provider`, or `run store`."""


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What is armed at one provider."""

    provider: str
    read_at: str
    live: bool
    """Whether the provider itself was read; False: the run store alone."""
    armed: Sequence[Armed]
    comparison: Comparison

    @property
    def counts(self) -> Mapping[str, int]:
        """How many there are of each kind."""
        return dict(sorted(Counter(item.kind for item in self.armed).items()))

    def document(self) -> dict[str, Any]:
        """Write it as JSON; `read_document` reads it."""
        return {
            "turnout": "inventory@1",
            "provider": self.provider,
            "read_at": self.read_at,
            "live": self.live,
            "armed": [asdict(item) for item in self.armed],
        }


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What became of one thing that was armed."""

    key: str
    kind: str
    text: str
    lost: bool
    """Whether nothing is left of it."""


async def read_inventory(
    live: Turnout, provider: str, *, from_store: bool, now: Millis
) -> Inventory:
    """Read what is armed at a provider, from itself and from the run store.

    ProviderUnavailable where it cannot be read, or where it has nothing and its history does not
    show that it was ever used. from_store: do without the provider.
    """
    runs = [_of_run(run, now) async for run in open_runs(live.store, provider)]
    if from_store:
        stored = await live.slots.to_arm(provider)
        armed = [*_schedules(stored, source="run store"), *runs]
        comparison = Comparison(available=False, needed=False)
        return _inventory(provider, armed, comparison, now, live=False)
    caller = caller_of(live, provider)
    schedules = list(_schedules(await caller.armed(), source="provider"))
    comparison = await compared(live.store, provider, caller, now)
    if not schedules and not runs and not comparison.count:
        await _check_used(provider, caller, now)
    return _inventory(provider, [*schedules, *runs], comparison, now, live=True)


class _Document(BaseModel):
    turnout: Literal["inventory@1"]
    provider: str
    read_at: str
    live: bool
    armed: list[Armed]


def read_document(path: Path) -> Inventory:
    """Read an inventory that was saved; WrongUse where it is none."""
    try:
        document = _Document.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the document"
        raise WrongUse(f"{path} is no saved inventory: at {place}: {first['msg']}") from None
    return Inventory(
        provider=document.provider,
        read_at=document.read_at,
        live=document.live,
        armed=document.armed,
        comparison=Comparison(available=False, needed=False),
    )


async def differences(live: Turnout, saved: Inventory) -> Sequence[Difference]:
    """Say what became of everything that was armed then.

    A run is open or has ended; a schedule is armed at some provider. Whatever is neither is lost.
    """
    names = sorted(live.callers)
    armed = {schedule.id: name for name in names for schedule in await live.callers[name].armed()}
    results = []
    for item in saved.armed:
        if item.kind == SCHEDULE:
            place = armed.get(item.key)
            text = f"armed at {place}" if place else "armed at no provider"
            results.append(Difference(key=item.key, kind=item.kind, text=text, lost=place is None))
        else:
            results.append(await _of_saved_run(live.store, item))
    return results


async def open_runs(store: RunStore, provider: str) -> AsyncIterator[Run]:
    """Read every open run of a provider, in order of emit."""
    states = frozenset(state for state in RunStatus if not state.terminal)
    after = 0
    while True:
        page = await store.runs.find(
            RunFilter(provider=provider, states=states, after=after, limit=PAGE)
        )
        for run in page:
            yield run
        if len(page) < PAGE:
            return
        after = page[-1].emit_seq


def _of_run(run: Run, now: Millis) -> Armed:
    due = run.parked_until if run.parked else (run.due_at if run.due_at > now else None)
    return Armed(
        kind=kind_of(run, now),
        key=run.run_id,
        task=run.task,
        due=None if due is None else iso(due),
        event=run.event,
        payload=orjson.loads(run.payload),
    )


def kind_of(run: Run, now: Millis) -> str:
    """Name what a run does: waits for its start, works, or waits for what it names; pure."""
    if run.state is RunStatus.QUEUED:
        return DELAYED if run.due_at > now else RunStatus.QUEUED.value
    if not run.parked:
        return RunStatus.RUNNING.value
    return "+".join(sorted(reason.value for reason in run.parked_for)) or "parked"


def _schedules(schedules: Iterable[Any], *, source: str) -> Iterable[Armed]:
    for schedule in schedules:
        yield Armed(
            kind=SCHEDULE,
            key=schedule.id,
            task=schedule.task or "",
            due=None,
            payload={"cron": schedule.cron, "zone": schedule.zone},
            source=source,
        )


async def _check_used(provider: str, caller: DurableCaller, now: Millis) -> None:
    """ProviderUnavailable unless the provider's own history has runs of this app."""
    reader: object = caller
    if provider in EMBEDDED:
        return
    if isinstance(reader, Lists):
        page, _ = await reader.list_runs(since=now - HISTORY)
        if page:
            return
    raise ProviderUnavailable(
        f"{provider} has nothing armed, and no run of this app in 30 days: is it the server that"
        " was used? --from-store REASON reads the run store alone"
    )


async def _of_saved_run(store: RunStore, item: Armed) -> Difference:
    try:
        run = (await store.journals.load(item.key)).run
    except UnknownRun:
        return Difference(key=item.key, kind=item.kind, text="unknown to the run store", lost=True)
    return Difference(
        key=item.key, kind=item.kind, text=f"{run.state} at {run.provider}", lost=False
    )


def _inventory(
    provider: str, armed: Sequence[Armed], comparison: Comparison, now: Millis, *, live: bool
) -> Inventory:
    return Inventory(
        provider=provider, read_at=iso(now), live=live, armed=armed, comparison=comparison
    )

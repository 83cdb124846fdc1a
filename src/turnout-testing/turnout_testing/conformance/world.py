"""What a behaviour is tried on: a live orchestrator, its stores, and what the tasks left."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from turnout.model.events import Event
from turnout.model.ids import new_run_id
from turnout.model.reports import RunReport
from turnout.model.runs import Run
from turnout.model.status import RunStatus
from turnout.model.tasks import App
from turnout.model.time import Millis
from turnout.ports.caller import DurableCaller
from turnout.ports.clock import Clock
from turnout.ports.orchestrator import Orchestrator
from turnout.ports.run_store import RunStore
from turnout.ports.worker import Worker

PATIENCE = 90.0
"""Real seconds that a run may take before a behaviour gives up on it."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Something that a step's body did: what, and when by the backend's clock."""

    label: str
    """What was done."""
    at: Millis


@dataclass(kw_only=True)
class Trace:
    """What the bodies of steps did, by the id in their payload; one process runs them all."""

    clock: Clock
    marks: dict[str, list[Mark]] = field(default_factory=lambda: defaultdict(list))
    active: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    peak: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def mark(self, name: str, label: str) -> int:
        """Note it; how often this has been noted of this name."""
        self.marks[name].append(Mark(label=label, at=self.clock.now()))
        return sum(mark.label == label for mark in self.marks[name])

    def count(self, name: str, label: str) -> int:
        """How often it was noted."""
        return sum(mark.label == label for mark in self.marks[name])

    def times(self, name: str, label: str) -> list[Millis]:
        """When it was noted, in order."""
        return [mark.at for mark in self.marks[name] if mark.label == label]

    def enter(self, group: str) -> None:
        """Begin something of which only so many may be under way."""
        self.active[group] += 1
        self.peak[group] = max(self.peak[group], self.active[group])

    def leave(self, group: str) -> None:
        """End it."""
        self.active[group] -= 1


@dataclass(kw_only=True)
class World:
    """One backend, live.

    slack: milliseconds that the backend may be late by when something is due; what is declared is
    never undercut by more than `early`. together: behaviours under way at the same time, as many
    as two cores carry with a vendor's server. longer: how many times longer than usual a body
    holds what others shall meet, for a server that is slow to start runs.
    """

    name: str
    app: App
    orchestrator: Orchestrator
    store: RunStore
    clock: Clock
    caller: DurableCaller
    worker: Worker
    trace: Trace
    embedded: bool = False
    """Whether the provider is our own, which has no runs apart from ours to look at."""
    slack: Millis = 5_000
    early: Millis = 20
    at_once: int = 20
    patience: float = PATIENCE
    longer: float = 1.0

    def fresh(self) -> str:
        """Make an id that no other behaviour uses."""
        return new_run_id(time.time_ns() // 1_000_000)

    async def start(self, task: str, **payload: Any) -> str:
        """Emit the event of a task; the id of its run."""
        options = {name: payload.pop(name) for name in ("key", "at") if name in payload}
        event = Event(name=f"conformance/{task}", payload=payload, **options)
        (emitted,) = await self.orchestrator.emit(event)
        return emitted.runs[0].run_id

    async def emit(self, name: str, **payload: Any) -> Sequence[str]:
        """Emit an event; the ids of the runs that it started."""
        (emitted,) = await self.orchestrator.emit(Event(name=name, payload=payload))
        return [run.run_id for run in emitted.runs]

    async def delay_at(self, moment: Millis) -> Millis:
        """Start a run once this moment has come; how long the backend takes just then to begin it.

        What is due at that moment cannot be begun sooner, on a machine that is busy.
        """

        async def has_come() -> bool:
            """Whether the moment has come."""
            return self.clock.now() >= moment

        await self.until(has_come, "the moment has come")
        since = self.clock.now()
        run = (await self.ended(await self.start("echo", id=self.fresh()))).journal.run
        assert run.started_at is not None
        return max(0, run.started_at - since)

    async def report(self, run_id: str) -> RunReport:
        """Read what is recorded of a run."""
        return await self.orchestrator.status(run_id)

    async def ended(self, run_id: str) -> RunReport:
        """Wait for the end of a run."""
        reports: list[RunReport] = []

        async def over() -> bool:
            """Whether the run has ended."""
            reports[:] = [await self.report(run_id)]
            return reports[0].journal.run.state.terminal

        await self.until(over, f"run {run_id} has ended")
        return reports[0]

    async def until(self, true: Callable[[], Awaitable[bool]], condition: str) -> None:
        """Wait for something to be true."""
        until = time.monotonic() + self.patience
        while not await true():
            assert time.monotonic() < until, f"not in {self.patience:.0f} s: {condition}"
            await asyncio.sleep(0.05)

    async def marked(self, name: str, label: str) -> None:
        """Wait until a body has noted something."""

        async def has_mark() -> bool:
            """Whether a body has noted it."""
            return self.trace.count(name, label) > 0

        await self.until(has_mark, f"{label!r} of {name}")

    async def parked(self, run_id: str, reason: str, *, or_ended: bool = False) -> RunReport:
        """Wait until a run waits for this reason, or, if that will do, has ended.

        Returns the report that says so: a later one may say something else.
        """
        reports: list[RunReport] = []

        async def waits() -> bool:
            """Whether the run waits for this reason."""
            reports[:] = [await self.report(run_id)]
            run = reports[0].journal.run
            is_over = or_ended and run.state.terminal
            return is_over or (run.parked and reason in run.parked_for)

        await self.until(waits, f"run {run_id} is parked for {reason}")
        return reports[0]


def result_of(report: RunReport) -> Any:
    """The result of a run that must have completed."""
    run = report.journal.run
    assert run.state is RunStatus.COMPLETED, f"{run.run_id} is {run.state}: {error_text(run)}"
    return None if run.result is None else orjson.loads(run.result)


def error_text(run: Run) -> str:
    """A run's error, in words."""
    return "no error" if run.error is None else f"{run.error.name}: {run.error.message}"

"""Runs a task to its end on a store in memory; whatever it waits for comes at once."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from turnout.driver.commands import Command, EmitCommand, EventCommand
from turnout.driver.effects import LiveEffects, NewStep
from turnout.driver.values import encode
from turnout.model.admission import new_run
from turnout.model.events import Event, StoredEvent
from turnout.model.ids import new_run_id
from turnout.model.protocol import Advance, Execute, Next
from turnout.model.runs import Emission, Failure, Journal, Run
from turnout.model.status import RunStatus, StepKind
from turnout.model.tasks import App, Task, app
from turnout.model.time import Millis, moment
from turnout.ports.run_store import RunStore
from turnout.stores.sql import open_run_store
from turnout.worker.options import WorkerOptions
from turnout.worker.worker import TaskWorker
from turnout_testing.clock import TurnableClock
from turnout_testing.stubs import StubBodies

MOST_ROUNDS = 100_000


@dataclass(frozen=True, kw_only=True)
class TaskRun:
    """How a run of a task ended, and what it did on the way."""

    state: RunStatus
    """How it ended."""
    result: Any
    """What the task returned; None where it did not complete."""
    error: Failure | None
    """Why it failed."""
    steps: Mapping[str, Any]
    """Outputs by step id, those of waits, invokes and emits included."""
    attempts: Mapping[str, int]
    """How often each step was tried."""
    emitted: Sequence[tuple[str, Any]]
    """The events that it and its children emitted: name and payload."""
    took: Millis
    """The time that was skipped."""
    journal: Journal
    """All that is recorded of the run."""


async def run_task(
    task: Task,
    payload: Any = None,
    *,
    steps: Mapping[str, Any] | None = None,
    events: Sequence[Event | tuple[str, Any]] = (),
    beside: Sequence[Task] = (),
    clock: TurnableClock | None = None,
) -> TaskRun:
    """Run a task to its end, with its time skipped.

    steps: by step id, what stands in for its body: a function, a value that it returns, an
    exception that it raises, or `InTurn(…)` with one of these for each attempt. Other steps run
    themselves. events: emitted in order, each as soon as the run waits for one of its name, or at
    its `at`. beside: further tasks, which it invokes or whose events it emits. A run that would
    wait for ever, and a stand-in for a step that was never run, are errors.
    """
    clock = clock or TurnableClock()
    stubs = StubBodies(clock, steps or {})
    store = open_run_store("sqlite://")
    simulation = _Simulation(
        app=app("testing", task, *beside), store=store, clock=clock, bodies=stubs
    )
    try:
        task_run = await simulation.run(
            task, {} if payload is None else payload, [_event(e) for e in events]
        )
    finally:
        await simulation.worker.close(0)
        await store.close()
    unused = sorted(set(steps or {}) - stubs.steps_replaced)
    if unused and task_run.state is RunStatus.COMPLETED:
        raise AssertionError(
            f"stand-ins were given for steps that never task_run: {', '.join(unused)}"
        )
    return task_run


@dataclass(kw_only=True)
class _Simulation:
    """A caller for every run of a store, which turns the clock when nothing else is to do."""

    app: App
    store: RunStore
    clock: TurnableClock
    bodies: StubBodies
    worker: TaskWorker = field(init=False)
    effects: "_RecordingEffects" = field(init=False)
    live: dict[str, tuple[str, int]] = field(default_factory=dict)
    parked: dict[str, Next] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.effects = _RecordingEffects(self.app)
        self.worker = TaskWorker(
            app=self.app,
            store=self.store,
            clock=self.clock,
            bodies=self.bodies,
            effects=self.effects,
            options=WorkerOptions(bound=None, default_grace=0),
        )

    async def run(self, task: Task, payload: Any, events: list[Event]) -> TaskRun:
        began = self.clock.now()
        run_id = await self._emit_run(task, payload)
        for _ in range(MOST_ROUNDS):
            moved = await self._round()
            run = (await self.store.journals.load(run_id)).run
            if run.state.terminal:
                return await self._outcome(run_id, began)
            if not moved and not await self._feed(events):
                await self._skip(run_id, events)
        raise AssertionError(f"task {task.id!r} does not end")

    async def _round(self) -> bool:
        """Call for every run that can be called for; whether anything moved."""
        await self._collect()
        before = dict(self.parked)
        await asyncio.gather(*(self._call(run_id) for run_id in tuple(self.live)))
        await self._collect()
        return self.parked != before or any(run_id not in self.parked for run_id in self.live)

    async def _collect(self) -> None:
        now = self.clock.now()
        for delivery in await self.store.due.take_deliveries(now, limit=1_000, hold=10**12):
            if not delivery.stopping:
                self.live[delivery.run_id] = (delivery.task, delivery.number)

    async def _call(self, run_id: str) -> None:
        task, number = self.live[run_id]
        common: dict[str, Any] = {
            "task": task,
            "run_id": run_id,
            "delivery": number,
            "provider_run_id": f"{run_id}.{number}",
        }
        answer = await self.worker.answer(Advance(**common))
        while answer.run:
            calls = [
                self.worker.answer(Execute(**common, step=call.step, attempt=call.attempt))
                for call in answer.run
            ]
            answers = [reply.next for reply in await asyncio.gather(*calls)]
            answer = max(answers, key=lambda reply: reply.seq)
        if answer.state.terminal:
            del self.live[run_id]
            self.parked.pop(run_id, None)
        else:
            self.parked[run_id] = answer

    async def _feed(self, events: list[Event]) -> bool:
        """Emit the first event that is due, or that is waited for."""
        waited = await self._waited()
        for event in events:
            due = event.name in waited if event.at is None else moment(event.at) <= self.clock.now()
            if due:
                events.remove(event)
                await self._emit(event)
                return True
        return False

    async def _waited(self) -> set[str]:
        """The names of events that live runs wait for."""
        events: set[str] = set()
        for run_id in self.live:
            steps = (await self.store.journals.load(run_id)).steps
            events |= {
                self.effects.waits[run_id, step.step]
                for step in steps.values()
                if step.kind is StepKind.EVENT and not step.state.settled
            }
        return events

    async def _skip(self, run_id: str, events: Sequence[Event]) -> None:
        """Turn the clock to whatever comes next."""
        due = [
            answer.park.until
            for answer in self.parked.values()
            if answer.park and answer.park.until
        ]
        due += [moment(event.at) for event in events if event.at is not None]
        stored = await self.store.due.next_due()
        due += [] if stored is None else [stored]
        coming = [at for at in due if at > self.clock.now()]
        if not coming:
            parked = self.parked.get(run_id)
            reasons = ", ".join(parked.park.reasons) if parked and parked.park else "nothing"
            raise AssertionError(f"the run would wait for ever; it waits for: {reasons}")
        await self.clock.turn_to(min(coming))

    async def _emit_run(self, task: Task, payload: Any) -> str:
        raw = encode(payload, subject="the payload")
        payload = orjson.loads(raw)
        task.read_payload(payload)
        name = task.on[0] if task.on else "testing/run"
        event = self._stored(name, raw)
        started = new_run(
            self.app,
            task,
            event,
            run_id=new_run_id(self.clock.now()),
            provider="testing",
            payload=payload,
        )
        await self.store.events.emit([Emission(event=event, runs=(started,))])
        return started.run.run_id

    async def _emit(self, event: Event) -> None:
        raw = encode(event.payload, subject=f"the payload of {event.name!r}")
        await self.store.events.emit([Emission(event=self._stored(event.name, raw))])

    def _stored(self, name: str, raw: bytes) -> StoredEvent:
        now = self.clock.now()
        return StoredEvent(event_id=new_run_id(now), name=name, payload=raw, emitted_at=now)

    async def _outcome(self, run_id: str, began: Millis) -> TaskRun:
        journal = await self.store.journals.load(run_id)
        run = journal.run
        return TaskRun(
            state=run.state,
            result=None if run.result is None else orjson.loads(run.result),
            error=run.error,
            steps={
                step.step: None if step.output is None else orjson.loads(step.output)
                for step in sorted(journal.steps.values(), key=lambda step: step.position)
                if step.state.settled
            },
            attempts={step: len(attempts) for step, attempts in journal.attempts.items()},
            emitted=tuple(self.effects.emitted.values()),
            took=self.clock.now() - began,
            journal=journal,
        )


class _RecordingEffects(LiveEffects):
    """Live effects that note which events are waited for and which are emitted."""

    def __init__(self, app: App) -> None:
        super().__init__(app)
        self.waits: dict[tuple[str, str], str] = {}
        self.emitted: dict[tuple[str, str], tuple[str, Any]] = {}

    def record(self, run: Run, command: Command[Any], position: str, now: Millis) -> NewStep:
        step = super().record(run, command, position, now)
        name = run.run_id, command.id
        if isinstance(command, EventCommand):
            self.waits[name] = command.event
        if isinstance(command, EmitCommand) and step.emission is not None:
            event = step.emission.event
            self.emitted[name] = event.name, orjson.loads(event.payload)
        return step


def _event(event: Event | tuple[str, Any]) -> Event:
    return event if isinstance(event, Event) else Event(name=event[0], payload=event[1])

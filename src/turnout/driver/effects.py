"""What a new command does beyond its run, as data to be committed with it.

`LiveEffects` is a primary's. A dual run's shadow has its own: it starts no child, emits nothing,
and settles its waits with what the primary recorded.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from turnout.driver.commands import (
    Command,
    EmitCommand,
    EventCommand,
    InvokeCommand,
    SleepCommand,
    match_of,
)
from turnout.driver.values import encode
from turnout.errors import InvalidDefinition, TurnoutError
from turnout.model.admission import new_run
from turnout.model.canonical import canonical_bytes
from turnout.model.events import StoredEvent
from turnout.model.ids import check_event_key, check_step_id, new_run_id
from turnout.model.policies import at_path
from turnout.model.routing import Choice
from turnout.model.runs import Emission, Failure, NewRun, Run, Step, Wait
from turnout.model.status import RunStatus, StepKind, StepState
from turnout.model.tasks import FAILURE_HOOK, App, Task
from turnout.model.time import LONGEST, Millis
from turnout.model.transitions import failure

Placement = Callable[[Task, StoredEvent, Run], Choice]
"""Which provider gets a run that another run starts, and which one its shadow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewStep:
    """A step as it is first recorded, with the wait and the emission that come with it."""

    step: Step
    wait: Wait | None = None
    emission: Emission | None = None


class Effects(Protocol):
    """What commands do when they are first asked for, and when their time has come. Pure."""

    def record(self, run: Run, command: Command[Any], position: str, now: Millis) -> NewStep:
        """Record a new command; it may be settled at once. InvalidDefinition fails the run."""
        ...

    def due(self, run: Run, step: Step, now: Millis) -> Step:
        """Settle a sleep, a wait or an invoke whose `due_at` has come."""
        ...

    def ended(self, run: Run, now: Millis) -> Emission | None:
        """Say what the end of a run starts."""
        ...


def same_provider(task: Task, event: StoredEvent, parent: Run) -> Choice:
    """Place a run at the provider of the run that starts it."""
    del task, event
    return Choice(provider=parent.provider, shadow=parent.shadow)


class LiveEffects:
    """The effects of a primary run: children start, events go out, hooks follow failures."""

    def __init__(self, app: App, place: Placement = same_provider) -> None:
        self._app = app
        self._place = place

    def record(self, run: Run, command: Command[Any], position: str, now: Millis) -> NewStep:
        """Record a new command."""
        step = new_step(command, position, now)
        match command:
            case SleepCommand():
                return NewStep(step=_sleep(step, command, now))
            case EventCommand():
                return _wait(run, step, command, now)
            case InvokeCommand() | EmitCommand():
                return self._record_emission(run, step, command, now)
        return NewStep(step=step)

    def due(self, run: Run, step: Step, now: Millis) -> Step:
        """Settle a wait: the sleep is over, no event came in time, or the child run is late."""
        del run
        if step.kind is StepKind.INVOKE:
            late = Failure(name="TimedOut", message=f"the run {step.child} did not end in time")
            return settled(step, now, error=late)
        return settled(step, now)

    def ended(self, run: Run, now: Millis) -> Emission | None:
        """Start the task's failure hook when its run has failed or timed out."""
        if run.state not in {RunStatus.FAILED, RunStatus.TIMED_OUT}:
            return None
        # A run of a task that this code no longer has still ends, without a hook.
        task = next((task for task in self._app.tasks if task.id == run.task), None)
        if task is None or task.on_failure is None:
            return None
        hook = self._app.task(task.id + FAILURE_HOOK)
        # Written without a limit of depth: the payload may have the last allowed level already.
        payload = orjson.dumps(
            {
                "run_id": run.run_id,
                "task": run.task,
                "state": run.state.value,
                "error": _error_document(run),
                "payload": orjson.Fragment(run.payload),
                "event": run.event,
                "event_id": run.event_id,
                "emitted_at": run.emitted_at,
            },
            option=orjson.OPT_SORT_KEYS,
        )
        event = _event(run, "on-failure", "turnout/on-failure", payload, now, None)
        return self._emission(event, (hook,), run, key=f"{run.run_id}/on-failure")

    def _record_emission(
        self, run: Run, step: Step, command: InvokeCommand | EmitCommand, now: Millis
    ) -> NewStep:
        try:
            if isinstance(command, InvokeCommand):
                return self._invoke(run, step, command, now)
            return self._emit(run, step, command, now)
        except TurnoutError as error:
            # A payload that does not fit, or a task that is not there: recorded, so that the
            # function sees the same failure at every replay and can catch it.
            return NewStep(step=settled(step, now, error=failure(error)))

    def _invoke(self, run: Run, step: Step, command: InvokeCommand, now: Millis) -> NewStep:
        task = self._app.task(command.task)
        raw = encode(command.payload, subject=f"the payload for {task.id!r}")
        payload = orjson.loads(raw)
        task.read_payload(payload)
        event = _event(run, step.step, "turnout/invoked", raw, now, None)
        choice = self._place(task, event, run)
        child = new_run(
            self._app,
            task,
            event,
            run_id=_derived_id(run, step.step, task.id, now),
            provider=choice.provider,
            shadow=choice.shadow,
            payload=payload,
            parent=(run.run_id, step.step),
        )
        due_at = None if command.timeout is None else now + command.timeout
        return NewStep(
            step=step._replace(child=child.run.run_id, due_at=due_at),
            emission=Emission(event=event, runs=(child,)),
        )

    def _emit(self, run: Run, step: Step, command: EmitCommand, now: Millis) -> NewStep:
        raw = encode(command.payload, subject=f"the payload of {command.event!r}")
        payload = orjson.loads(raw)
        tasks = self._app.subscribed(command.event, payload)
        for task in tasks:
            task.read_payload(payload)
        key = None if command.key is None else check_event_key(command.key)
        event = _event(run, step.step, command.event, raw, now, key)
        return NewStep(
            step=settled(step, now, output=canonical_bytes(event.event_id)),
            emission=self._emission(event, tasks, run, key=key, due_at=command.at),
        )

    def _emission(
        self,
        event: StoredEvent,
        tasks: tuple[Task, ...],
        run: Run,
        *,
        key: str | None,
        due_at: Millis | None = None,
    ) -> Emission:
        payload = orjson.loads(event.payload)
        runs = tuple(self._run(event, task, run, payload, key, due_at) for task in tasks)
        return Emission(event=event, runs=runs)

    def _run(
        self,
        event: StoredEvent,
        task: Task,
        run: Run,
        payload: Any,
        key: str | None,
        due_at: Millis | None,
    ) -> NewRun:
        choice = self._place(task, event, run)
        return new_run(
            self._app,
            task,
            event,
            run_id=_derived_id(run, event.event_id, task.id, event.emitted_at),
            provider=choice.provider,
            shadow=choice.shadow,
            payload=payload,
            due_at=due_at,
            key=key,
        )


def new_step(command: Command[Any], position: str, now: Millis) -> Step:
    """Make the open step of a new command; InvalidDefinition where its id is none."""
    assert command.kind is not None
    return Step(step=check_step_id(command.id), kind=command.kind, position=position, asked_at=now)


def settled(
    step: Step, now: Millis, *, output: bytes | None = None, error: Failure | None = None
) -> Step:
    """Settle a step with its output, or with its failure."""
    state = StepState.COMPLETED if error is None else StepState.FAILED
    return step._replace(state=state, ended_at=now, output=output, error=error)


def _sleep(step: Step, command: SleepCommand, now: Millis) -> Step:
    due_at = command.until if command.duration is None else now + command.duration
    assert due_at is not None
    if due_at - now > LONGEST:
        raise InvalidDefinition(f"sleep {step.step!r}: the moment is more than 366 days away")
    asleep = step._replace(due_at=due_at)
    return settled(asleep, now) if due_at <= now else asleep


def _wait(run: Run, step: Step, command: EventCommand, now: Millis) -> NewStep:
    def own_value(path: str) -> Any:
        return at_path(path, orjson.loads(run.payload))

    wait = Wait(
        run_id=run.run_id,
        step=step.step,
        event=command.event,
        match=match_of(command, own_value),
        whole=command.whole,
        since_run=command.since_run,
    )
    if command.timeout == 0 and not command.since_run:
        return NewStep(step=settled(step._replace(due_at=now), now))
    return NewStep(step=step._replace(due_at=now + command.timeout), wait=wait)


def _event(
    run: Run, step: str, name: str, payload: bytes, now: Millis, key: str | None
) -> StoredEvent:
    return StoredEvent(
        event_id=_derived_id(run, step, "event", now),
        name=name,
        payload=payload,
        emitted_at=now,
        key=key,
        caused_by=f"{run.run_id}/{step}",
        labels=run.labels,
    )


def _derived_id(run: Run, step: str, kind: str, now: Millis) -> str:
    """Derive an id from what it is for: the same arguments give the same id at every replay."""
    seed = f"{run.run_id}\0{step}\0{kind}".encode()
    return new_run_id(now, draw=hashlib.sha256(seed).digest())


def _error_document(run: Run) -> dict[str, str] | None:
    return None if run.error is None else {"name": run.error.name, "message": run.error.message}

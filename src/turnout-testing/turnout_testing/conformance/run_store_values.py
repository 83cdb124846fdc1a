"""What the run store's tests emit, claim and commit."""

from typing import Any

from turnout.model.events import StoredEvent
from turnout.model.policies import Timeouts
from turnout.model.runs import (
    Attempt,
    Change,
    Emission,
    NewRun,
    Run,
    Step,
    Wait,
)
from turnout.model.status import (
    AttemptState,
    RunStatus,
    StepKind,
)
from turnout.model.transitions import begin, end
from turnout.ports.run_store import RunStore

T0 = 1_700_000_000_000
"""When everything begins, in these tests."""


def new_run(run_id: str = "r1", task: str = "t", **fields: Any) -> Run:
    """Make a run as an emit would."""
    plain = {
        "provider": "local",
        "payload": b"{}",
        "event": "e",
        "event_id": f"e-{run_id}",
        "emitted_at": T0,
        "due_at": T0,
    }
    return Run(run_id=run_id, task=task, **{**plain, **fields})


def event(
    event_id: str = "e1", name: str = "e", payload: bytes = b"{}", at: int = T0
) -> StoredEvent:
    """Make an event as it is recorded."""
    return StoredEvent(event_id=event_id, name=name, payload=payload, emitted_at=at)


def emission(*runs: Run, slotted: bool = False, cancel_on: tuple[Wait, ...] = ()) -> Emission:
    """Make an event that starts these runs."""
    started = tuple(NewRun(run=run, slotted=slotted, cancel_on=cancel_on) for run in runs)
    return Emission(event=event(runs[0].event_id, runs[0].event), runs=started)


def new_attempt(step: str = "s", number: int = 1, **fields: Any) -> Attempt:
    """Make an attempt that was claimed."""
    plain = {"state": AttemptState.CLAIMED, "fence": 0, "worker": "w", "claimed_at": T0}
    return Attempt(step=step, number=number, **{**plain, "lease_until": T0 + 15_000, **fields})


def new_step(step: str = "s", kind: StepKind = StepKind.STEP, **fields: Any) -> Step:
    """Make a step that is open."""
    return Step(step=step, kind=kind, **{"position": "0001", "asked_at": T0, **fields})


async def started(store: RunStore, run_id: str = "r1", **fields: Any) -> Run:
    """Emit a run and begin it; gives it as it stands."""
    await store.events.emit([emission(new_run(run_id, **fields))])
    change = begin(await store.journals.load(run_id), Timeouts(), T0)
    assert change is not None
    assert await store.journals.apply(change)
    return (await store.journals.load(run_id)).run


async def waiting(store: RunStore, wait: Wait, **step: Any) -> Run:
    """Start a run that waits for an event in a step."""
    assert wait.step is not None
    run = await started(store, wait.run_id)
    opened = new_step(wait.step, StepKind.EVENT, **step)
    assert await store.journals.apply(Change(before=run, after=run, steps=(opened,), waits=(wait,)))
    return (await store.journals.load(wait.run_id)).run


async def ended(store: RunStore, run_id: str, state: RunStatus = RunStatus.COMPLETED) -> Run:
    """End a run as its own worker would."""
    run = (await store.journals.load(run_id)).run
    change = end(run, state, T0 + 9, result=b'"done"')
    assert change is not None
    assert await store.journals.apply(change)
    return (await store.journals.load(run_id)).run

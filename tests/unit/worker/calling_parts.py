"""A vendor run as tests need it: calls the worker the way the step protocol says."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from turnout_testing.clock import TurnableClock

from turnout.model.admission import new_run
from turnout.model.canonical import canonical_bytes
from turnout.model.events import StoredEvent
from turnout.model.ids import new_run_id
from turnout.model.protocol import (
    Advance,
    Execute,
    Executed,
    Follow,
    Followed,
    Next,
    Park,
    Parked,
)
from turnout.model.runs import Emission, Journal, Run
from turnout.model.status import RunStatus
from turnout.model.tasks import App, Task, app
from turnout.model.transitions import cancel
from turnout.stores.sql import open_run_store
from turnout.worker.options import WorkerOptions
from turnout.worker.worker import TaskWorker


@dataclass
class World:
    """A store in memory, a clock, an app and its workers."""

    app: App
    clock: TurnableClock = field(default_factory=TurnableClock)
    store: Any = field(default_factory=lambda: open_run_store("sqlite://"))
    workers: list[TaskWorker] = field(default_factory=list)

    def worker(self, **options: Any) -> TaskWorker:
        """Start one more worker over the same store."""
        made = TaskWorker(
            app=self.app,
            store=self.store,
            clock=self.clock,
            options=WorkerOptions(**{"watch_seconds": 0.02, **options}),
        )
        self.workers.append(made)
        return made

    async def emit(self, task: str, payload: Any = None, **values: Any) -> str:
        """Record a run of a task."""
        now = self.clock.now()
        event = StoredEvent(
            event_id=new_run_id(now),
            name=values.pop("name", "go"),
            payload=canonical_bytes({} if payload is None else payload),
            emitted_at=now,
        )
        found = self.app.task(task)
        made = new_run(self.app, found, event, run_id=new_run_id(now), provider="local", **values)
        await self.store.events.emit([Emission(event=event, runs=(made,))])
        return made.run.run_id

    async def tell(self, name: str, payload: Any = None) -> None:
        """Emit an event that starts nothing."""
        now = self.clock.now()
        raw = canonical_bytes({} if payload is None else payload)
        event = StoredEvent(event_id=new_run_id(now), name=name, payload=raw, emitted_at=now)
        await self.store.events.emit([Emission(event=event)])

    async def cancel(self, run_id: str) -> None:
        """Cancel a run, as the control plane does."""
        journal = await self.store.journals.load(run_id)
        change = cancel(journal.run, self.clock.now())
        assert change is not None
        assert await self.store.journals.apply(change)

    async def journal(self, run_id: str) -> Journal:
        """Read a run."""
        found: Journal = await self.store.journals.load(run_id)
        return found

    async def run(self, run_id: str) -> Run:
        """Read a run's own row."""
        return (await self.journal(run_id)).run

    async def close(self) -> None:
        """Stop it all."""
        for worker in self.workers:
            await worker.close(0)
        await self.store.close()


@dataclass
class VendorRun:
    """One vendor run of one delivery."""

    world: World
    worker: TaskWorker
    run_id: str
    task: str
    delivery: int = 1
    name: str = "vendor-1"
    definition: str = ""

    @property
    def common(self) -> dict[str, Any]:
        """What every message carries."""
        return {
            "task": self.task,
            "definition": self.definition,
            "run_id": self.run_id,
            "delivery": self.delivery,
            "provider_run_id": self.name,
        }

    async def advance(self) -> Next:
        """Say hello."""
        return await self.worker.answer(Advance(**self.common))

    async def run_on(self, known: Run | None = None) -> Next:
        """Have all run that comes next by itself, as a caller in process does."""
        return await self.worker.run_on(Advance(**self.common), delivered=known)

    async def execute(self, step: str, attempt: int = 1) -> Executed:
        """Have one attempt run."""
        return await self.worker.answer(Execute(**self.common, step=step, attempt=attempt))

    async def park(self, seq: int, token: str = "token") -> Parked:
        """Register a token."""
        return await self.worker.answer(Park(**self.common, seq=seq, token=token))

    async def follow(self, streamed: int) -> Followed:
        """Read on in the run's streams."""
        return await self.worker.answer(Follow(**self.common, streamed=streamed))

    def by(self, worker: TaskWorker, **values: Any) -> "VendorRun":
        """The same vendor run, calling another worker."""
        return replace(self, worker=worker, **values)

    async def to_the_end(self, limit: int = 200, *, runs_on: bool = False) -> Next:
        """Do what each Next says, all attempts at once, with the clock turned at every park.

        runs_on: as a caller in process, which has the worker go on by itself.
        """
        advance = self.run_on if runs_on else self.advance
        found = await advance()
        for _ in range(limit):
            if found.state.terminal:
                return found
            if runs_on and len(found.run) == 1 and found.park is None:
                (start,) = found.run
                call = Execute(**self.common, step=start.step, attempt=start.attempt)
                found = await self.worker.run_on(call)
                continue
            if found.run:
                calls = [self.execute(each.step, each.attempt) for each in found.run]
                answers = [each.next for each in await asyncio.gather(*calls)]
                found = max(answers, key=lambda each: each.seq)
                continue
            assert found.park is not None
            if found.park.until is not None:
                await self.world.clock.turn_to(max(found.park.until, self.world.clock.now()))
            found = await advance()
        raise AssertionError("the run does not end")


async def until(condition: Callable[[], Any]) -> None:
    """Let the loop go on until something holds."""
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it never held")


def world_of(*tasks: Task) -> World:
    """A world with these tasks."""
    return World(app=app("test", *tasks))


TERMINAL = frozenset(state for state in RunStatus if state.terminal)


class WrappedStore:
    """A run store, each of whose methods is replaced by `wrap(name, method)`.

    name: the part and the method, like `journals.apply`.
    """

    def __init__(self, store: Any, wrap: Callable[[str, Any], Any]) -> None:
        self._store = store
        self._wrap = wrap

    def __getattr__(self, part: str) -> Any:
        return _WrappedPart(part, getattr(self._store, part), self._wrap)


class _WrappedPart:
    def __init__(self, name: str, part: Any, wrap: Callable[[str, Any], Any]) -> None:
        self._name = name
        self._part = part
        self._wrap = wrap

    def __getattr__(self, method: str) -> Any:
        return self._wrap(f"{self._name}.{method}", getattr(self._part, method))

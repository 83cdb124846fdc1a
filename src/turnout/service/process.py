"""The live objects of one process, and their life: started in order, closed in reverse."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

from turnout.control.dead_letters import DeadLetters
from turnout.control.flag import FlagGeneration
from turnout.control.plane import ControlPlane
from turnout.control.slots import ScheduleSlots
from turnout.errors import InvalidSettings
from turnout.model.providers import LinkStatus
from turnout.model.routing import Selection
from turnout.model.runs import Delivery
from turnout.model.tasks import App
from turnout.ports.caller import Drains, DurableCaller
from turnout.ports.run_store import RunStore
from turnout.ports.signals import Signals
from turnout.ports.worker import RunsOn, Worker
from turnout.service.background import background
from turnout.service.clock import ReplicaClock
from turnout.service.heartbeat import Heartbeat
from turnout.service.links import link_states
from turnout.service.registrar import Registrar
from turnout.service.routes import RouteBoard
from turnout.service.settings import Settings
from turnout.service.side import Side
from turnout.service.window import mark_window


class Feeds(Protocol):
    """Starts the shadows of a dual run, in the background."""

    def start(self) -> None:
        """Begin."""
        ...

    async def close(self) -> None:
        """Stop; the next start goes on where this one stopped."""
        ...


class Tracks(Protocol):
    """Compares the run store with what the providers have."""

    async def stamp(self, delivery: Delivery) -> Mapping[str, str]:
        """Make what proves, at its provider, that a delivery is of this run store."""
        ...

    async def run(self, turnout: "Turnout") -> None:
        """Compare at once, and again and again, whenever this replica leads."""
        ...


@dataclass(kw_only=True, eq=False)
class Turnout:
    """What a process of a service holds; an async context manager, used once.

    With `serve` it also calls workers, pumps and registers tasks. Without `serve` it only records
    and reads, like a command, or a web process that emits.
    """

    app: App
    settings: Settings
    clock: ReplicaClock
    serve: bool
    replica_id: str
    selection: Selection
    primary: Side
    shadow: Side | None
    """The side of the shadows; None outside of a dual run."""
    worker: Worker
    """What providers call, for both sides."""
    runs_on: RunsOn
    """The same for a provider in this process."""
    callers: Mapping[str, DurableCaller]
    """By provider name, every one that may have runs."""
    orchestrator: ControlPlane
    slots: ScheduleSlots
    routes: RouteBoard
    flag: FlagGeneration
    dead_letters: DeadLetters
    registrar: Registrar
    feeder: Feeds | None
    """Starts the shadows; None outside of a dual run."""
    tracking: Tracks | None
    """None where nothing that compares is installed."""
    heartbeat: Heartbeat
    signals: Signals
    """What this process and others tell each other after commits."""
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack, init=False, repr=False)
    _started: bool = field(default=False, init=False)
    _stopping: asyncio.Task[None] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._stack.push_async_callback(self.signals.close)
        for side in self.sides:
            self._stack.push_async_callback(side.close)
        for caller in self.callers.values():
            self._stack.push_async_callback(caller.close)
        for side in self.sides:
            self._stack.push_async_callback(side.worker.close)

    @property
    def store(self) -> RunStore:
        """The run store of the runs whose results count."""
        return self.primary.store

    @property
    def sides(self) -> Sequence[Side]:
        """The primary's side, and the shadow's in a dual run."""
        return (self.primary,) if self.shadow is None else (self.primary, self.shadow)

    async def start(self) -> None:
        """Check the tasks with the providers, then begin to work; PolicyRefused names a policy.

        When anything fails, all that was opened is closed again, the stores included.
        """
        if self._started:
            return
        self._started = True
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self.close)
            await self._start()
            undo.pop_all()

    async def _start(self) -> None:
        enter = self._stack.enter_async_context
        await self.clock.read()
        await enter(background(self.clock.keep_reading()))
        await self.routes.read()
        await enter(background(self.routes.keep_reading()))
        if self.serve:
            await self.flag.join()
        await self.orchestrator.define()
        if not self.serve:
            return
        if self.primary.artifacts is not None:
            lag = None if self.shadow is None else self.settings.dual_lag
            await mark_window(self.primary.artifacts, self.clock, lag=lag)
        for caller in self.callers.values():
            await caller.start()
        for side in self.sides:
            await enter(side.pumping())
        self._stack.callback(self._drain)
        if self.feeder is not None:
            self.feeder.start()
            self._stack.push_async_callback(self.feeder.close)
        await enter(background(self.registrar.register_all()))
        await enter(background(self.heartbeat.run()))
        if self.tracking is not None:
            await enter(background(self.tracking.run(self)))

    def begin_stop(self) -> None:
        """Claim nothing more, and begin the grace of running steps; `close` waits for its end."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._end_work())

    @property
    def stopping(self) -> bool:
        """Whether this process is about to stop."""
        return self._stopping is not None

    async def _end_work(self) -> None:
        self._drain()
        await asyncio.gather(*(side.worker.close() for side in self.sides))

    def _drain(self) -> None:
        for caller in self.callers.values():
            if isinstance(caller, Drains):
                caller.drain()

    async def close(self) -> None:
        """Stop claiming, give running steps their grace, and close everything."""
        if self._stopping is not None:
            await asyncio.gather(self._stopping, return_exceptions=True)
        await self._stack.aclose()

    async def rebuild(self, run_id: str) -> None:
        """Write an ended run's artifacts again from its journal."""
        if self.primary.artifact_writer is None:
            raise InvalidSettings("TURNOUT_ARTIFACTS is not set, so there is nowhere to write to")
        await self.primary.artifact_writer.rebuild(run_id)

    async def health(self) -> dict[str, Any]:
        """Describe this replica, and which providers know its tasks."""
        return {
            "ok": True,
            "app": self.app.name,
            "provider": self.selection.provider,
            "definition": self.app.definition,
            "replica": self.replica_id,
            "ready": {name: self.registrar.ready(name) for name in self.callers},
            "links": {name: asdict(status) for name, status in self.links().items()},
        }

    def links(self) -> Mapping[str, LinkStatus]:
        """Return the state of the connections that this replica holds to providers, by name."""
        return link_states(self.callers)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

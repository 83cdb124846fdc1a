"""The live objects of one process: stores, worker, callers, pump and orchestrator."""

import asyncio
import importlib
import itertools
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from traceback import extract_tb
from types import TracebackType
from typing import Any, Self

import turnout
from turnout.bootstrap.adapters import installed, load, select
from turnout.bootstrap.faults import app_faults
from turnout.bootstrap.settings import Settings, read_settings
from turnout.bootstrap.sides import Side, primary_side, shadow_side
from turnout.control.emissions import Emitter
from turnout.control.plane import ControlPlane
from turnout.dualrun.feeder import Feeder, Window
from turnout.dualrun.recordings import Recordings
from turnout.dualrun.window import close_window, open_window
from turnout.dualrun.worker import DualWorker
from turnout.errors import InvalidSettings, TurnoutError
from turnout.model.events import Emitted, Event
from turnout.model.ids import new_run_id
from turnout.model.providers import LinkStatus
from turnout.model.replicas import Replica
from turnout.model.routing import DUAL
from turnout.model.schedules import ArmedSchedule, Schedule
from turnout.model.tasks import App
from turnout.model.time import Millis
from turnout.ports.caller import Drains, DurableCaller, Links, Surroundings
from turnout.ports.clock import Clock
from turnout.ports.run_store import RunStore
from turnout.ports.worker import RunsOn, Worker
from turnout.service.clock import SystemClock
from turnout.service.registrar import Registrar
from turnout.service.routes import RouteBoard
from turnout.worker.reference import ReferenceWorker

log = logging.getLogger(__name__)

BEAT = 5.0
"""Seconds between a replica's signs of life."""
ALIVE: Millis = 15_000
"""A replica without a sign of life for longer is taken for gone."""
REARM = 12
"""Beats after which the schedules that a provider holds are made those that it owns, once more: a
replica that came back with what it knew before may have undone what another one armed."""


class Turnout:
    """What a process of a service holds; started and closed as an async context manager.

    With `serve` it takes part in the work: it calls, pumps and registers. Without, it only
    records and asks, as a command or a web process that emits does.
    """

    def __init__(self, app: App, settings: Settings, *, clock: Clock, serve: bool) -> None:
        self.app = app
        self.settings = settings
        self.clock = clock
        self.serve = serve
        self.replica_id = new_run_id(clock.now())
        self.selection = select(settings)
        in_memory = self.selection.provider == "memory"
        self.primary: Side = primary_side(app, settings, clock, memory=in_memory)
        self._routes = RouteBoard(self.primary.store.routes)
        self.shadow: Side | None = None
        self.worker: Worker = self.primary.worker
        self.runs_on: RunsOn = self.primary.worker
        self._feeder: Feeder | None = None
        if self.selection.provider == DUAL:
            self._open_shadow()
        if settings.vendor_data == "reference":
            self.worker = ReferenceWorker(self.worker)
        self.callers = _open_callers(self)
        self._emitter = Emitter(app=app, selection=self.selection, routes=self._routes)
        self.orchestrator = ControlPlane(
            store=self.primary.store,
            emitter=self._emitter,
            callers=self.callers,
            clock=clock,
            nudge=self.primary.nudge,
        )
        self.registrar = Registrar(app, self.callers, self.orchestrator.arm_at)
        for side in self.sides:
            side.connect(
                self.callers,
                ready=self.registrar.ready,
                tick=self.orchestrator.tick,
                emitter=self._emitter,
            )
        self._tasks: list[asyncio.Task[None]] = []
        self._started = False

    @property
    def store(self) -> RunStore:
        """The run store of what counts."""
        return self.primary.store

    @property
    def sides(self) -> Sequence[Side]:
        """The primary's side, and the shadow's in a dual run."""
        return (self.primary,) if self.shadow is None else (self.primary, self.shadow)

    async def start(self) -> None:
        """Check the tasks with the providers, then begin to work; PolicyRefused names a policy."""
        if self._started:
            return
        self._started = True
        await self._routes.start()
        await self.orchestrator.define()
        if not self.serve:
            return
        await self._mark_window()
        for caller in self.callers.values():
            await caller.start()
        for side in self.sides:
            side.start()
        if self._feeder is not None:
            self._feeder.start()
        self.registrar.start()
        self._tasks.append(asyncio.create_task(self._beat()))

    async def close(self) -> None:
        """Stop claiming, give running steps their grace, and let go of everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.registrar.close()
        if self._feeder is not None:
            await self._feeder.close()
        for caller in self.callers.values():
            if isinstance(caller, Drains):
                caller.drain()
        for side in self.sides:
            await side.stop()
        for caller in self.callers.values():
            await caller.close()
        await self._routes.close()
        for side in self.sides:
            await side.close()

    async def armed(self) -> Sequence[ArmedSchedule]:
        """Read what the providers' runtimes will fire."""
        return await self.orchestrator.armed()

    async def living(self) -> Sequence[Replica]:
        """Read which replicas of the app have given a sign of life of late."""
        return await self.store.replicas.read(since=self.clock.now() - ALIVE)

    async def kept(self, provider: str) -> Sequence[Schedule]:
        """Read the schedules that a provider owns; none while no replica of the app lives."""
        if not await self.living():
            return ()
        tasks = {each.id for each in self.app.tasks}
        owned = [each for each in await self.store.schedules.read() if each.provider == provider]
        return [each.schedule for each in owned if each.schedule.task in tasks]

    async def emit(self, events: Sequence[Event]) -> Sequence[Emitted]:
        """Record events that came in through a provider; what adapters are given."""
        return await self.orchestrator.emit(*events)

    async def rebuild(self, run_id: str) -> None:
        """Write an ended run's artifacts anew from its journal."""
        if self.primary.projector is None:
            raise InvalidSettings("TURNOUT_ARTIFACTS is not set, so there is nowhere to write to")
        await self.primary.projector.rebuild(run_id)

    async def health(self) -> dict[str, Any]:
        """Say what this replica is, and which providers know its tasks."""
        return {
            "ok": True,
            "app": self.app.name,
            "provider": self.selection.provider,
            "definition": self.app.definition,
            "replica": self.replica_id,
            "ready": {name: self.registrar.ready(name) for name in self.callers},
            "links": {name: asdict(each) for name, each in self.links().items()},
        }

    def links(self) -> Mapping[str, LinkStatus]:
        """Say how the connections stand that this replica holds to providers, by provider."""
        told = {
            name: caller.link()
            for name, caller in self.callers.items()
            if isinstance(caller, Links)
        }
        return {name: each for name, each in told.items() if each is not None}

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

    def _open_shadow(self) -> None:
        recordings = Recordings(self.primary.store.journals)
        self.shadow = shadow_side(self.app, self.settings, self.clock, recordings)
        self.worker = self.runs_on = DualWorker(
            primary=self.primary.worker, shadow=self.shadow.worker, recordings=recordings
        )
        self._feeder = Feeder(
            primaries=self.primary.store,
            shadows=self.shadow.store,
            app=self.app,
            clock=self.clock,
            window=Window(lag=self.settings.dual_lag),
            nudge=self.shadow.nudge,
        )

    async def _mark_window(self) -> None:
        """Write down whether runs that are emitted from now on get a shadow."""
        if self.primary.artifacts is None:
            return
        artifacts, now = self.primary.artifacts, self.clock.now()
        try:
            if self.shadow is None:
                await close_window(artifacts, now)
            else:
                await open_window(artifacts, now, lag=self.settings.dual_lag)
        except (TurnoutError, ValueError) as error:
            log.warning("window not marked", extra={"action": "window", "error": str(error)})

    async def _rearm(self) -> None:
        for name in filter(self.registrar.ready, self.callers):
            await self.orchestrator.arm_at(name)

    async def _beat(self) -> None:
        """Give signs of life, start the slots that nobody ticked, and keep schedules armed."""
        for beat in itertools.count(1):
            try:
                await self.store.replicas.beat(
                    Replica(
                        replica_id=self.replica_id,
                        provider=self.selection.provider,
                        definition=self.app.definition,
                        version=turnout.__version__,
                        seen_at=self.clock.now(),
                        links=self.links(),
                    )
                )
                await self.orchestrator.catch_up()
                if beat % REARM == 0:
                    await self._rearm()
            except TurnoutError as error:
                log.warning(
                    "this replica could not give its sign of life; it is tried again",
                    extra={"action": "beat", "error": str(error)},
                )
            except Exception:
                # The edge of a loop that must go on: one beat may break.
                log.exception("a beat broke", extra={"action": "beat"})
            await asyncio.sleep(BEAT)


def open_turnout(
    app: App,
    environ: Mapping[str, str] | None = None,
    *,
    settings: Settings | None = None,
    clock: Clock | None = None,
    serve: bool = True,
) -> Turnout:
    """Open the live objects of an app from the environment; nothing runs until it is started."""
    read = settings or read_settings(os.environ if environ is None else environ)
    return Turnout(app, read, clock=clock or SystemClock(), serve=serve)


def load_app(name: str | None) -> App:
    """Import the app that `module:attribute` names, from the working folder or installed."""
    if name is None:
        raise InvalidSettings("name the app: --app module:attribute, or TURNOUT_APP")
    found = load_named("app", name)
    if not isinstance(found, App):
        raise InvalidSettings(f"{name!r} is of type {type(found).__name__}, not a turnout.App")
    return found


def load_named(what: str, name: str) -> Any:
    """Import what `module:attribute` names; the attribute is called `what` where none is given."""
    for fault in app_faults(name):
        raise InvalidSettings(f"the {what} {fault}")
    module, _, attribute = name.partition(":")
    sys.path[:0] = [] if str(Path.cwd()) in sys.path else [str(Path.cwd())]
    try:
        return getattr(importlib.import_module(module), attribute or what)
    except TurnoutError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a team's module may raise anything
        raise InvalidSettings(
            f"the {what} {name!r} cannot be loaded: {_told(error, module)}"
        ) from None


def _told(error: BaseException, module: str) -> str:
    """Say in one line what an import raised, and in which file and line."""
    missing = isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]
    if missing:
        return f"{error}; looked in {Path.cwd()} and among what is installed"
    if isinstance(error, AttributeError) and error.obj is sys.modules.get(module):
        return str(error)
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    frames = [each for each in extract_tb(error.__traceback__) if "importlib" not in each.filename]
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if len(frames) > 1 else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}{place}"


def _open_callers(live: Turnout) -> dict[str, DurableCaller]:
    """Open the selected adapters, and every other one that is set up: its runs are to finish."""
    surroundings = Surroundings(
        settings=live.settings.raw,
        app=live.app,
        worker=live.worker,
        runs_on=live.runs_on,
        clock=live.clock,
        service_url=live.settings.service_url,
        emit=live.emit,
        kept=live.kept,
    )
    callers: dict[str, DurableCaller] = {}
    faults: list[str] = []
    for name in installed():
        selected = name in live.selection.names
        if not selected and (name == "memory" or "memory" in live.selection.names):
            continue
        try:
            callers[name] = load(name).open(surroundings)
        except (InvalidSettings, ImportError) as error:
            if selected:
                faults.append(str(error))
            log.debug("adapter left out", extra={"provider": name, "error": str(error)})
    if faults:
        raise InvalidSettings("; ".join(faults))
    return callers

"""Composing the live objects of one process, each from the ones before it.

The order is: stores, emitter and slots, workers, callers, control plane, pumps, process.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import entry_points

import turnout
from turnout.bootstrap.adapters import EMBEDDED, load_plugins, open_callers, select
from turnout.bootstrap.settings import read_settings
from turnout.bootstrap.stores import (
    open_artifacts,
    open_primary_store,
    open_signals,
)
from turnout.control.dead_letters import DeadLetters
from turnout.control.emissions import Emissions
from turnout.control.emitter import Emitter
from turnout.control.flag import FlagGeneration
from turnout.control.plane import ControlPlane
from turnout.control.providers import Providers
from turnout.control.schedules import Schedules
from turnout.control.slots import ScheduleSlots
from turnout.driver.effects import Effects, LiveEffects
from turnout.errors import InvalidSettings
from turnout.model.admission import run_limit
from turnout.model.canonical import parse
from turnout.model.events import StoredEvent
from turnout.model.ids import new_run_id
from turnout.model.replicas import Replica
from turnout.model.routing import DUAL, Choice, Selection
from turnout.model.runs import Journal, Run
from turnout.model.tasks import App, Task
from turnout.model.time import Millis
from turnout.ports.artifact_store import ArtifactStore
from turnout.ports.caller import DurableCaller, Plugin, Releases, Surroundings, no_stamp
from turnout.ports.clock import Clock
from turnout.ports.run_store import ReplicaStore, RunStore
from turnout.ports.signals import DUE, Signals
from turnout.ports.worker import RunsOn, Worker, WorkerInProcess
from turnout.projection.artifact_writer import ArtifactWriter
from turnout.projection.documents import Reason
from turnout.projection.sightings import Sightings
from turnout.projection.unasked import UnaskedSteps
from turnout.pump.hints import ReportedEnds
from turnout.pump.pace import pace_for
from turnout.pump.pump import Pump
from turnout.pump.slots import PlatformSlots
from turnout.service.clock import ReplicaClock
from turnout.service.heartbeat import Heartbeat
from turnout.service.links import link_states
from turnout.service.process import Feeds, Tracks, Turnout
from turnout.service.registrar import Registrar
from turnout.service.replicas import living_schedules
from turnout.service.routes import RouteBoard
from turnout.service.settings import Settings
from turnout.service.side import Side
from turnout.stores.artifacts.views import only_primaries
from turnout.worker.bodies import Bodies, LiveBodies
from turnout.worker.options import WorkerOptions
from turnout.worker.worker import TaskWorker


@dataclass(frozen=True, kw_only=True)
class Foundation:
    """What all other live objects are made from."""

    app: App
    settings: Settings
    clock: ReplicaClock
    selection: Selection
    plugins: Mapping[str, Plugin]
    slots: PlatformSlots = field(default_factory=PlatformSlots)

    @property
    def release_after(self) -> Mapping[str, Millis]:
        """How long vendor runs may wait, by provider; those that free their slots are not named."""
        times = {
            name: plugin.release_after(self.settings.raw)
            for name, plugin in self.plugins.items()
            if isinstance(plugin, Releases)
        }
        return {name: after for name, after in times.items() if after is not None}


@dataclass(frozen=True, kw_only=True)
class SideStart:
    """The part of a side that is made before the callers."""

    store: RunStore
    artifacts: ArtifactStore | None
    topic: str
    """The topic of commits that made something due for the side's pump."""
    effects: Effects
    worker: TaskWorker
    mark: Callable[[Journal], Reason | None]
    """Says why a run cannot be compared with its twin; None where it can."""


@dataclass(frozen=True, kw_only=True)
class DualRun:
    """What only a dual run has."""

    side: SideStart
    worker: WorkerInProcess
    feeder: Feeds


MakesDualRun = Callable[[Foundation, SideStart, Signals], DualRun]
"""Makes what a dual run adds to its primary's side; the entry point `turnout.dualrun` names it."""


def open_turnout(
    app: App,
    environ: Mapping[str, str] | None = None,
    *,
    settings: Settings | None = None,
    clock: Clock | None = None,
    store: RunStore | None = None,
    serve: bool = True,
) -> Turnout:
    """Open the live objects of an app from the environment; nothing runs until it is started.

    clock: in place of this machine's; where the database has a clock of its own, it is corrected to
    that. store: an open run store, in place of the one that the settings name; it is closed with
    them.
    InvalidSettings names every setting that is wrong or missing.
    """
    settings = settings or read_settings(os.environ if environ is None else environ)
    selection = select(settings)
    plugins = load_plugins(selection)
    signals = open_signals(settings)
    store = store or open_primary_store(settings, app, partial(signals.send, DUE))
    base = Foundation(
        app=app,
        settings=settings,
        clock=ReplicaClock(store.replicas.database_time, clock),
        selection=selection,
        plugins=plugins,
    )
    routes = RouteBoard(store.routes)
    flag = FlagGeneration(flags=store.flags, selection=selection, clock=base.clock)
    emissions = Emissions(app=app, selection=selection, routes=routes, refresh=routes.refresh)
    emitter = Emitter(
        events=store.events,
        emissions=emissions,
        clock=base.clock,
        refresh_clock=base.clock.refresh,
    )
    dead_letters = DeadLetters(letters=store.dead_letters, emitter=emitter, clock=base.clock)
    slots = ScheduleSlots(schedules=store.schedules, emissions=emissions, clock=base.clock)
    primary = _primary(base, store, emissions, slots)
    dual = load_dual_run()(base, primary, signals) if selection.provider == DUAL else None
    worker, runs_on = _workers(settings, primary, dual)
    tracking = load_tracking(settings, store)
    callers = open_callers(
        base.plugins,
        Surroundings(
            settings=settings.raw,
            app=app,
            worker=worker,
            runs_on=runs_on,
            clock=base.clock,
            production=settings.production,
            service_url=settings.service_url,
            emit=dead_letters.receive,
            living_schedules=partial(living_schedules, slots, store.replicas, base.clock),
            stamps=no_stamp if tracking is None else tracking.stamp,
        ),
        selection,
    )
    providers = Providers(callers=callers, selection=selection, embedded=EMBEDDED)
    schedules = Schedules(
        schedules=store.schedules,
        slots=slots,
        emissions=emissions,
        providers=providers,
        flag=flag,
        clock=base.clock,
    )
    registrar = Registrar(app, callers, schedules.arm)
    replica_id = new_run_id(base.clock.now())
    return Turnout(
        app=app,
        settings=settings,
        clock=base.clock,
        serve=serve,
        replica_id=replica_id,
        signals=signals,
        selection=selection,
        primary=_side(base, primary, callers, registrar, signals),
        shadow=None if dual is None else _side(base, dual.side, callers, registrar, signals),
        worker=worker,
        runs_on=runs_on,
        callers=callers,
        orchestrator=ControlPlane(
            journals=store.journals,
            runs=store.runs,
            deliveries=store.deliveries,
            emitter=emitter,
            schedules=schedules,
            providers=providers,
            clock=base.clock,
        ),
        slots=slots,
        routes=routes,
        flag=flag,
        dead_letters=dead_letters,
        registrar=registrar,
        feeder=None if dual is None else dual.feeder,
        tracking=tracking,
        heartbeat=Heartbeat(
            replicas=store.replicas,
            replica=_describer(base, replica_id, callers, routes),
            slots=slots,
            schedules=schedules,
            registrar=registrar,
            pause=routes.changed,
        ),
    )


def _primary(
    base: Foundation,
    store: RunStore,
    emissions: Emissions,
    slots: ScheduleSlots,
) -> SideStart:
    """Make the side whose results count."""

    def place(task: Task, event: StoredEvent, parent: Run) -> Choice:
        fallback = f"{parent.run_id}/{event.event_id}"
        return emissions.choice(task, parse(event.payload), fallback=fallback)

    effects = LiveEffects(base.app, place)
    return SideStart(
        store=store,
        artifacts=open_artifacts(base.settings, only_primaries),
        topic=DUE,
        effects=effects,
        worker=make_worker(base, store, effects, LiveBodies(base.clock), slots),
        mark=lambda _journal: None,
    )


def load_dual_run() -> MakesDualRun:
    """Load what makes dual runs; InvalidSettings says what to install."""
    for entry in entry_points(group="turnout.dualrun"):
        dual_run: MakesDualRun = entry.load()
        return dual_run
    raise InvalidSettings(
        "for ORCHESTRATOR_PROVIDER=dual, pip install 'turnout[dualrun]', or"
        " ./src/turnout-dualrun in a checkout"
    )


def load_tracking(settings: Settings, store: RunStore) -> Tracks | None:
    """Load what compares the run store with the providers; None where it is not installed."""
    for entry in entry_points(group="turnout.tracking"):
        tracking: Tracks = entry.load()(settings, store)
        return tracking
    return None


def make_worker(
    base: Foundation,
    store: RunStore,
    effects: Effects,
    bodies: Bodies,
    slots: ScheduleSlots | None,
    *,
    replicas: ReplicaStore | None = None,
) -> TaskWorker:
    """Make the worker of one side; slots: what its ticks claim, on the primary's side alone."""
    return TaskWorker(
        app=base.app,
        store=store,
        clock=base.clock,
        bodies=bodies,
        effects=effects,
        options=WorkerOptions(
            alarm_grace={name: plugin.alarm_grace for name, plugin in base.plugins.items()},
            release_after=base.release_after,
            lookahead=base.slots.lookahead,
            lease=base.settings.lease,
            definitions=frozenset(base.settings.definitions),
        ),
        on_report=ReportedEnds(store.deliveries, store.due, base.clock),
        on_tick=None if slots is None else slots.tick,
        replicas=replicas,
    )


def _workers(settings: Settings, primary: SideStart, dual: DualRun | None) -> tuple[Worker, RunsOn]:
    """Choose what providers call, and what a provider in our own process calls."""
    worker = primary.worker if dual is None else dual.worker
    if settings.vendor_data == "inline":
        return worker, worker
    from turnout.worker.reference import ReferenceWorker

    return ReferenceWorker(worker), worker


def _side(
    base: Foundation,
    start: SideStart,
    callers: Mapping[str, DurableCaller],
    registrar: Registrar,
    signals: Signals,
) -> Side:
    writer = None
    if start.artifacts is not None:
        writer = ArtifactWriter(
            journals=start.store.journals,
            deliveries=start.store.deliveries,
            projections=start.store.projections,
            artifacts=start.artifacts,
            app=base.app,
            clock=base.clock,
            look=Sightings(callers, base.clock, embedded=EMBEDDED),
            mark=start.mark,
            unasked=UnaskedSteps(base.app, start.effects),
        )
    return Side(
        store=start.store,
        artifacts=start.artifacts,
        worker=start.worker,
        artifact_writer=writer,
        pump=Pump(
            store=start.store,
            callers=callers,
            upkeep=start.worker,
            clock=base.clock,
            project=writer,
            ready=registrar.ready,
            pace=pace_for(lease=base.settings.lease, silence=base.settings.silence),
            embedded=EMBEDDED,
            releasing=callers.keys() & base.release_after.keys(),
            slots=base.slots,
            limit_of=partial(run_limit, base.app),
            tasks=base.app.task_definitions,
            shows_tags=base.settings.vendor_data == "inline",
        ),
        signals=signals,
        topic=start.topic,
    )


def _describer(
    base: Foundation, replica_id: str, callers: Mapping[str, DurableCaller], routes: RouteBoard
) -> Callable[[], Replica]:
    def describe() -> Replica:
        return Replica(
            replica_id=replica_id,
            provider=base.selection.provider,
            definition=base.app.definition,
            tasks=base.app.task_definitions,
            version=turnout.__version__,
            seen_at=base.clock.now(),
            clock_ahead=base.clock.machine_ahead,
            links=link_states(callers),
            routes=routes.generation,
            routes_read_at=None if routes.age is None else base.clock.now() - routes.age,
        )

    return describe

"""One side of the work: a run store with its worker, its pump and its artifacts."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

from turnout.bootstrap.providers import EMBEDDED
from turnout.bootstrap.settings import Settings
from turnout.control.emissions import Emitter
from turnout.driver.effects import Effects, LiveEffects, same_provider
from turnout.driver.replay import replay
from turnout.dualrun.bodies import ShadowBodies
from turnout.dualrun.effects import ShadowEffects
from turnout.dualrun.feeder import reason_of
from turnout.dualrun.recordings import Recordings
from turnout.errors import InvalidSettings
from turnout.model.events import StoredEvent
from turnout.model.protocol import Report, Tick, Ticked
from turnout.model.providers import Sighting
from turnout.model.routing import Choice
from turnout.model.runs import Delivery, Journal, Run
from turnout.model.status import DeliveryState
from turnout.model.tasks import App, Task
from turnout.model.time import Millis
from turnout.ports.artifact_store import ArtifactStore
from turnout.ports.caller import DurableCaller
from turnout.ports.clock import Clock
from turnout.ports.run_store import RunStore
from turnout.projection.projector import Projector, Reason
from turnout.pump.pump import Pace, Pump
from turnout.stores.artifacts import open_store
from turnout.stores.artifacts.within import only_primaries, only_shadows
from turnout.stores.sql import open_run_store
from turnout.worker.bodies import Bodies, LiveBodies
from turnout.worker.runner import Options
from turnout.worker.worker import TaskWorker

SOON: Millis = 1_000
"""How long a vendor run that says it is ending takes to end."""
ANSWERED_IN = 3.0
"""Seconds in which a provider says what it knows of a run that has ended."""
SILENT: Millis = 15_000
"""For how long a provider that did not answer is not asked for the sake of artifacts."""


class Side:
    """A run store and all that works on it; two sides share nothing but callers."""

    def __init__(
        self,
        *,
        app: App,
        store: RunStore,
        artifacts: ArtifactStore | None,
        clock: Clock,
        lease: Millis,
        silence: Millis,
        definitions: frozenset[str] = frozenset(),
        bodies: Bodies | None = None,
        effects: Effects | None = None,
        mark: Callable[[Journal], Reason | None] = lambda _journal: None,
    ) -> None:
        self.app = app
        self.store = store
        self._graces: dict[str, Millis] = {}
        self._effects = effects or LiveEffects(app, self._place)
        self._emitter: Emitter | None = None
        self.worker = TaskWorker(
            app=app,
            store=store,
            clock=clock,
            bodies=bodies,
            effects=self._effects,
            options=Options(alarm_grace=self._graces, lease=lease, definitions=definitions),
        )
        self.artifacts = artifacts
        self.clock = clock
        self._pace = _pace(lease, silence)
        self._mark = mark
        self.projector: Projector | None = None
        self._callers: Mapping[str, DurableCaller] = {}
        self._silent_until: dict[str, Millis] = {}
        self._pump: Pump | None = None
        self._pumping: asyncio.Task[None] | None = None

    def nudge(self) -> None:
        """Have the pump turn now."""
        if self._pump is not None:
            self._pump.nudge()

    def connect(
        self,
        callers: Mapping[str, DurableCaller],
        *,
        ready: Callable[[str], bool],
        tick: Callable[[Tick], Awaitable[Ticked]],
        emitter: Emitter,
    ) -> None:
        """Give the side its callers, which were made for its worker, and the schedules' ticks."""
        self._callers = callers
        self._graces.update((name, caller.alarm_grace) for name, caller in callers.items())
        self._emitter = emitter
        self.worker.on_tick = tick
        self.worker.on_report = self._look_soon
        if self.artifacts is not None:
            self.projector = Projector(
                store=self.store,
                artifacts=self.artifacts,
                app=self.app,
                clock=self.clock,
                look=self._look,
                mark=self._mark,
                unasked=self._unasked,
            )
        self._pump = Pump(
            store=self.store,
            callers=callers,
            upkeep=self.worker,
            clock=self.clock,
            project=self.projector,
            ready=ready,
            pace=self._pace,
            embedded=EMBEDDED,
        )

    def start(self) -> None:
        """Begin to pump."""
        if self._pump is not None:
            self._pumping = asyncio.create_task(self._pump.run())

    async def stop(self) -> None:
        """Stop pumping, and end running attempts after their grace."""
        if self._pump is not None and self._pumping is not None:
            self._pump.close()
            await asyncio.gather(self._pumping, return_exceptions=True)
        await self.worker.close()

    async def close(self) -> None:
        """Let go of the stores."""
        await self.store.close()
        if self.artifacts is not None:
            await self.artifacts.aclose()

    def _place(self, task: Task, event: StoredEvent, parent: Run) -> Choice:
        """Choose for a run that another one starts as for any new run."""
        if self._emitter is None:
            return same_provider(task, event, parent)
        return self._emitter.choice(task.id, sticky=event.key or parent.run_id)

    async def _look_soon(self, report: Report) -> None:
        """Have the pump look after a delivery whose vendor run says that it is ending."""
        await self.store.deliveries.postpone(
            report.run_id, report.delivery, self.clock.now() + SOON
        )

    def _unasked(self, journal: Journal) -> tuple[str, ...]:
        """The recorded steps that the code no longer asks for."""
        run = journal.run
        if run.ended_at is None or all(each.id != run.task for each in self.app.tasks):
            return ()
        task = self.app.task(run.task)
        return () if task.open_mode else replay(task, journal, run.ended_at, self._effects).unasked

    async def _look(self, delivery: Delivery) -> Sighting | None:
        """Ask the provider about its run; None where there is nobody to ask."""
        caller = self._callers.get(delivery.provider)
        unsent = delivery.state is DeliveryState.PENDING or delivery.provider_run_id is None
        if caller is None or delivery.provider in EMBEDDED or unsent:
            return None
        now = self.clock.now()
        if self._silent_until.get(delivery.provider, 0) > now:
            return Sighting(state=None, word="no answer: asked a moment ago", seen_at=now)
        try:
            return await asyncio.wait_for(caller.look(delivery), ANSWERED_IN)
        except Exception as error:  # noqa: BLE001 - whatever an adapter raises, it is no answer
            if isinstance(error, asyncio.TimeoutError):
                self._silent_until[delivery.provider] = now + SILENT
            word = f"no answer: {type(error).__name__}: {error}"[:500]
            return Sighting(state=None, word=word, seen_at=now)


def _pace(lease: Millis, silence: Millis) -> Pace:
    """Take over what a dead pump had taken, and what it had sent, no later than its steps."""
    usual = Pace()
    return replace(
        usual,
        hold=min(usual.hold, lease),
        look=min(usual.look, lease),
        calm_look=min(usual.calm_look, 4 * lease),
        silence=silence,
    )


def primary_side(app: App, settings: Settings, clock: Clock, *, memory: bool) -> Side:
    """Open the side that counts."""
    url = "sqlite://" if memory else _ready(settings.database_url.get_secret_value())
    store = open_run_store(url)
    return Side(
        app=app,
        store=store,
        artifacts=_artifacts(settings, only_primaries),
        clock=clock,
        lease=settings.lease,
        silence=settings.silence,
        definitions=frozenset(settings.definitions),
    )


def shadow_side(app: App, settings: Settings, clock: Clock, recordings: Recordings) -> Side:
    """Open the shadow's side: a file or schema of its own, and only -dryrun below runs/."""
    store = _shadow_store(settings)
    bodies = ShadowBodies(app=app, recordings=recordings, clock=clock, live=LiveBodies(clock))
    effects = ShadowEffects(recordings, longest=settings.longest_wait)
    return Side(
        app=app,
        store=store,
        artifacts=_artifacts(settings, only_shadows),
        clock=clock,
        lease=settings.lease,
        silence=settings.silence,
        definitions=frozenset(settings.definitions),
        bodies=bodies,
        effects=effects,
        mark=lambda journal: reason_of(journal.run),
    )


def _artifacts(
    settings: Settings, guard: Callable[[ArtifactStore], ArtifactStore]
) -> ArtifactStore | None:
    if settings.artifacts is None:
        return None
    try:
        return guard(open_store(settings.artifacts, settings.raw))
    except InvalidSettings as error:
        named = "TURNOUT_ARTIFACTS" in str(error)
        raise InvalidSettings(str(error) if named else f"TURNOUT_ARTIFACTS: {error}") from None


def _shadow_store(settings: Settings) -> RunStore:
    """Name the shadow's own database: as set, or beside the primary's."""
    if settings.shadow_database_url is not None:
        given = settings.shadow_database_url.get_secret_value()
        return open_run_store(_ready(given, "TURNOUT_SHADOW_DATABASE_URL"))
    url = settings.database_url.get_secret_value()
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        return open_run_store(_ready(f"sqlite:///{path.with_name(path.stem + '-shadow.db')}"))
    return open_run_store(url, schema="turnout_shadow")


def _ready(url: str, setting: str = "TURNOUT_DATABASE_URL") -> str:
    """Make the folder of a database file."""
    if url.startswith("sqlite:///"):
        folder = Path(url.removeprefix("sqlite:///")).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidSettings(f"{setting}: {folder}: {error.strerror}") from None
    return url

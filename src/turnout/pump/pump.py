"""The pump: moves what is due, on any replica, with claimed work.

Deliveries are sent, checked and stopped; wakes are sent until the run calls in; deadlines and lost
leases are acted on; artifacts follow the journal. Every piece of work is taken for a while: if a
pump dies, another one takes it over.

A turn never waits for a provider: calls to one go on in the background, so a provider that hangs
holds up nothing but its own runs.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

from turnout.errors import Unavailable
from turnout.model.runs import Delivery, Wake
from turnout.model.status import DeliveryState
from turnout.model.time import Millis
from turnout.ports.caller import DurableCaller
from turnout.ports.clock import Clock, happened
from turnout.ports.run_store import RunStore
from turnout.pump.backoff import Backoff
from turnout.pump.checking import DeliveryChecker
from turnout.pump.failures import logged
from turnout.pump.holds import Holds
from turnout.pump.lanes import Lanes
from turnout.pump.pace import Pace
from turnout.pump.sending import Sender
from turnout.pump.slots import PlatformSlots, TurnKeeper
from turnout.pump.waking import Waker

log = logging.getLogger(__name__)

GRACE = 2.0
"""Seconds that calls in progress get to end when the pump is closed."""


class Upkeep(Protocol):
    """What the pump asks of the worker for a run; does nothing where nothing is to be done."""

    async def time_out(self, run_id: str) -> None:
        """End the run if its deadline has passed."""
        ...

    async def expire(self, run_id: str) -> None:
        """Count the attempts whose lease has run out as lost."""
        ...


class Pump:
    """Moves the due work of one run store, in turns, for the given callers, until closed."""

    def __init__(
        self,
        *,
        store: RunStore,
        callers: Mapping[str, DurableCaller],
        upkeep: Upkeep,
        clock: Clock,
        project: Callable[[str], Awaitable[None]] | None = None,
        ready: Callable[[str], bool] = lambda _name: True,
        pace: Pace | None = None,
        embedded: Collection[str] = (),
        releasing: Collection[str] = (),
        slots: PlatformSlots | None = None,
        limit_of: Callable[[str], int | None] = lambda _task: None,
        tasks: Collection[str] | None = None,
        shows_tags: bool = True,
    ) -> None:
        """project: writes a run's artifacts. ready: whether a provider knows the tasks.

        embedded: providers in our own process. releasing: providers whose runs are released, which
        only then costs the store anything. limit_of: how many runs of a task may run at once.
        tasks: the ids of those that may be delivered; None: all. shows_tags: whether providers may
        know the runs' tags.
        """
        self._store = store
        self._callers = callers
        self._upkeep = upkeep
        self._clock = clock
        self._project = project
        self._pace = pace = pace or Pace()
        self._releasing = bool(releasing)
        self._tasks = tasks
        self._due = asyncio.Event()
        holds = Holds(store.deliveries, clock, hold=pace.hold)
        self._sender = Sender(
            deliveries=store.deliveries,
            callers=callers,
            clock=clock,
            pace=pace,
            holds=holds,
            ready=ready,
            turns=TurnKeeper(
                limits=store.limits,
                callers=callers,
                clock=clock,
                slots=slots or PlatformSlots(),
                limit_of=limit_of,
                releasing=releasing,
            ),
            shows_tags=shows_tags,
        )
        self._checker = DeliveryChecker(
            journals=store.journals,
            deliveries=store.deliveries,
            callers=callers,
            clock=clock,
            pace=pace,
            holds=holds,
            embedded=embedded,
        )
        self._calls = Lanes(clock, at_once=pace.at_once, capacity=2 * pace.batch, hold=pace.hold)
        self._waker = Waker(
            due=store.due,
            callers=callers,
            clock=clock,
            pace=pace,
            calls=self._calls,
            embedded=embedded,
        )
        self._projections = Lanes(
            clock, at_once=pace.at_once, capacity=8 * pace.at_once, hold=pace.hold
        )
        longest_retry = pace.retry[1]
        self._deadline_backoff = Backoff(clock, batch=pace.batch, wait=longest_retry)
        self._lease_backoff = Backoff(clock, batch=pace.batch, wait=longest_retry)
        self._turned_at: Millis = 0
        self._more_to_project = False
        self._closed = False

    def nudge(self) -> None:
        """Turn at once, because something became due; called on the pump's own loop."""
        self._due.set()

    def close(self) -> None:
        """Make `run` return after the turn; calls in progress get a short grace."""
        self._closed = True
        self._due.set()

    async def run(self) -> None:
        """Turn until closed. A store that does not answer is tried again after a pause."""
        try:
            while not self._closed:
                await self._turn_and_pause()
        finally:
            await self._calls.close(GRACE)
            await self._projections.close(GRACE)

    async def turn(self) -> int:
        """Begin all work that is due now; return the number of items of the largest kind."""
        self._turned_at = self._clock.now()
        if self._releasing:
            await self._release()
        moved = await asyncio.gather(
            self._deliveries(),
            self._waker.turn(),
            self._deadlines(),
            self._leases(),
            self._artifacts(),
        )
        return max(moved)

    async def settle(self) -> None:
        """Wait for all work that turns have begun."""
        await self._calls.settle()
        await self._projections.settle()

    async def _turn_and_pause(self) -> None:
        with logged("pump", "turn"):
            try:
                if await self.turn() < self._pace.batch:
                    await self._pause()
                return
            except Unavailable as error:
                log.warning(
                    "the run store does not answer; tried again",
                    extra={"action": "pump", "error": str(error)},
                )
        await self._clock.sleep(self._pace.idle)

    async def _pause(self) -> None:
        self._due.clear()
        due = await self._store.due.next_due()
        pause = self._pace.idle
        # Work that the turn could not move is still due: it must not make the pump spin.
        if due is not None and due > self._turned_at:
            pause = max(0, min(pause, due - self._clock.now()))
        await happened(self._due, self._clock, pause)

    async def _release(self) -> None:
        """Release parked runs: each vendor run is woken, is answered `superseded`, and ends."""
        now, pace = self._clock.now(), self._pace
        released = await self._store.due.release(
            now, limit=pace.batch, patience=pace.release_patience
        )
        wakes = [
            Wake(run_id=delivery.run_id, seq=0, due_at=now, delivery=delivery)
            for delivery in released
        ]
        self._waker.hint(wakes)

    async def _deliveries(self) -> int:
        deliveries = await self._store.due.take_deliveries(
            self._clock.now(), limit=self._pace.batch, hold=self._pace.hold, tasks=self._tasks
        )
        unsent = []
        for delivery in deliveries:
            if delivery.stopping:
                self._begin("stop", delivery, self._checker.stop)
            elif delivery.state is DeliveryState.PENDING:
                unsent.append(delivery)
            else:
                self._begin("look", delivery, self._checker.check)
        for name, batch in self._by_provider(unsent):
            self._calls.begin(
                f"send {name}", batch, _delivery_key, partial(self._sender.send, name)
            )
        return len(deliveries)

    def _begin(
        self, action: str, delivery: Delivery, work: Callable[[Delivery], Awaitable[None]]
    ) -> None:
        async def work_alone(deliveries: Sequence[Delivery]) -> None:
            await work(deliveries[0])

        self._calls.begin(f"{action} {delivery.provider}", [delivery], _delivery_key, work_alone)

    async def _deadlines(self) -> int:
        backoff = self._deadline_backoff
        runs = await self._store.due.deadlines(self._clock.now(), limit=backoff.limit)
        run_ids = [run.run_id for run in runs]
        return self._moved(await backoff.move("time out", run_ids, self._upkeep.time_out))

    async def _leases(self) -> int:
        backoff = self._lease_backoff
        run_ids = await self._store.leases.expired(self._clock.now(), limit=backoff.limit)
        return self._moved(await backoff.move("expire", run_ids, self._upkeep.expire))

    def _moved(self, count: int) -> int:
        if count:
            self._due.set()
        return count

    async def _artifacts(self) -> int:
        room = self._projections.room("project")
        if self._project is None or room <= 0:
            return 0
        limit = min(room, self._pace.batch)
        run_ids = await self._store.projections.take(
            limit=limit, now=self._clock.now(), hold=self._pace.hold
        )
        self._more_to_project = len(run_ids) == limit
        for run_id in run_ids:
            self._projections.begin("project", [run_id], str, self._write_artifacts)
        return len(run_ids)

    async def _write_artifacts(self, run_ids: Sequence[str]) -> None:
        assert self._project is not None
        for run_id in run_ids:
            with logged("project", run_id):
                await self._project(run_id)
        if self._more_to_project and self._projections.room("project") >= 4 * self._pace.at_once:
            self._due.set()

    def _by_provider(self, deliveries: Iterable[Delivery]) -> list[tuple[str, list[Delivery]]]:
        """Group by provider; deliveries of a provider that has no caller here stay due."""
        groups: dict[str, list[Delivery]] = {}
        for delivery in deliveries:
            if delivery.provider in self._callers:
                groups.setdefault(delivery.provider, []).append(delivery)
        return list(groups.items())


def _delivery_key(delivery: Delivery) -> str:
    return delivery.key

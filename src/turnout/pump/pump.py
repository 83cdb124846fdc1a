"""The pump: moves what is due, on any replica, with claimed work.

Deliveries are sent, looked after and stopped; wakes are sent until the run calls in; deadlines and
lost leases are acted on; artifacts follow the journal. Every piece of work is taken for a while:
a pump that dies leaves it to another one.

A turn never waits for a provider: what it asks of one goes on in the background, so one that hangs
holds up nothing but its own runs.
"""

import asyncio
import contextlib
import logging
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from turnout.errors import ProviderUnavailable, Unavailable, UnknownRun
from turnout.model.providers import Delivered, Sighting
from turnout.model.runs import Delivery, SendResult, Wake
from turnout.model.status import DeliveryState, RunStatus
from turnout.model.time import Millis
from turnout.ports.caller import DurableCaller
from turnout.ports.clock import Clock, happened
from turnout.ports.run_store import RunStore
from turnout.pump.lanes import Aside, UnderWay, logged
from turnout.pump.stalls import Silences, expected

log = logging.getLogger(__name__)

Item = TypeVar("Item", Delivery, Wake)
GRACE = 2.0
"""Seconds in which what is under way at the end may come to its own."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How often the pump does what; milliseconds.

    idle: the longest pause between turns. resend: after which an unanswered wake is sent again.
    look: how long a sent delivery may be silent before its provider is asked. silence: how long one
    that the provider calls running may be silent, though asked again and again, until it counts as
    lost. hold: for how long taken work is this pump's, unless renewed. retry: the first and the
    longest delay of a failed sending. at_once: calls under way at the same time of each kind for
    each provider.
    """

    idle: Millis = 250
    batch: int = 500
    resend: Millis = 2_000
    patience: int = 5
    look: Millis = 15_000
    calm_look: Millis = 60_000
    silence: Millis = 600_000
    hold: Millis = 10_000
    retry: tuple[Millis, Millis] = (200, 10_000)
    at_once: int = 8


class Upkeep(Protocol):
    """What the worker does to a run at the pump's word; harmless when there is nothing to do."""

    async def time_out(self, run_id: str) -> None:
        """End the run if its deadline has passed."""
        ...

    async def expire(self, run_id: str) -> None:
        """Count the attempts whose lease has run out as lost."""
        ...


class Pump:
    """Turns over one run store for the given callers, until closed."""

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
    ) -> None:
        """embedded: providers that this process calls for itself: their runs stand in its line."""
        self._store = store
        self._callers = callers
        self._upkeep = upkeep
        self._clock = clock
        self._project = project
        self._ready = ready
        self._pace = pace = pace or Pace()
        self._under_way = UnderWay(clock, at_once=pace.at_once, most=2 * pace.batch, hold=pace.hold)
        self._projecting = UnderWay(
            clock, at_once=pace.at_once, most=8 * pace.at_once, hold=pace.hold
        )
        longest = pace.retry[1]
        self._late = Aside(clock, batch=pace.batch, wait=longest)
        self._expired = Aside(clock, batch=pace.batch, wait=longest)
        self._embedded = embedded
        self._silences = Silences(patience=pace.silence)
        self._turned_at: Millis = 0
        self._more_behind = False
        self._due = asyncio.Event()
        self._closed = False

    def nudge(self) -> None:
        """Say that something became due; safe from the pump's own loop only."""
        self._due.set()

    def close(self) -> None:
        """Make `run` return after the turn; what is under way is waited for briefly, then left."""
        self._closed = True
        self._due.set()

    async def run(self) -> None:
        """Turn until closed. A store that does not answer is tried again after a pause."""
        try:
            while not self._closed:
                await self._turn_safely()
        finally:
            await self._under_way.close(GRACE)
            await self._projecting.close(GRACE)

    async def turn(self) -> int:
        """Begin to move everything that is due now; returns how much there was."""
        self._turned_at = self._clock.now()
        moved = await asyncio.gather(
            self._deliveries(), self._wakes(), self._deadlines(), self._leases(), self._artifacts()
        )
        return max(moved)

    async def settle(self) -> None:
        """Wait for what the turns so far have begun."""
        await self._under_way.settle()
        await self._projecting.settle()

    async def _turn_safely(self) -> None:
        try:
            if await self.turn() < self._pace.batch:
                await self._pause()
        except Unavailable as error:
            log.warning("store unavailable", extra={"action": "pump", "error": str(error)})
            await self._clock.sleep(self._pace.idle)
        except Exception:
            # The outermost edge: one turn may break, the pump may not.
            log.exception("a turn broke", extra={"action": "pump"})
            await self._clock.sleep(self._pace.idle)

    async def _pause(self) -> None:
        self._due.clear()
        due = await self._store.due.next_due()
        pause = self._pace.idle
        # What was due before the turn and still is cannot be moved on: it must not make us spin.
        if due is not None and due > self._turned_at:
            pause = max(0, min(pause, due - self._clock.now()))
        await happened(self._due, self._clock, pause)

    async def _deliveries(self) -> int:
        taken = await self._store.due.take_deliveries(
            self._clock.now(), limit=self._pace.batch, hold=self._pace.hold
        )
        sent = [each for each in taken if not each.stopping and each.state is DeliveryState.PENDING]
        for name, few in self._by_caller(sent):
            self._under_way.begin(f"send {name}", few, _key, partial(self._send, name))
        for each in taken:
            if each.stopping:
                self._begin_one("stop", self._stop, each)
            elif each.state is not DeliveryState.PENDING:
                self._begin_one("look", self._look_after, each)
        return len(taken)

    def _begin_one(
        self, kind: str, work: Callable[[Delivery], Awaitable[None]], delivery: Delivery
    ) -> None:
        async def do(few: Sequence[Delivery]) -> None:
            await self._guarded(work, few[0])

        self._under_way.begin(f"{kind} {delivery.provider}", [delivery], _key, do)

    async def _send(self, name: str, deliveries: Sequence[Delivery]) -> None:
        async with self._held(deliveries):
            answers = await self._answers(name, deliveries)
        now = self._clock.now()
        handed = [
            self._handed(each, answer, now)
            for each, answer in zip(deliveries, answers, strict=True)
        ]
        failed = [each for each in handed if each.error is not None]
        if failed:
            log.warning(
                "deliveries not accepted; they are tried again",
                extra={"action": "deliver", "provider": name, "error": failed[0].error},
            )
        await self._store.deliveries.record(handed)

    async def _answers(self, name: str, deliveries: Sequence[Delivery]) -> Sequence[Delivered]:
        """Deliver; whatever goes wrong is each one's failed sending."""
        try:
            return await self._deliver(name, deliveries)
        except Exception as error:  # noqa: BLE001 - whatever an adapter raises, it is tried again
            return [Delivered(key=each.key, error=error) for each in deliveries]

    async def _deliver(self, name: str, deliveries: Sequence[Delivery]) -> Sequence[Delivered]:
        if not self._ready(name):
            raise ProviderUnavailable(f"{name} does not know the tasks yet")
        answers = await self._callers[name].deliver(deliveries)
        if len(answers) != len(deliveries):
            raise ProviderUnavailable(
                f"{name} answered {len(answers)} of {len(deliveries)} deliveries"
            )
        return answers

    @contextlib.asynccontextmanager
    async def _held(self, deliveries: Sequence[Delivery]) -> AsyncIterator[None]:
        """Renew the hold for as long as the provider takes, so that no other pump takes these."""
        renewing = asyncio.create_task(self._renew(deliveries))
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def _renew(self, deliveries: Sequence[Delivery]) -> None:
        while True:
            await self._clock.sleep(self._pace.hold // 2)
            with logged("hold", deliveries[0].run_id):
                for each in deliveries:
                    await self._postpone(each, self._pace.hold)

    def _handed(self, delivery: Delivery, answer: Delivered, now: Millis) -> SendResult:
        error = None if answer.error is None else str(answer.error)
        return SendResult(
            run_id=delivery.run_id,
            number=delivery.number,
            sent_at=now,
            due_at=now + (self._pace.look if error is None else self._retry_in(delivery, answer)),
            provider_run_id=answer.provider_run_id,
            error=error,
        )

    def _retry_in(self, delivery: Delivery, answer: Delivered) -> Millis:
        if isinstance(answer.error, Unavailable) and answer.error.retry_after is not None:
            return round(answer.error.retry_after.total_seconds() * 1_000)
        first, longest = self._pace.retry
        return int(min(first * 2 ** min(delivery.failures, 16), longest))

    async def _stop(self, delivery: Delivery) -> None:
        if await self._callers[delivery.provider].stop(delivery):
            await self._store.deliveries.mark_stopped(delivery.run_id, delivery.number)
        else:
            await self._postpone(delivery, 1_000)

    async def _look_after(self, delivery: Delivery) -> None:
        """Find out whether a silent vendor run is still going to call; if not, deliver again."""
        now = self._clock.now()
        journal = await self._store.journals.load(delivery.run_id)
        if journal.run.state.terminal:
            self._silences.heard(delivery.run_id)
            await self._store.deliveries.mark_stopped(delivery.run_id, delivery.number)
            return
        # A delivery that has never called is not silent because its run waits.
        if delivery.state is DeliveryState.CLAIMED and expected(journal, now):
            self._silences.heard(delivery.run_id)
            await self._postpone(delivery, self._pace.calm_look)
            return
        sighting = await self._callers[delivery.provider].look(delivery)
        if _gone(sighting):
            await self._deliver_again(delivery, "the vendor run is gone", sighting)
            return
        if sighting.state is not RunStatus.RUNNING or delivery.provider in self._embedded:
            self._silences.heard(delivery.run_id)
        elif self._silences.lost(delivery, journal, now):
            # It may call in yet: it is stopped, and told that it is superseded.
            why = "the vendor run calls itself running, and has long been silent"
            await self._deliver_again(delivery, why, sighting, stop=True)
            return
        await self._callers[delivery.provider].wake(
            [Wake(run_id=delivery.run_id, seq=journal.run.seq, due_at=now, delivery=delivery)]
        )
        await self._postpone(delivery, self._pace.look)

    async def _deliver_again(
        self, delivery: Delivery, why: str, sighting: Sighting, *, stop: bool = False
    ) -> None:
        told = {"action": "redeliver", "run_id": delivery.run_id, "word": sighting.word}
        log.warning("%s; delivering again", why, extra=told)
        now, which = self._clock.now(), (delivery.run_id, delivery.number, delivery.provider)
        if await self._store.deliveries.redeliver(*which, now, stop=stop):
            self.nudge()
        self._silences.heard(delivery.run_id)

    async def _wakes(self) -> int:
        wakes = await self._store.due.take_wakes(
            self._clock.now(), limit=self._pace.batch, resend=self._pace.resend
        )
        for name, few in self._by_caller(wakes):
            self._under_way.begin(f"wake {name}", few, _sign, partial(self._wake, name))
        for each in wakes:
            if each.delivery is not None and each.sent >= self._pace.patience:
                self._begin_one("look", self._look_after, each.delivery)
        return len(wakes)

    async def _wake(self, name: str, wakes: Sequence[Wake]) -> None:
        with logged("wake", name):
            await self._callers[name].wake(wakes)

    async def _deadlines(self) -> int:
        due = await self._store.due.deadlines(self._clock.now(), limit=self._late.limit)
        found = [run.run_id for run in due]
        return await self._upheld(self._late, "time out", found, self._upkeep.time_out)

    async def _leases(self) -> int:
        found = await self._store.leases.expired(self._clock.now(), limit=self._expired.limit)
        return await self._upheld(self._expired, "expire", found, self._upkeep.expire)

    async def _upheld(
        self,
        aside: Aside,
        action: str,
        run_ids: Sequence[str],
        move: Callable[[str], Awaitable[None]],
    ) -> int:
        moved = await aside.move(action, run_ids, move)
        if moved:
            self.nudge()
        return moved

    async def _artifacts(self) -> int:
        room = self._projecting.room("project")
        if self._project is None or room <= 0:
            return 0
        limit = min(room, self._pace.batch)
        behind = await self._store.projections.take(
            limit=limit, now=self._clock.now(), hold=self._pace.hold
        )
        self._more_behind = len(behind) == limit
        for run_id in behind:
            self._projecting.begin("project", [run_id], str, self._projected)
        return len(behind)

    async def _projected(self, run_ids: Sequence[str]) -> None:
        assert self._project is not None
        for run_id in run_ids:
            with logged("project", run_id):
                await self._project(run_id)
        if self._more_behind and self._projecting.room("project") >= 4 * self._pace.at_once:
            self.nudge()

    async def _guarded(
        self, work: Callable[[Delivery], Awaitable[None]], delivery: Delivery
    ) -> None:
        if delivery.provider not in self._callers:
            await self._postpone(delivery, self._pace.look)
            return
        try:
            async with self._held([delivery]):
                await work(delivery)
        except UnknownRun:
            return
        except Exception as error:  # noqa: BLE001 - whatever an adapter raises, it is tried again
            log.warning(
                "the provider could not be asked about a run; it is asked again",
                extra={
                    "action": "look",
                    "provider": delivery.provider,
                    "run_id": delivery.run_id,
                    "error": str(error),
                },
            )
            await self._postpone(delivery, self._retry_in(delivery, Delivered(key="", error=error)))

    async def _postpone(self, delivery: Delivery, wait: Millis) -> None:
        await self._store.deliveries.postpone(
            delivery.run_id, delivery.number, self._clock.now() + wait
        )

    def _by_caller(self, items: Iterable[Item]) -> list[tuple[str, list[Item]]]:
        """Group by provider; what belongs to one that is not live here stays due for others."""
        groups: dict[str, list[Item]] = {}
        for each in items:
            delivery = each if isinstance(each, Delivery) else each.delivery
            if delivery is not None and delivery.provider in self._callers:
                groups.setdefault(delivery.provider, []).append(each)
        return list(groups.items())


def _gone(sighting: Sighting) -> bool:
    """Whether the vendor run will never call again."""
    return sighting.state is None or sighting.state.terminal


def _key(delivery: Delivery) -> str:
    return delivery.key


def _sign(wake: Wake) -> str:
    """Name a wake: what came to the run since is another one."""
    return f"{wake.run_id}.{wake.seq}"

"""The pump: moves what is due, on any replica, with claimed work.

Deliveries are sent, looked after and stopped; wakes are sent until the run calls in; deadlines and
lost leases are acted on; artifacts follow the journal. Every piece of work is taken for a while:
a pump that dies leaves it to another one.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from turnout.errors import ProviderUnavailable, TurnoutError, Unavailable, UnknownRun
from turnout.model.runs import Delivery, Journal, Wake
from turnout.model.status import AttemptState, DeliveryState
from turnout.model.time import Millis
from turnout.ports.caller import Delivered, DurableCaller, Sighting
from turnout.ports.clock import Clock, happened
from turnout.ports.run_store import Handed, RunStore

log = logging.getLogger(__name__)

Item = TypeVar("Item", Delivery, Wake)


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How often the pump does what; milliseconds.

    idle: the longest pause between turns. resend: after which an unanswered wake is sent again.
    look: how long a sent delivery may be silent before its provider is asked. hold: for how long
    taken work is this pump's. retry: the first and the longest delay of a failed sending.
    """

    idle: Millis = 250
    batch: int = 500
    resend: Millis = 2_000
    patience: int = 5
    look: Millis = 15_000
    calm_look: Millis = 60_000
    hold: Millis = 10_000
    retry: tuple[Millis, Millis] = (200, 10_000)


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
    ) -> None:
        self._store = store
        self._callers = callers
        self._upkeep = upkeep
        self._clock = clock
        self._project = project
        self._ready = ready
        self._pace = pace or Pace()
        self._due = asyncio.Event()
        self._closed = False

    def nudge(self) -> None:
        """Say that something became due; safe from the pump's own loop only."""
        self._due.set()

    def close(self) -> None:
        """Make `run` return after the turn under way."""
        self._closed = True
        self._due.set()

    async def run(self) -> None:
        """Turn until closed. A store that does not answer is tried again after a pause."""
        while not self._closed:
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

    async def turn(self) -> int:
        """Move everything that is due now, once; returns how much was moved."""
        moved = await asyncio.gather(
            self._deliveries(), self._wakes(), self._deadlines(), self._leases(), self._artifacts()
        )
        return max(moved)

    async def _pause(self) -> None:
        self._due.clear()
        due = await self._store.next_due()
        pause = self._pace.idle
        if due is not None:
            pause = max(0, min(pause, due - self._clock.now()))
        await happened(self._due, self._clock, pause)

    async def _deliveries(self) -> int:
        taken = await self._store.due_deliveries(
            self._clock.now(), limit=self._pace.batch, hold=self._pace.hold
        )
        stopping = [each for each in taken if each.stopping]
        pending = [
            each for each in taken if not each.stopping and each.state is DeliveryState.PENDING
        ]
        silent = [
            each for each in taken if not each.stopping and each.state is not DeliveryState.PENDING
        ]
        await asyncio.gather(
            *(self._send(name, few) for name, few in self._by_caller(pending)),
            *(self._guarded(self._stop, each) for each in stopping),
            *(self._guarded(self._look_after, each) for each in silent),
        )
        return len(taken)

    async def _send(self, name: str, deliveries: Sequence[Delivery]) -> None:
        caller = self._callers[name]
        try:
            if not self._ready(name):
                raise ProviderUnavailable(f"{name} does not know the tasks yet")
            answers = await caller.deliver(deliveries)
        except TurnoutError as error:
            answers = [Delivered(key=each.key, error=error) for each in deliveries]
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
        await self._store.delivered(handed)

    def _handed(self, delivery: Delivery, answer: Delivered, now: Millis) -> Handed:
        error = None if answer.error is None else str(answer.error)
        return Handed(
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
            await self._store.stopped(delivery.run_id, delivery.number)
        else:
            await self._postpone(delivery, 1_000)

    async def _look_after(self, delivery: Delivery) -> None:
        """Find out whether a silent vendor run is still going to call; if not, deliver again."""
        now = self._clock.now()
        journal = await self._store.load(delivery.run_id)
        if journal.run.state.terminal:
            return
        # A delivery that has never called is not silent because its run waits.
        if delivery.state is DeliveryState.CLAIMED and _expected(journal, now):
            await self._postpone(delivery, self._pace.calm_look)
            return
        sighting = await self._callers[delivery.provider].look(delivery)
        if _gone(sighting):
            log.warning(
                "the vendor run is gone; delivering again",
                extra={"action": "redeliver", "run_id": delivery.run_id, "word": sighting.word},
            )
            await self._store.redeliver(delivery.run_id, delivery.number, delivery.provider, now)
            return
        await self._callers[delivery.provider].wake(
            [Wake(run_id=delivery.run_id, seq=journal.run.seq, due_at=now, delivery=delivery)]
        )
        await self._postpone(delivery, self._pace.look)

    async def _wakes(self) -> int:
        wakes = await self._store.due_wakes(
            self._clock.now(), limit=self._pace.batch, resend=self._pace.resend
        )
        deliverable = [each for each in wakes if each.delivery is not None]
        await asyncio.gather(
            *(self._wake(name, few) for name, few in self._by_caller(deliverable)),
            *(
                self._guarded(self._look_after, each.delivery)
                for each in deliverable
                if each.delivery is not None and each.sent >= self._pace.patience
            ),
        )
        return len(wakes)

    async def _wake(self, name: str, wakes: Sequence[Wake]) -> None:
        with _logged("wake", name):
            await self._callers[name].wake(wakes)

    async def _deadlines(self) -> int:
        due = await self._store.due_deadlines(self._clock.now(), limit=self._pace.batch)
        for run in due:
            await self._upkeep.time_out(run.run_id)
        if due:
            self.nudge()
        return len(due)

    async def _leases(self) -> int:
        expired = await self._store.expired_leases(self._clock.now(), limit=self._pace.batch)
        for run_id in expired:
            await self._upkeep.expire(run_id)
        if expired:
            self.nudge()
        return len(expired)

    async def _artifacts(self) -> int:
        if self._project is None:
            return 0
        behind = await self._store.unprojected(
            limit=self._pace.batch, now=self._clock.now(), hold=self._pace.hold
        )
        for run_id in behind:
            with _logged("project", run_id):
                await self._project(run_id)
        return len(behind)

    async def _guarded(
        self, work: Callable[[Delivery], Awaitable[None]], delivery: Delivery
    ) -> None:
        if delivery.provider not in self._callers:
            await self._postpone(delivery, self._pace.look)
            return
        try:
            await work(delivery)
        except UnknownRun:
            return
        except TurnoutError as error:
            log.warning(
                "provider not asked",
                extra={"action": "look", "run_id": delivery.run_id, "error": str(error)},
            )
            await self._postpone(delivery, self._retry_in(delivery, Delivered(key="", error=error)))

    async def _postpone(self, delivery: Delivery, wait: Millis) -> None:
        await self._store.postpone(delivery.run_id, delivery.number, self._clock.now() + wait)

    def _by_caller(self, items: Iterable[Item]) -> list[tuple[str, list[Item]]]:
        """Group by provider; what belongs to one that is not live here stays due for others."""
        groups: dict[str, list[Item]] = {}
        for each in items:
            delivery = each if isinstance(each, Delivery) else each.delivery
            if delivery is not None and delivery.provider in self._callers:
                groups.setdefault(delivery.provider, []).append(each)
        return list(groups.items())


def _expected(journal: Journal, now: Millis) -> bool:
    """Whether the run's silence is as it should be: a live attempt, or a wait that is not over."""
    at_work = any(
        attempt.state is AttemptState.CLAIMED and attempt.lease_until > now
        for attempts in journal.attempts.values()
        for attempt in attempts
    )
    run = journal.run
    waiting = run.parked and (run.parked_until is None or run.parked_until > now)
    return at_work or waiting


def _gone(sighting: Sighting) -> bool:
    """Whether the vendor run will never call again."""
    return sighting.state is None or sighting.state.terminal


@contextlib.contextmanager
def _logged(action: str, what: str) -> Iterator[None]:
    try:
        yield
    except TurnoutError as error:
        log.warning(
            "failed; tried again later",
            extra={"action": action, "what": what, "error": str(error)},
        )
    except Exception:
        log.exception("broke; tried again later", extra={"action": action, "what": what})

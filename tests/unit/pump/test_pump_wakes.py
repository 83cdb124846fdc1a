"""Wakes: who gets them, how often, and how many a provider gets."""

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_testing.clock import TurnableClock

from turnout import Context
from turnout.errors import ProviderRefused, ProviderUnavailable, TurnoutError
from turnout.model.admission import new_run
from turnout.model.events import StoredEvent
from turnout.model.protocol import Advance
from turnout.model.providers import Delivered, Sighting
from turnout.model.runs import Delivery, Emission, Wake
from turnout.model.status import RunStatus
from turnout.model.tasks import app, task
from turnout.pump.flow import Flow
from turnout.pump.pace import Pace, pace_for
from turnout.pump.pump import Pump
from turnout.stores.sql import open_run_store
from turnout.worker.worker import TaskWorker


@task("waits", on="go/waits")
async def waits(ctx: Context, payload: Any) -> None:
    """Wait for an event."""
    await ctx.wait_for_event("said", id="word", timeout="1d")


@task("sleeps", on="go/sleeps")
async def sleeps(ctx: Context, payload: Any) -> None:
    """Sleep."""
    await ctx.sleep("nap", "6s")


APP = app("wakes", waits, sleeps)
MINUTE = 60_000
DEFAULT = Pace()
SOON = pace_for(lease=2_000, silence=DEFAULT.silence)
"""The pace at which work of dead processes is taken over after four short leases."""


@dataclass
class Vendor:
    """A vendor in memory that counts what it is asked; nobody calls from it but the test."""

    clock: TurnableClock
    name: str = "acme"
    error: TurnoutError | None = None
    state: RunStatus | None = RunStatus.RUNNING
    wakes: list[tuple[int, str]] = field(default_factory=list)
    """When each wake came, and for which run."""
    looks: list[str] = field(default_factory=list)
    delivered: list[str] = field(default_factory=list)

    async def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Delivered]:
        if self.error is not None:
            raise self.error
        self.delivered += [delivery.key for delivery in deliveries]
        return [Delivered(key=item.key, provider_run_id=item.key) for item in deliveries]

    async def wake(self, wakes: Sequence[Wake]) -> None:
        if self.error is not None:
            raise self.error
        self.wakes += [(self.clock.now(), wake.run_id) for wake in wakes]

    async def stop(self, delivery: Delivery) -> bool:
        return True

    async def look(self, delivery: Delivery) -> Sighting:
        if self.error is not None:
            raise self.error
        self.looks.append(delivery.key)
        word = "not found" if self.state is None else self.state.value
        return Sighting(state=self.state, word=word, seen_at=self.clock.now())


class Stage:
    """A store, a worker, a vendor and a pump, on one clock."""

    def __init__(self, embedded: Collection[str] = (), pace: Pace = DEFAULT) -> None:
        """embedded: the providers that are in our own process."""
        self.clock = TurnableClock()
        self.store = open_run_store("sqlite://")
        self.worker = TaskWorker(app=APP, store=self.store, clock=self.clock)
        self.vendor = Vendor(self.clock)
        vendor: Any = self.vendor
        self.pump = Pump(
            store=self.store,
            callers={"acme": vendor},
            upkeep=self.worker,
            clock=self.clock,
            pace=pace,
            embedded=embedded,
        )

    async def emit(self, task_id: str, count: int = 1) -> list[str]:
        """Start runs of a task; nobody has called for them yet."""
        now, definition = self.clock.now(), APP.task(task_id)
        event = StoredEvent(event_id=f"e{now}", name="go", payload=b"{}", emitted_at=now)
        made = tuple(
            new_run(APP, definition, event, run_id=f"{task_id}-{at}", provider="acme")
            for at in range(count)
        )
        await self.store.events.emit([Emission(event=event, runs=made)])
        return [new.run.run_id for new in made]

    async def park(self, task_id: str, count: int = 1) -> list[str]:
        """Start runs, deliver them, and have their vendor runs call until they wait."""
        run_ids = await self.emit(task_id, count)
        await self.pass_time(0)
        for run_id in run_ids:
            await self.call(run_id)
        return run_ids

    async def call(self, run_id: str, number: int = 1) -> None:
        """Have a vendor run call."""
        await self.worker.answer(
            Advance(
                task=run_id.partition("-")[0],
                definition=APP.definition,
                run_id=run_id,
                delivery=number,
                provider_run_id=f"{run_id}.{number}",
            )
        )

    async def meet(self) -> None:
        """Emit what waiting runs wait for: each is owed a wake."""
        now = self.clock.now()
        event = StoredEvent(event_id=f"s{now}", name="said", payload=b"{}", emitted_at=now)
        await self.store.events.emit([Emission(event=event)])

    async def pass_time(self, duration: int, *, turn: int = 1_000) -> None:
        """Turn clock and pump."""
        until = self.clock.now() + duration
        while True:
            await self.pump.turn()
            await self.pump.settle()
            if self.clock.now() >= until:
                return
            await self.clock.turn_to(min(until, self.clock.now() + turn))


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A stage with nothing on it."""
    made = Stage()
    yield made
    await made.worker.close(0)
    await made.store.close()


async def test_a_sleep_gets_no_wake(stage: Stage) -> None:
    """The vendor's own timer ends it, however late: a wake would find nobody."""
    await stage.park("sleeps", 20)
    await stage.pass_time(10 * MINUTE)
    assert stage.vendor.wakes == []
    assert max(Counter(stage.vendor.looks).values()) <= 7, "rarer and rarer"


async def test_a_look_wakes_no_run_that_waits_as_it_should(stage: Stage) -> None:
    """A delivery that was silent for long, because the vendor was slow to call, and then parked."""
    (run_id,) = await stage.emit("waits")
    await stage.pass_time(1_000)
    (sent,) = await stage.store.deliveries.read(run_id)
    await stage.call(run_id)
    await stage.pump._checker.check(sent)
    assert (stage.vendor.looks, stage.vendor.wakes) == ([sent.key], [])


async def test_a_wake_is_sent_more_and_more_rarely(stage: Stage) -> None:
    """At once, after seconds, then after minutes, and never at the same moment as the others."""
    run_ids = await stage.park("waits", 5)
    await stage.meet()
    stage.vendor.state = RunStatus.QUEUED  # a long line at the vendor: never lost
    began = stage.clock.now()
    await stage.pass_time(3 * 60 * MINUTE, turn=5_000)
    for run_id in run_ids:
        at = [moment - began for moment, woken in stage.vendor.wakes if woken == run_id]
        gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
        assert at[0] == 0
        for gap, least in zip(gaps, (5_000, 180_000, 600_000, 1_800_000), strict=False):
            assert least <= gap <= least * 1.5 + 5_000
        assert len(at) <= 9
    last = {max(at for at, woken in stage.vendor.wakes if woken == run_id) for run_id in run_ids}
    assert len(last) > 1


@pytest.fixture
async def embedded_stage() -> AsyncIterator[Stage]:
    """A stage whose vendor is in our own process."""
    made = Stage(embedded={"acme"}, pace=SOON)
    yield made
    await made.worker.close(0)
    await made.store.close()


async def test_a_run_whose_process_dies_after_its_wake_is_called_soon(
    embedded_stage: Stage,
) -> None:
    """The call withdraws the wake; a run that was asleep would be checked only in a day."""
    stage = embedded_stage
    (run_id,) = await stage.park("waits")
    await stage.pass_time(10 * MINUTE, turn=MINUTE // 2)
    assert stage.vendor.wakes == []
    await stage.meet()
    await stage.pass_time(0)
    await stage.store.deliveries.claim(run_id, 1, f"{run_id}.1", stage.clock.now())
    sent, died_at = len(stage.vendor.wakes), stage.clock.now()
    await stage.pass_time(SOON.calm_look)
    assert [at - died_at for at, _ in stage.vendor.wakes[sent:]] == [SOON.calm_look]


async def test_a_call_ends_the_wakes(stage: Stage) -> None:
    """Whatever was to come."""
    (run_id,) = await stage.park("waits")
    await stage.meet()
    await stage.pass_time(1_000)
    await stage.call(run_id)
    await stage.pass_time(60 * MINUTE, turn=10_000)
    assert len(stage.vendor.wakes) == 1


async def test_two_thousand_runs_in_an_outage_of_a_minute(stage: Stage) -> None:
    """Nobody calls: each gets two wakes at most, and the provider a bounded number a second."""
    run_ids = await stage.park("waits", 2_000)
    await stage.meet()
    await stage.pass_time(MINUTE)
    counts = Counter(run_id for _, run_id in stage.vendor.wakes)
    assert set(counts) == set(run_ids)
    assert max(counts.values()) <= 2
    assert len(stage.vendor.wakes) - len(run_ids) <= 20 + 10 * 60
    each_second = Counter(moment // 1_000 for moment, _ in stage.vendor.wakes)
    first, *rest = (count for _, count in sorted(each_second.items()))
    assert first <= 500
    assert max(rest) <= 2 * (100 + 10)


async def test_a_wake_that_fails_is_not_counted(stage: Stage) -> None:
    """The provider is away: the wake is the first one still when it is back, and soon."""
    await stage.park("waits", 3)
    await stage.meet()
    stage.vendor.error = ProviderUnavailable("away")
    await stage.pass_time(5 * MINUTE)
    stage.vendor.error = None
    back = stage.clock.now()
    await stage.pass_time(MINUTE)
    first, again = stage.vendor.wakes[:3], stage.vendor.wakes[3:]
    assert all(moment - back <= 11_000 for moment, _ in first)
    assert [run_id for _, run_id in first] == [run_id for _, run_id in again]


async def test_a_wake_that_is_refused_is_counted(stage: Stage) -> None:
    """The same would be refused again: it is sent as rarely as any other."""
    await stage.park("waits")
    await stage.meet()
    stage.vendor.error = ProviderRefused("no such token")
    await stage.pass_time(10_000)
    stage.vendor.error = None
    await stage.pass_time(MINUTE)
    assert stage.vendor.wakes == []


async def test_a_delivery_that_is_not_sent_is_neither_woken_nor_looked_at(stage: Stage) -> None:
    """A run that is owed a wake and waits for its next delivery: the provider is away."""
    (run_id,) = await stage.park("waits")
    await stage.meet()
    await stage.store.deliveries.redeliver(run_id, 1, "acme", stage.clock.now())
    stage.vendor.error, stage.vendor.state = ProviderUnavailable("away"), None
    await stage.pass_time(5 * MINUTE)
    stage.vendor.error = None
    await stage.pass_time(15_000)
    assert [delivery.number for delivery in await stage.store.deliveries.read(run_id)] == [1, 2]
    assert (stage.vendor.delivered[-1], stage.vendor.wakes) == (f"{run_id}.2", [])


# -- runs that a provider does not know -----------------------------------------------------------


async def test_an_accepted_delivery_outlives_a_crash_of_the_server(stage: Stage) -> None:
    """Time in which nobody answers says nothing: it is lost half a minute later at the soonest."""
    (run_id,) = await stage.emit("waits")
    await stage.pass_time(1_000)
    stage.vendor.state, stage.vendor.error = None, ProviderUnavailable("away")
    await stage.pass_time(10 * MINUTE)
    stage.vendor.error = None
    await stage.pass_time(25_000)
    assert len(await stage.store.deliveries.read(run_id)) == 1
    await stage.call(run_id)
    await stage.pass_time(10 * MINUTE)
    assert len(await stage.store.deliveries.read(run_id)) == 1


async def test_what_a_server_goes_on_not_to_know_is_lost(stage: Stage) -> None:
    """Half a minute after it was missed first."""
    (run_id,) = await stage.emit("waits")
    await stage.pass_time(1_000)
    stage.vendor.state = None
    began = stage.clock.now()
    while len(await stage.store.deliveries.read(run_id)) == 1:
        await stage.pass_time(1_000)
    assert 30_000 <= stage.clock.now() - began <= 30_000 + 20_000


# -- the flow of calls ----------------------------------------------------------------------------


@given(
    st.integers(1, 200),
    st.integers(1, 600),
    st.lists(st.tuples(st.integers(-5_000, 5_000), st.integers(0, 700)), max_size=60),
)
def test_a_flow_gives_its_rate_and_its_burst_at_most(
    rate: int, burst: int, requests: list[tuple[int, int]]
) -> None:
    """In whatever portions, and also when the clock steps back."""
    flow, now, forward, given_ = Flow(rate, burst), 1_000_000, 0, 0
    for step, count in requests:
        now, forward = now + step, forward + max(0, step)
        granted = flow.take(count, now)
        assert 0 <= granted <= count
        given_ += granted
        assert given_ <= burst + forward * rate / 1_000


def test_a_closed_flow_gives_nothing() -> None:
    """Until its time; those that were left come one after the other."""
    flow = Flow(10, 5)
    flow.close(1_500)
    assert flow.take(3, 1_000) == 0
    assert [flow.wait(place, 1_000) for place in range(3)] == [600, 700, 800]
    assert flow.take(9, 1_500) == 5

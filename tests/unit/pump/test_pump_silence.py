"""Vendor runs that stand running at their provider and call for nothing: lost, or merely slow."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from turnout_testing.clock import TurnableClock

from turnout import Concurrency, Context, Task
from turnout.errors import Refused
from turnout.model.admission import new_run
from turnout.model.events import StoredEvent
from turnout.model.protocol import Advance, Execute, Next
from turnout.model.providers import Delivered, Sighting
from turnout.model.runs import Attempt, Delivery, Emission, Journal, Run, Wake
from turnout.model.status import AttemptState, DeliveryState, RunStatus
from turnout.model.tasks import app, task
from turnout.pump.pace import Pace
from turnout.pump.pump import Pump
from turnout.pump.stalls import (
    LONGEST_FACTOR,
    Silences,
    patience_for,
    silence_is_expected,
)
from turnout.stores.sql import open_run_store
from turnout.worker.worker import TaskWorker

SILENCE = 60_000
TURN = 5_000
T0 = 1_767_225_600_000


# -- what counts as silence -----------------------------------------------------------------------


def delivery(number: int = 1, called_at: int | None = T0) -> Delivery:
    """A delivery that a vendor run has claimed."""
    return Delivery(
        run_id="r",
        number=number,
        provider="acme",
        task="t",
        state=DeliveryState.CLAIMED,
        called_at=called_at,
    )


def journal(**values: Any) -> Journal:
    """A run that goes on."""
    common: dict[str, Any] = {"run_id": "r", "task": "t", "provider": "acme", "payload": b"{}"}
    common |= {"event": "e", "event_id": "e", "emitted_at": T0, "due_at": T0}
    return Journal(run=Run(**common, state=RunStatus.RUNNING, **values))


@given(
    st.lists(
        st.tuples(
            st.integers(0, 40_000),
            st.sampled_from(["look", "look", "look", "call", "commit", "heard"]),
        ),
        max_size=30,
    )
)
def test_only_unbroken_silence_counts(events: list[tuple[int, str]]) -> None:
    """Lost is what was looked at, as it stood, for the whole patience, with nothing in between."""
    silences = Silences()
    now, called_at, seq, since = T0, T0, 0, None
    for after, what in events:
        now += after
        match what:
            case "call":
                called_at, since = now, None
            case "commit":
                seq, since = seq + 1, None
            case "heard":
                silences.forget("r")
                since = None
            case _:
                since = now if since is None else since
                silent = delivery(called_at=called_at)
                lasting = silences.duration(silent, journal(seq=seq), now, word="running")
                assert lasting == now - since
        if what == "call" and after == 0:
            called_at += 1  # a call of its own moment


def test_patience_doubles_with_each_lost_delivery() -> None:
    """A provider that is behind is given less and less new work, up to a bound."""
    patiences = [patience_for(lost, SILENCE) for lost in (0, 1, 2, 4, 5, 499)]
    assert patiences == [SILENCE * factor for factor in (1, 2, 4, 16, 16, LONGEST_FACTOR)]


def test_a_clock_that_goes_back_counts_anew() -> None:
    """A service whose clock is set right loses no run over it."""
    silences = Silences()
    times = (T0 + SILENCE, T0, T0 + SILENCE - 1, T0 + SILENCE)
    lasting = [silences.duration(delivery(), journal(), at, word="running") for at in times]
    assert lasting == [0, 0, SILENCE - 1, SILENCE]


def test_another_word_counts_anew() -> None:
    """A run that was missing and is shown again has not been missing for long."""
    silences = Silences()
    words = ["", "running", "", ""]
    lasting = [
        silences.duration(delivery(), journal(), T0 + at, word=word)
        for at, word in enumerate(words)
    ]
    assert lasting == [0, 0, 0, 1]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many silent runs, those heard first are begun anew."""
    monkeypatch.setattr("turnout.pump.stalls.CAPACITY", 10)
    silences = Silences()
    for number in range(50):
        one = Delivery(run_id=f"r{number}", number=1, provider="acme", task="t")
        assert not silences.duration(one, journal(), T0, word="running")
    assert len(silences._silent) == 10


@pytest.mark.parametrize(
    ("values", "lease", "is_expected"),
    [
        ({}, None, False),
        ({}, T0 + 1, True),
        ({}, T0, False),
        ({"parked": True}, None, True),
        ({"parked": True, "parked_until": T0 + 1}, None, True),
        ({"parked": True, "parked_until": T0}, None, False),
    ],
    ids=["nothing", "a lease", "a lease over", "a slot or an event", "a sleep", "a sleep over"],
)
def test_what_silence_is_as_it_should_be(
    values: dict[str, Any], lease: int | None, *, is_expected: bool
) -> None:
    """While a step is leased or a wait is open, nothing is counted."""
    found = journal(**values)
    if lease is not None:
        attempt = Attempt(
            step="s",
            number=1,
            state=AttemptState.CLAIMED,
            fence=0,
            worker="w",
            claimed_at=T0,
            lease_until=lease,
        )
        found = Journal(run=found.run, attempts={"s": (attempt,)})
    assert silence_is_expected(found, T0) is is_expected


# -- a vendor that loses runs ---------------------------------------------------------------------


@dataclass
class VendorRun:
    """One run at the vendor: it calls when it is told to, unless the vendor has lost it."""

    delivery: Delivery
    calls_left: int | None
    """Calls after which the vendor loses it, and goes on to call it running."""
    lag: int
    state: RunStatus = RunStatus.RUNNING
    due_at: int | None = None

    @property
    def lost(self) -> bool:
        return self.calls_left is not None and self.calls_left <= 0


@dataclass
class Vendor:
    """A vendor in memory, with its clients' port; `losses` is for each delivery, in turn."""

    clock: TurnableClock
    worker: TaskWorker
    losses: Sequence[int]
    lag: int
    runs: dict[str, VendorRun] = field(default_factory=dict)
    alarms: dict[str, int] = field(default_factory=dict)
    name: str = "acme"

    async def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Delivered]:
        for each in deliveries:
            if each.key not in self.runs:
                left = self.losses[each.number - 1] if each.number <= len(self.losses) else None
                self.runs[each.key] = VendorRun(each, left, self.lag)
                self._soon(self.runs[each.key])
        return [Delivered(key=each.key, provider_run_id=each.key) for each in deliveries]

    async def wake(self, wakes: Sequence[Wake]) -> None:
        for each in wakes:
            if each.delivery is not None:
                self._soon(self.runs[each.delivery.key])

    async def stop(self, delivery: Delivery) -> bool:
        self.runs[delivery.key].state = RunStatus.CANCELLED
        return True

    async def look(self, delivery: Delivery) -> Sighting:
        state = self.runs[delivery.key].state
        return Sighting(state=state, word=state.value, seen_at=self.clock.now())

    async def turn(self) -> None:
        """Have those call that are due."""
        for each in list(self.runs.values()):
            due = each.due_at is not None and each.due_at <= self.clock.now()
            if due and not each.state.terminal and not each.lost:
                each.due_at = None
                await self._call(each)

    def _soon(self, run: VendorRun) -> None:
        if run.due_at is None:
            run.due_at = self.clock.now() + run.lag

    async def _call(self, run: VendorRun) -> None:
        common = {
            "task": run.delivery.task,
            "definition": "",
            "run_id": run.delivery.run_id,
            "delivery": run.delivery.number,
            "provider_run_id": run.delivery.key,
        }
        call: Advance | Execute = Advance(**common)
        while not run.lost:
            try:
                said = await self._said(call)
            except Refused:
                run.state = RunStatus.COMPLETED
                return
            if run.calls_left is not None:
                run.calls_left -= 1
            if said.state.terminal:
                run.state = said.state
                return
            if not said.run:
                until = None if said.park is None else said.park.until
                run.due_at = None if until is None else until + run.lag
                return
            call = Execute(**common, step=said.run[0].step, attempt=said.run[0].attempt)

    async def _said(self, call: Advance | Execute) -> Next:
        if isinstance(call, Execute):
            return (await self.worker.answer(call)).next
        return await self.worker.answer(call)


@dataclass
class Line:
    """A store, a worker, a pump and a vendor, on one clock."""

    task: Task
    losses: Sequence[int] = ()
    lag: int = 0
    clock: TurnableClock = field(default_factory=TurnableClock)

    def __post_init__(self) -> None:
        self.app = app("test", self.task)
        self.store = open_run_store("sqlite://")
        self.worker = TaskWorker(app=self.app, store=self.store, clock=self.clock)
        self.vendor = Vendor(self.clock, self.worker, self.losses, self.lag)
        self.pump = self.new_pump()

    def new_pump(self, *, embedded: Sequence[str] = ()) -> Pump:
        """A pump that remembers nothing."""
        vendor: Any = self.vendor
        return Pump(
            store=self.store,
            callers={"acme": vendor},
            upkeep=self.worker,
            clock=self.clock,
            pace=Pace(silence=SILENCE),
            embedded=embedded,
        )

    async def emit(self) -> str:
        """Start a run of the task."""
        now = self.clock.now()
        event = StoredEvent(event_id=f"e{now}", name="go", payload=b"{}", emitted_at=now)
        made = new_run(self.app, self.task, event, run_id=f"run-{now}", provider="acme")
        await self.store.events.emit([Emission(event=event, runs=(made,))])
        return made.run.run_id

    async def turn(self, until: Callable[[Run], bool], run_id: str, most: int = 2_000) -> Run:
        """Turn clock, vendor and pump until something holds of the run."""
        for _ in range(most):
            await self.pump.turn()
            await self.pump.settle()
            await self.vendor.turn()
            run = (await self.store.journals.load(run_id)).run
            if until(run):
                return run
            await self.clock.turn_to(self.clock.now() + TURN)
        raise AssertionError(run)

    async def close(self) -> None:
        await self.worker.close(0)
        await self.store.close()


def program(kinds: Sequence[str], bodies: list[str]) -> Task:
    """A task that does so, in turn."""

    async def function(ctx: Context, _payload: dict[str, Any]) -> int:
        for number, kind in enumerate(kinds):
            name = f"{kind}-{number}"
            if kind == "step":
                await ctx.step(name, bodies.append, name)
            elif kind == "sleep":
                await ctx.sleep(name, "4m")
            else:
                await ctx.wait_for_event("said", id=name, timeout="3m")
        return len(kinds)

    return task("t", on="go")(function)


KINDS = st.lists(st.sampled_from(["step", "step", "sleep", "wait"]), min_size=1, max_size=5)
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@few
@given(KINDS, st.lists(st.integers(0, 6), max_size=3), st.sampled_from([0, 5_000, 40_000]))
def test_lost_runs_are_delivered_again_and_slow_ones_are_not(
    kinds: list[str], losses: list[int], lag: int
) -> None:
    """Every run ends, each body runs once, and only a vendor run that was lost is replaced."""

    async def play() -> None:
        bodies: list[str] = []
        line = Line(program(kinds, bodies), losses, lag)
        try:
            run_id = await line.emit()
            run = await line.turn(lambda run: run.state.terminal, run_id)
            assert run.state is RunStatus.COMPLETED
            assert bodies == [f"step-{at}" for at, kind in enumerate(kinds) if kind == "step"]
            lost = [each for each in line.vendor.runs.values() if each.lost]
            ended_lost = bool(lost) and lost[-1].delivery.number == run.delivery
            assert run.delivery == 1 + len(lost) - ended_lost
            states = [each.state for each in await line.store.deliveries.read(run_id)]
            assert states[:-1] == [DeliveryState.SUPERSEDED] * (run.delivery - 1)
            await line.pump.turn()
            await line.pump.settle()
            stopped = {each.state for each in lost if each.delivery.number < run.delivery}
            assert stopped <= {RunStatus.CANCELLED}, "what was lost is stopped at the vendor"
        finally:
            await line.close()

    asyncio.run(play())


async def test_a_step_at_work_is_no_silence() -> None:
    """However long it takes: its lease is renewed, and nothing is counted."""
    line = Line(task("t", on="go")(_at_work))
    _at_work.clock = line.clock  # type: ignore[attr-defined]
    run_id = await line.emit()
    await line.pump.turn()
    await line.pump.settle()
    calling = asyncio.create_task(line.vendor.turn())
    while not (await line.store.journals.load(run_id)).attempts:
        await asyncio.sleep(0.001)
    for _ in range(5 * SILENCE // TURN):
        await line.clock.turn_to(line.clock.now() + TURN)
        await line.worker.watch()
        await line.pump.turn()
        await line.pump.settle()
    await line.clock.advance("10m")
    await calling
    run = (await line.store.journals.load(run_id)).run
    assert (run.state, run.delivery) == (RunStatus.COMPLETED, 1)
    await line.close()


async def _at_work(ctx: Context, _payload: dict[str, Any]) -> None:
    await ctx.step("long", _at_work.clock.sleep, 9 * SILENCE)  # type: ignore[attr-defined]


async def test_a_line_for_a_slot_is_no_silence() -> None:
    """Nor is the moment when it is over, after which the vendor run takes its time to call."""
    queued = task("t", on="go", concurrency=Concurrency(limit=1))(program(["sleep"], []).function)
    line = Line(queued, lag=40_000)
    first = await line.emit()
    await line.turn(lambda run: run.parked, first)
    second = await line.emit()
    for run_id in (first, second):
        run = await line.turn(lambda run: run.state.terminal, run_id)
        assert (run.state, run.delivery) == (RunStatus.COMPLETED, 1)
    await line.close()


async def test_a_pump_that_has_just_started_waits_the_whole_silence() -> None:
    """Time in which nobody looked, as the service was down, does not count."""
    line = Line(program(["step"], []), losses=[1])
    run_id = await line.emit()
    await line.turn(lambda run: run.started_at is not None, run_id)
    await line.clock.advance("1h")
    line.pump, began = line.new_pump(), line.clock.now()
    await line.turn(lambda run: run.delivery == 2, run_id)
    assert line.clock.now() - began >= SILENCE
    await line.turn(lambda run: run.state.terminal, run_id)
    await line.close()


async def test_the_old_vendor_run_that_calls_after_all_is_superseded() -> None:
    """It was thought lost: it ends quietly, and what it would have done is done once."""
    bodies: list[str] = []
    line = Line(program(["step", "step"], bodies), losses=[1])
    run_id = await line.emit()
    await line.turn(lambda run: run.delivery == 2, run_id)
    old = line.vendor.runs[f"{run_id}.1"]
    old.calls_left, old.state, old.due_at = None, RunStatus.RUNNING, line.clock.now()
    await line.vendor.turn()
    assert old.state is RunStatus.COMPLETED
    assert bodies == []
    run = await line.turn(lambda run: run.state.terminal, run_id)
    assert (run.state, run.delivery) == (RunStatus.COMPLETED, 2)
    assert bodies == ["step-0", "step-1"]
    await line.close()


async def test_a_run_that_its_vendor_calls_queued_is_left_alone() -> None:
    """A long line at the vendor looks like that: a second delivery would stand behind it."""
    line = Line(program(["step"], []), losses=[1])
    run_id = await line.emit()
    await line.turn(lambda run: run.started_at is not None, run_id)
    line.vendor.runs[f"{run_id}.1"].state = RunStatus.QUEUED
    with pytest.raises(AssertionError):
        await line.turn(lambda run: run.delivery == 2, run_id, most=100)
    await line.close()


async def test_a_run_that_this_process_calls_for_itself_is_left_alone() -> None:
    """It stands in the process's own line, however long that is."""
    line = Line(program(["step"], []), losses=[1])
    run_id = await line.emit()
    await line.turn(lambda run: run.started_at is not None, run_id)
    line.pump = line.new_pump(embedded=("acme",))
    with pytest.raises(AssertionError):
        await line.turn(lambda run: run.delivery == 2, run_id, most=100)
    await line.close()


async def test_a_run_that_is_asleep_in_this_process_is_checked_once() -> None:
    """However many sleep, nothing is read for them until their time; a call has them checked."""
    line = Line(program(["sleep", "step"], []))
    line.pump = line.new_pump(embedded=("acme",))
    run_id = await line.emit()
    run = await line.turn(lambda run: run.parked, run_id)
    assert run.parked_until is not None
    minute_later = line.clock.now() + 2 * Pace().look
    await line.turn(lambda _run: line.clock.now() >= minute_later, run_id)
    (sent,) = await line.store.deliveries.read(run_id)
    assert sent.due_at == run.parked_until + Pace().calm_look
    await line.store.deliveries.claim(run_id, 1, sent.key, line.clock.now())
    (called,) = await line.store.deliveries.read(run_id)
    assert called.due_at == line.clock.now() + 60_000
    assert (await line.turn(lambda run: run.state.terminal, run_id)).result == b"2"
    await line.close()


async def test_a_run_that_is_asleep_at_a_vendor_is_checked_every_minute() -> None:
    """Its vendor run may vanish meanwhile."""
    line = Line(program(["sleep"], []))
    run_id = await line.emit()
    await line.turn(lambda run: run.parked, run_id)
    (sent,) = await line.store.deliveries.read(run_id)
    assert sent.due_at <= line.clock.now() + Pace().calm_look
    await line.close()

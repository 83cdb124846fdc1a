"""After a quiet period the run store equals the provider's truth, whatever happened before."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from made_up_vendor import LAG, UNAVAILABLE, KilledProcess, Stage, VendorRun
from turnout_tracking.leaders import open_leaders
from turnout_tracking.model import FindingKind
from turnout_tracking.rules import GRACE

from turnout.errors import RunEnded, Superseded
from turnout.model.runs import RunFilter
from turnout.model.status import DeliveryState, RunStatus
from turnout.model.transitions import cancel, end
from turnout.stores.sql import open_run_store
from turnout.stores.sql.schema import metadata
from turnout.stores.sql.store import SqlRunStore

PERIOD = LAG + GRACE + 1
PICKS = st.integers(0, 99)


class Providers(RuleBasedStateMachine):
    """A store, a provider and a leader, each of which may fail between any two calls."""

    open_store: Callable[[], SqlRunStore]
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.store = self.open_store()
        self.stage = Stage(self.store)
        self.vendor, self.clock = self.stage.vendor, self.stage.clock
        self.vendor.page = 3
        self.holders = 0
        self.forgotten: set[str] = set()
        self.foreign: set[str] = set()
        self.lead()

    def do(self, call: Any) -> Any:
        return self.runner.run(call)

    def lead(self) -> None:
        self.holders += 1
        self.do(self.stage.lead(f"leader-{self.holders}"))

    @rule()
    def emits(self) -> None:
        self.do(self.stage.emit(f"r{len(self.runs()):02}"))

    @rule()
    def pumps(self) -> None:
        self.do(self._pump())

    @rule(pick=PICKS)
    def sends_and_forgets_that_it_did(self, pick: int) -> None:
        """The process is killed after the provider has taken the delivery."""
        pending = [run.run_id for run in self.runs() if not run.state.terminal]
        if pending:
            self.do(self._start_copy(pending[pick % len(pending)]))

    @rule(pick=PICKS)
    def calls(self, pick: int) -> None:
        vendor_run = self.open_vendor_run(pick)
        if vendor_run is not None:
            self.do(self._call(vendor_run))

    @rule(pick=PICKS, is_told=st.booleans())
    def completes(self, pick: int, is_told: bool) -> None:
        """The run ends; that its vendor run is told so may be lost."""
        vendor_run = self.open_vendor_run(pick)
        if vendor_run is not None and self.do(self._complete(vendor_run)) and is_told:
            vendor_run.state = RunStatus.COMPLETED

    @rule(pick=PICKS)
    def cancels(self, pick: int) -> None:
        runs = [run for run in self.runs() if not run.state.terminal]
        if runs:
            change = cancel(runs[pick % len(runs)], self.clock.now())
            assert change is not None
            assert self.do(self.store.journals.apply(change))

    @rule(pick=PICKS)
    def is_lost(self, pick: int) -> None:
        vendor_run = self.open_vendor_run(pick)
        if vendor_run is not None:
            del self.vendor.runs[vendor_run.run_id]

    @rule(pick=PICKS)
    def crashes_at_the_vendor(self, pick: int) -> None:
        vendor_run = self.open_vendor_run(pick)
        if vendor_run is not None:
            vendor_run.state = RunStatus.FAILED

    @rule(is_ours=st.booleans())
    def has_a_run_of_its_own(self, is_ours: bool) -> None:
        """One of a store that was restored, or of another store."""
        name = f"x{len(self.forgotten | self.foreign)}"
        store_id = self.stage.store_id if is_ours else "another"
        stamp = self.stage.stamper.stamp(name, 1, "t", store_id)
        vendor_id = self.vendor.start(f"{name}.1", run_id=name, delivery=1, task="t", **stamp)
        (self.forgotten if is_ours else self.foreign).add(vendor_id)

    @rule(duration=st.sampled_from([1_000, LAG + 1, PERIOD]))
    def waits(self, duration: int) -> None:
        self.do(self.clock.turn_to(self.clock.now() + duration))

    @rule()
    def reconciles(self) -> None:
        self.do(self.stage.reconcile_in_time())

    @rule(calls=st.integers(1, 8))
    def is_killed_while_it_reconciles(self, calls: int) -> None:
        """Another replica takes over, and goes on."""
        self.vendor.killed_at = self.vendor.calls + calls
        try:
            self.do(self.stage.reconcile_in_time())
        except KilledProcess:
            lease = self.stage.lease
            assert lease is not None
            self.do(open_leaders(self.store).resign(lease))
            self.lead()
        self.vendor.killed_at = None

    @rule()
    def is_answered_with_an_error(self) -> None:
        self.vendor.faults.append(UNAVAILABLE)

    def runs(self) -> list[Any]:
        return list(self.do(self.store.runs.find(RunFilter(limit=1_000))))

    def open_vendor_run(self, pick: int) -> VendorRun | None:
        """One of the vendor runs of our deliveries that go on."""
        others = self.forgotten | self.foreign
        rows = [
            run
            for run in self.vendor.runs.values()
            if not run.state.terminal and run.run_id not in others
        ]
        return rows[pick % len(rows)] if rows else None

    async def _pump(self) -> None:
        now = self.clock.now()
        for delivery in await self.store.due.take_deliveries(now, limit=500, hold=1_000):
            if delivery.stopping:
                if delivery.provider_run_id is not None:
                    await self.vendor.stop(delivery)
                await self.store.deliveries.mark_stopped(delivery.run_id, delivery.number)
            elif delivery.state is DeliveryState.PENDING:
                await self.stage.send(delivery.run_id, claim=False)

    async def _start_copy(self, run_id: str) -> None:
        delivery = (await self.store.deliveries.read(run_id))[-1]
        stamper, store_id = self.stage.stamper, self.stage.store_id
        stamp = stamper.stamp(run_id, delivery.number, delivery.task, store_id)
        await self.vendor.deliver([delivery], **stamp)

    async def _call(self, vendor_run: VendorRun) -> bool:
        run_id, number = str(vendor_run.payload["run_id"]), int(vendor_run.payload["delivery"])
        now = self.clock.now()
        try:
            await self.store.deliveries.claim(run_id, number, vendor_run.run_id, now)
        except (Superseded, RunEnded):
            vendor_run.state = RunStatus.COMPLETED
            return False
        return True

    async def _complete(self, vendor_run: VendorRun) -> bool:
        if not await self._call(vendor_run):
            return False
        run = (await self.store.journals.load(str(vendor_run.payload["run_id"]))).run
        change = end(run, RunStatus.COMPLETED, self.clock.now())
        return change is not None and await self.store.journals.apply(change)

    async def _quiet_period(self) -> None:
        await self.clock.turn_to(self.clock.now() + PERIOD)
        await self._pump()
        outcomes = await self.stage.reconcile_in_time()
        assert all(outcome.is_complete for outcome in outcomes)
        await self._pump()

    def teardown(self) -> None:
        """Two periods: what a list's lag hides in the first is in the second."""
        self.vendor.faults.clear()
        for _ in range(3):
            self.do(self._quiet_period())
        before = len(self.vendor.stopped)
        self.do(self._quiet_period())
        assert len(self.vendor.stopped) == before, "nothing is left to be stopped"
        holders = defaultdict(list)
        for run in self.vendor.runs.values():
            if not run.state.terminal and run.run_id not in self.forgotten | self.foreign:
                holders[run.payload["run_id"]].append(run)
        for run in self.runs():
            self.check(run, holders.pop(run.run_id, []))
        assert not holders
        for vendor_id in self.forgotten | self.foreign:
            assert self.vendor.runs[vendor_id].state is RunStatus.RUNNING
        kinds = self.do(self.stage.findings())
        forgotten = {row.subject for row in kinds if row.kind is FindingKind.FORGOTTEN}
        assert forgotten == self.forgotten
        self.do(self.store.close())

    def check(self, run: Any, holders: list[VendorRun]) -> None:
        """A run that goes on has its vendor run and no other; one that has ended has none."""
        if run.state.terminal:
            assert holders == []
            return
        delivery = self.do(self.store.deliveries.read(run.run_id))[-1]
        assert delivery.state in {DeliveryState.SENT, DeliveryState.CLAIMED}
        assert {holder.payload["delivery"] for holder in holders} == {delivery.number}
        # Before one has called, whichever comes first will hold the delivery.
        if delivery.state is DeliveryState.CLAIMED:
            assert [holder.run_id for holder in holders] == [delivery.provider_run_id]


def explore(open_store: Callable[[], SqlRunStore], examples: int) -> None:
    """Try random histories."""
    with asyncio.Runner() as runner:
        parts = {"open_store": staticmethod(open_store), "runner": runner}
        run_state_machine_as_test(
            type("Histories", (Providers,), parts),
            settings=settings(
                max_examples=examples,
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )


@pytest.mark.timeout(300)
def test_the_store_equals_the_provider_in_memory() -> None:
    """On SQLite."""
    explore(lambda: open_run_store("sqlite://"), 30)


@pytest.mark.timeout(300)
def test_the_store_equals_the_provider_on_a_server(clean_postgres_url: str) -> None:
    """On PostgreSQL."""
    names = [f"turnout.{name}" for name in metadata.tables if name != "turnout_store"]

    def open_store() -> SqlRunStore:
        with psycopg.connect(clean_postgres_url, autocommit=True) as connection:
            connection.execute(f"TRUNCATE {', '.join(names)} RESTART IDENTITY")
        return open_run_store(clean_postgres_url, writers=1)

    explore(open_store, 10)

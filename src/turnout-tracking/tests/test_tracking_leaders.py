"""One leader a job at a time, by the database's clock; one that was replaced writes nothing."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from turnout_tracking.leaders import Lease, LeaseLost, open_leaders
from turnout_tracking.leading import lead
from turnout_tracking.model import Sweep, SweepKind
from turnout_tracking.sweeps import open_sweeps

from tests.postgres import PostgresServer
from turnout.errors import WrongUse
from turnout.stores.sql import open_run_store, upgrade
from turnout.stores.sql.store import SqlRunStore

HOUR = 3_600_000
CONTENDER = Path(__file__).parent / "tracking_contender.py"


@pytest.fixture(params=["file", "server"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of the test's own: SQLite in a file, and PostgreSQL."""
    if request.param == "file":
        yield f"sqlite:///{tmp_path}/runs.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.database() as address:
        yield address


def execute(url: str, statement: str) -> None:
    """Run SQL on the tables; TABLES. stands for their schema."""
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            connection.execute(statement.replace("TABLES.", ""))
        connection.close()
        return
    with psycopg.connect(url) as server:
        server.execute(statement.replace("TABLES.", "turnout."))


def pass_time(url: str, duration: int) -> None:
    """Let so many milliseconds pass for every lease."""
    execute(url, f"UPDATE TABLES.turnout_leaders SET until = until - {duration}")


def sweep_of(lease: Lease) -> Sweep:
    """What a leader writes, with its fence in it."""
    return Sweep(provider="acme", kind=SweepKind.OPEN, cursor=str(lease.fence))


class Leaders(RuleBasedStateMachine):
    """Replicas that take, renew and lose one job's lease, and write under leases of any age."""

    url: str
    store: SqlRunStore
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        execute(self.url, "DELETE FROM TABLES.turnout_leaders")
        execute(self.url, "DELETE FROM TABLES.turnout_sweeps")
        self.leaders, self.sweeps = open_leaders(self.store), open_sweeps(self.store)
        self.holder: str | None = None
        self.left = 0
        """Milliseconds of the lease, as the model has it."""
        self.fence = 0
        self.leases: list[Lease] = []
        self.written = 0

    def do(self, call: Any) -> Any:
        return self.runner.run(call)

    @rule(replica=st.sampled_from("abc"), length=st.sampled_from([HOUR, 2 * HOUR]))
    def takes(self, replica: str, length: int) -> None:
        lease = self.do(self.leaders.take("job", replica, length))
        free = self.left <= 0
        assert (lease is not None) == (free or self.holder == replica)
        if lease is not None:
            assert lease.fence == self.fence + (1 if free else 0)
            self.holder, self.left, self.fence = replica, length, lease.fence
            self.leases.append(lease)

    @rule(pick=st.integers(0, 99))
    def renews(self, pick: int) -> None:
        if self.leases:
            lease = self.leases[pick % len(self.leases)]
            renewed = self.do(self.leaders.renew(lease, HOUR))
            assert renewed == (lease.fence == self.fence and self.left > 0)
            self.left = HOUR if renewed else self.left

    @rule(pick=st.integers(0, 99))
    def resigns(self, pick: int) -> None:
        if self.leases:
            lease = self.leases[pick % len(self.leases)]
            self.do(self.leaders.resign(lease))
            if lease.fence == self.fence:
                self.left = 0

    @rule(pick=st.integers(0, 99))
    def writes(self, pick: int) -> None:
        """The newest leader may write until it is replaced; all before it may not."""
        if not self.leases:
            return
        lease = self.leases[pick % len(self.leases)]
        try:
            self.do(self.sweeps.save(lease, sweep_of(lease)))
        except LeaseLost:
            assert lease.fence < self.fence
        else:
            assert lease.fence == self.fence
            self.written = lease.fence
        sweeps = self.do(self.sweeps.sweeps())
        assert [int(sweep.cursor) for sweep in sweeps] == ([self.written] if self.written else [])

    @rule(duration=st.sampled_from([HOUR // 2, HOUR + HOUR // 4]))
    def waits(self, duration: int) -> None:
        pass_time(self.url, duration)
        self.left -= duration


def test_a_lease_is_held_by_one_replica_and_its_fence_rises(url: str) -> None:
    """Random histories agree with a simple model, on both databases."""
    upgrade(url)
    with asyncio.Runner() as runner:
        store = open_run_store(url)
        machine = type("M", (Leaders,), {"url": url, "store": store, "runner": runner})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=30,
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
        runner.run(store.close())


async def test_of_ten_replicas_one_leads(url: str) -> None:
    """The others do nothing; once it resigns, the next is the leader."""
    stores = [open_run_store(url, writers=1) for _ in range(10)]
    working: list[str] = []
    turns: list[int] = []

    async def work_as(name: str, lease: Lease) -> None:
        assert working == []
        working.append(name)
        turns.append(lease.fence)
        await asyncio.sleep(0.02)
        working.remove(name)

    async def contend(number: int) -> int:
        name, leaders = f"replica-{number}", open_leaders(stores[number])
        results = [
            await lead(leaders, "job", name, lambda lease: work_as(name, lease)) for _ in range(3)
        ]
        return sum(results)

    times = await asyncio.gather(*(contend(number) for number in range(10)))
    assert sum(times) == len(turns)
    assert turns == list(range(1, len(turns) + 1))
    for store in stores:
        await store.close()


async def test_a_leader_that_was_replaced_stops_at_once(url: str) -> None:
    """Its work is cancelled, and writes nothing more."""
    store = open_run_store(url)
    leaders, sweeps = open_leaders(store), open_sweeps(store)
    begun, ended = asyncio.Event(), asyncio.Event()
    leases: list[Lease] = []

    async def work(lease: Lease) -> None:
        leases.append(lease)
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    leading = asyncio.create_task(lead(leaders, "job", "first", work, length=300))
    await begun.wait()
    pass_time(url, HOUR)
    successor = await leaders.take("job", "second", HOUR)
    assert successor is not None
    with pytest.raises(LeaseLost):
        await leading
    assert ended.is_set()
    with pytest.raises(LeaseLost):
        await sweeps.save(leases[0], sweep_of(leases[0]))
    await sweeps.save(successor, sweep_of(successor))
    await store.close()


async def test_a_leader_whose_work_fails_resigns(url: str) -> None:
    """The next one need not wait until the lease runs out."""
    store = open_run_store(url)
    leaders = open_leaders(store)

    async def fail(_lease: Lease) -> None:
        raise WrongUse("no such run")

    with pytest.raises(WrongUse, match="no such run"):
        await lead(leaders, "job", "first", fail, length=HOUR)
    assert await leaders.take("job", "second", HOUR) is not None
    await store.close()


@pytest.mark.parametrize("ahead", [-90, 90])
async def test_a_killed_leader_of_a_wrong_clock_is_replaced(url: str, ahead: int) -> None:
    """Its lease is neither longer nor shorter for its machine's clock; then its work is fenced."""
    upgrade(url)
    process = subprocess.Popen(
        [sys.executable, str(CONTENDER), url, str(ahead)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    fence = int(await asyncio.to_thread(process.stdout.readline))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    store = open_run_store(url)
    leaders, sweeps = open_leaders(store), open_sweeps(store)
    assert await leaders.take("job", "second", HOUR) is None
    pass_time(url, HOUR - 60_000)
    assert await leaders.take("job", "second", HOUR) is None
    pass_time(url, 60_000)
    lease = await leaders.take("job", "second", HOUR)
    assert lease is not None
    assert lease.fence == fence + 1
    with pytest.raises(LeaseLost):
        await sweeps.save(Lease(job="job", holder="killed", fence=fence), sweep_of(lease))
    await store.close()

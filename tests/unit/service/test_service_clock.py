"""The clock of a replica: the run store's, whatever the machine's says, and never back a little."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout import Event, Retries, Turnout, app, open_turnout, task
from turnout.errors import StoreUnavailable
from turnout.model.runs import Run
from turnout.model.status import RunStatus
from turnout.model.time import Millis
from turnout.service.clock import JUMP, STALE, ReplicaClock, SystemClock
from turnout.service.replicas import living

T0: Millis = 1_767_225_600_000


class Machine:
    """A machine's clocks, and a database's, that a test sets."""

    def __init__(self) -> None:
        self.time = T0
        self.ticks = 0
        self.database: Millis | None = T0

    def now(self) -> Millis:
        return self.time

    async def sleep(self, duration: Millis) -> None:
        self.run_on(duration)

    def run_on(self, duration: Millis) -> None:
        self.time += duration
        self.ticks += duration

    def clock(self) -> ReplicaClock:
        """Make the clock of a replica on this machine."""
        return ReplicaClock(self.database_time, self, monotonic=lambda: self.ticks)

    async def database_time(self) -> Millis | None:
        return self.database


async def test_a_replica_goes_by_the_databases_time() -> None:
    """A machine that is 90 s ahead, or behind, tells the database's time; the offset is known."""
    for ahead in (90_000, -90_000):
        machine = Machine()
        machine.time += ahead
        clock = machine.clock()
        await clock.read()
        assert clock.now() == T0
        machine.run_on(5_000)
        machine.time -= 3_000  # a step
        assert clock.now() == T0 + 5_000
        assert clock.machine_ahead == ahead


async def test_where_the_database_has_no_clock_the_machines_is_told() -> None:
    """On SQLite a clock that is given is told as it is, at once."""
    machine = Machine()
    machine.database = None
    clock = machine.clock()
    await clock.read()
    machine.time -= 3_000
    assert clock.now() == T0 - 3_000
    await clock.read()
    assert (clock.now(), clock.machine_ahead) == (T0 - 3_000, 0)


async def test_a_step_of_the_machines_clock_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two readings time runs on monotonically; then it is corrected, and logged."""
    steps = {"by": 0}
    real = SystemClock().now

    class Stepping(SystemClock):
        def now(self) -> Millis:
            return real() + steps["by"]

    monkeypatch.setattr("turnout.service.clock.SystemClock", Stepping)

    async def none() -> None:
        return None

    clock = ReplicaClock(none)
    before = clock.now()
    steps["by"] = -3_600_000
    assert before <= clock.now() <= real() + 2
    await clock.read()
    assert clock.now() < before - 3_000_000


async def test_a_jump_is_logged_and_less_is_not(caplog: pytest.LogCaptureFixture) -> None:
    """A correction of more than a second is a line in the log, with its size."""
    machine = Machine()
    clock = machine.clock()
    await clock.read()
    with caplog.at_level(logging.WARNING, "turnout.service.clock"):
        machine.database = T0 + JUMP
        await clock.read()
        assert caplog.records == []
        machine.database = T0 + 2 * JUMP + 1
        await clock.read()
    (record,) = caplog.records
    assert record.__dict__["action"] == "clock_set"
    assert record.__dict__["correction_ms"] == JUMP + 1


async def test_the_error_of_a_reading_is_no_correction() -> None:
    """What the way to the database and back may explain changes nothing."""
    machine = Machine()

    async def slowly() -> Millis:
        reading = machine.time
        machine.run_on(400)  # all of it was the way back
        return reading

    clock = machine.clock()
    await clock.read()
    clock._database_time = slowly
    await clock.read()
    assert clock.now() == machine.time


@given(st.lists(st.integers(-JUMP, JUMP), max_size=20))
def test_small_corrections_never_turn_time_back(corrections: list[Millis]) -> None:
    """Time stands for a moment instead."""
    machine = Machine()
    clock = machine.clock()
    asyncio.run(clock.read())
    before = clock.now()
    for correction in corrections:
        machine.database = clock.now() + correction
        asyncio.run(clock.read())
        assert clock.now() >= before
        machine.run_on(1)
        before = clock.now()


async def test_a_database_that_does_not_answer_changes_nothing() -> None:
    """The clock runs on as it was."""
    machine = Machine()
    clock = machine.clock()

    async def away() -> Millis:
        raise StoreUnavailable

    await clock.read()
    clock._database_time = away
    with pytest.raises(StoreUnavailable):
        await clock.read()
    assert clock.now() == T0


async def test_a_process_that_is_not_started_emits_by_the_databases_time(postgres_url: str) -> None:
    """A run that a machine 90 s ahead has emitted is due at once, not in 90 s."""
    environment = {"ORCHESTRATOR_PROVIDER": "local", "TURNOUT_DATABASE_URL": postgres_url}
    live = open_turnout(app("clocks", long), environment, clock=Skewed(90_000), serve=False)
    (emitted,) = await live.orchestrator.emit(Event(name="long/go", payload={"name": "a"}))
    run = (await live.store.journals.load(emitted.runs[0].run_id)).run
    now = await live.store.replicas.database_time()
    assert now is not None
    assert run.emitted_at <= run.due_at <= now + JUMP
    await live.close()


async def test_an_old_reading_is_read_anew() -> None:
    """Where nothing reads the clock regularly."""
    machine = Machine()
    clock = machine.clock()
    await clock.refresh()
    machine.database = T0 + 5_000
    await clock.refresh()
    assert clock.now() == T0
    machine.run_on(STALE + 1)
    machine.database = T0
    await clock.refresh()
    assert clock.now() == T0


BEGUN: Counter[str] = Counter()


class Skewed(SystemClock):
    """A machine's clock that is wrong, and steps back while it is used."""

    def __init__(self, ahead: Millis) -> None:
        self.ahead = ahead

    def now(self) -> Millis:
        return super().now() + self.ahead


async def long_body(name: str) -> str:
    """Take longer than the lease, which outlasts the pauses of a busy machine."""
    BEGUN[name] += 1
    await asyncio.sleep(4.5)
    return name


@task("long", on="long/go", retries=Retries(max_attempts=3, min_delay="50ms"))
async def long(ctx: Any, payload: dict[str, str]) -> list[Any]:
    """Work, sleep, and work again."""
    first = await ctx.step("first", long_body, f"{payload['name']} first")
    await ctx.sleep("nap", "300ms")
    return [first, await ctx.step("second", long_body, f"{payload['name']} second")]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give a database of either kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'runs.db'}"
    else:
        yield request.getfixturevalue("postgres_url")


async def ended(live: Turnout, run_id: str) -> Run:
    """Wait for the end of a run."""
    async with asyncio.timeout(60):
        while not (run := (await live.orchestrator.status(run_id)).journal.run).state.terminal:
            await asyncio.sleep(0.05)
    return run


async def test_replicas_whose_clocks_are_wrong_agree(database_url: str, tmp_path: Path) -> None:
    """No lease is taken for lost, nothing is begun twice or late, at ± 90 s and over steps back.

    On a server the replicas' machines differ; on SQLite both are on one machine, whose clock steps.
    """
    BEGUN.clear()
    served = database_url.startswith("postgresql")
    clocks = [Skewed(90_000), Skewed(-90_000)] if served else [Skewed(0)] * 2
    environment = {
        "ORCHESTRATOR_PROVIDER": "local",
        "TURNOUT_DATABASE_URL": database_url,
        "TURNOUT_ARTIFACTS": "none",
        "TURNOUT_LEASE": "3s",
    }
    service = app("clocks", long)
    ahead, behind = (open_turnout(service, environment, clock=clock) for clock in clocks)
    async with ahead, behind:
        ids = []
        for number, live in enumerate([ahead, behind] * 3):
            (emitted,) = await live.orchestrator.emit(
                Event(name="long/go", payload={"name": str(number)})
            )
            ids.append(emitted.runs[0].run_id)
        await asyncio.sleep(1.0)
        clocks[0].ahead -= 3_000 if served else 400
        runs = [await ended(behind, run_id) for run_id in ids]
        assert [run.state for run in runs] == [RunStatus.COMPLETED] * 6
        assert set(BEGUN.values()) == {1}
        assert len(BEGUN) == 12
        assert abs(ahead.clock.now() - behind.clock.now()) < JUMP


async def test_a_replica_says_how_far_its_machine_is_ahead(postgres_url: str) -> None:
    """The offset to the run store's clock is in its beat, in milliseconds."""
    environment = {
        "ORCHESTRATOR_PROVIDER": "local",
        "TURNOUT_DATABASE_URL": postgres_url,
        "TURNOUT_ARTIFACTS": "none",
    }
    service = app("clocks", long)
    right = open_turnout(service, environment)
    wrong = open_turnout(service, environment, clock=Skewed(90_000))
    offsets: dict[str, int | None] = {}
    async with right, wrong, asyncio.timeout(30):
        while offsets.get(wrong.replica_id) is None:
            replicas = await living(right.store.replicas, right.clock)
            offsets = {replica.replica_id: replica.clock_ahead for replica in replicas}
            await asyncio.sleep(0.1)
    assert offsets[wrong.replica_id] == pytest.approx(90_000, abs=1_000)

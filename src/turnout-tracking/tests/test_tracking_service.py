"""The part of a service that reconciles: how often, whatever fails, and what the setting says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from made_up_vendor import HOUR, SILENCE, Stage
from turnout_tracking.leaders import open_leaders
from turnout_tracking.service import LONGEST, SHORTEST, Tracking, tracking

from turnout import read_settings
from turnout.errors import InvalidSettings, StoreUnavailable
from turnout.stores.sql import open_run_store


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A stage in memory."""
    store = open_run_store("sqlite://")
    yield Stage(store)
    await store.close()


class Service:
    """A service of one replica, whose vendor's list takes as long to read as a test says."""

    def __init__(self, stage: Stage, *, interval: int | None = None, off: bool = False) -> None:
        self.clock = stage.clock
        self.reading_time = 0.0
        """Seconds that the lists take, by the monotonic clock."""
        self.readings: list[int] = []
        """When the lists were read, in milliseconds from the beginning."""
        self._seconds = 0.0
        self._began_at = stage.clock.now()
        self._list_runs = stage.vendor.list_runs
        stage.vendor.list_runs = self._list  # type: ignore[method-assign]
        self.live: Any = SimpleNamespace(
            clock=stage.clock,
            callers={"acme": stage.vendor, "local": object()},
            replica_id="one",
            settings=SimpleNamespace(silence=SILENCE),
        )
        self.tracking = Tracking(
            store=stage.store,
            stamper=stage.stamper,
            interval=interval,
            off=off,
            monotonic=lambda: self._seconds,
        )

    async def _list(self, **query: Any) -> Any:
        if query["since"] is None:  # the first of the two lists
            self._seconds += self.reading_time
            self.readings.append(self.clock.now() - self._began_at)
        return await self._list_runs(**query)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Reconcile in the background, until the end of the context."""
        task = asyncio.create_task(self.tracking.run(self.live))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def pause(self) -> int:
        """Wait until it sleeps; gives for how long it will."""
        while (at := self.clock.next_sleeper()) is None:
            await asyncio.sleep(0.001)  # the store's threads answer in real time
        return at - self.clock.now()

    async def read(self, count: int) -> list[int]:
        """Turn the clock until the lists were read so often; gives when that was."""
        while len(self.readings) < count:
            await self.pause()
            await self.clock.skip()
            await asyncio.sleep(0.001)
        await self.pause()
        return self.readings


@pytest.mark.parametrize(
    ("reading_time", "pause"),
    [
        *((0.0, SHORTEST), (6.0, SHORTEST), (8.0, 80_000)),
        *((20.0, 200_000), (30.0, LONGEST), (99.0, LONGEST)),
    ],
)
async def test_a_reconciliation_takes_a_tenth_of_the_time(
    stage: Stage, reading_time: float, pause: int
) -> None:
    """At the start, then from every minute to every five."""
    service = Service(stage)
    service.reading_time = reading_time
    async with service.running():
        assert await service.read(3) == [0, pause, 2 * pause]


async def test_each_pause_goes_by_the_reconciliation_before_it(stage: Stage) -> None:
    """A list that has become short is read more often again."""
    service = Service(stage)
    service.reading_time = 10.0
    async with service.running():
        await service.read(2)
        service.reading_time = 0.0
        assert await service.read(4) == [0, 100_000, 200_000, 260_000]


async def test_an_interval_that_is_set_stays(stage: Stage) -> None:
    """However long a reconciliation takes."""
    service = Service(stage, interval=5_000)
    service.reading_time = 99.0
    async with service.running():
        assert await service.read(3) == [0, 5_000, 10_000]


async def test_a_replica_that_does_not_lead_reads_nothing_and_tries_again(stage: Stage) -> None:
    """Once the leader has resigned, it reads the lists."""
    lease = await stage.lead("two")
    service = Service(stage)
    async with service.running():
        for _ in range(2):
            assert await service.pause() == SHORTEST
            await service.clock.skip()
        await service.pause()
        assert service.readings == []
        await open_leaders(stage.store).resign(lease)
        assert await service.read(1) == [3 * SHORTEST]


@pytest.mark.parametrize("error", [StoreUnavailable("no answer"), ValueError("a fault of ours")])
async def test_a_failure_does_not_end_the_loop(
    stage: Stage,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged, and all is tried again, however early the store failed."""
    read, errors = stage.store.identity.read, [error]

    async def fail_once() -> Any:
        if errors:
            raise errors.pop()
        return await read()

    monkeypatch.setattr(stage.store.identity, "read", fail_once)
    service = Service(stage)
    async with service.running():
        assert await service.read(2) == [SHORTEST, 2 * SHORTEST]
    (record,) = [row for row in caplog.records if row.__dict__.get("action") == "reconcile"]
    assert record.levelname == ("WARNING" if isinstance(error, StoreUnavailable) else "ERROR")


async def test_a_service_that_has_nothing_to_compare_ends_the_loop(stage: Stage) -> None:
    """Its setting is off, or no provider has a list."""
    await Service(stage, off=True).tracking.run(Service(stage).live)
    service = Service(stage)
    del service.live.callers["acme"]
    await service.tracking.run(service.live)
    assert service.readings == []


@pytest.mark.parametrize(
    ("text", "interval", "off"),
    [
        ("", None, False),
        ("off", None, True),
        ("30s", 30_000, False),
        ("2h", 2 * HOUR, False),
        ("0s", 1_000, False),
    ],
)
async def test_the_setting_gives_the_interval(
    stage: Stage, text: str, interval: int | None, *, off: bool
) -> None:
    """A duration of a second or more, or off; unset, it follows the lists."""
    part = tracking(read_settings({"TURNOUT_RECONCILE": text}), stage.store)
    assert (part.interval, part.off) == (interval, off)


async def test_a_setting_that_is_no_duration_is_refused(stage: Stage) -> None:
    """By its name."""
    with pytest.raises(InvalidSettings, match=r"TURNOUT_RECONCILE: 'often' .*, or off"):
        tracking(read_settings({"TURNOUT_RECONCILE": "often"}), stage.store)

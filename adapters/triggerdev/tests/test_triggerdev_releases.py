"""Runs that wait give their slots away: no number of them keeps the others from running."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from turnout_triggerdev.settings import release_after

# Test modules are imported by path, so what they share is put on the path by hand.
sys.path.insert(0, str(Path(__file__).parent))

from triggerdev_stage import Ledger, Stage, start, until, vendor_ends

from turnout import Concurrency, Context, Event, Task, Turnout, task
from turnout.errors import InvalidSettings
from turnout.model.providers import Notice
from turnout.model.status import DeliveryReason, RunStatus

CHILDREN = 2


@task("child", on="do/child")
async def child(ctx: Context, payload: dict[str, Any]) -> int:
    """Return a number by a step."""
    doubled: int = await ctx.step("double", lambda: payload["n"] * 2)
    return doubled


@task("parent", on="do/parent")
async def parent(ctx: Context, payload: dict[str, Any]) -> int:
    """Invoke children one after the other, and add up what they return."""
    total = 0
    for n in range(payload["children"]):
        total += await ctx.invoke(child, {"n": n}, id=f"child-{n}")
    return total


@task("sleeper", on="do/sleeper")
async def sleeper(ctx: Context, _payload: dict[str, Any]) -> str:
    """Sleep for longer than a vendor run may wait."""
    await ctx.sleep("long", "2s")
    return "slept"


@task("asker", on="do/asker")
async def asker(ctx: Context, _payload: dict[str, Any]) -> Any:
    """Wait for an event."""
    return await ctx.wait_for_event("said/yes", timeout="1h", match={"payload.run": ctx.run_id})


async def results(live: Turnout, run_ids: list[str]) -> list[Any]:
    """Read the results of runs, once all of them have completed."""

    async def look() -> Any:
        journals = [await live.store.journals.load(run_id) for run_id in run_ids]
        assert not [j.run.error for j in journals if j.run.error is not None]
        done = all(j.run.state is RunStatus.COMPLETED for j in journals)
        return [j.run.result for j in journals] if done else None

    found: list[Any] = await until(look, 120)
    return found


@asynccontextmanager
async def _stoppable(worker: Any) -> AsyncIterator[AsyncExitStack]:
    """Let what is entered be left early."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(worker)
        yield stack


class Releasing:
    """The three, at a platform of so many slots, where vendor runs may wait for a short time."""

    def __init__(self, folder: Path, *tasks: Task, slots: int, after: str = "300ms") -> None:
        self.stage = Stage(folder)
        self.app = self.stage.app(*tasks)
        self._slots = slots
        self._after = after
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Turnout:
        enter = self._stack.enter_async_context
        await enter(self.stage.server(slots=self._slots))
        settings = {"TURNOUT_TRIGGER_RELEASE_AFTER": self._after}
        live = await enter(self.stage.service(self.app, **settings))
        self._worker = await enter(_stoppable(self.stage.worker(self.app)))
        await self.stage.ready(live)
        return live

    async def stop_worker(self) -> None:
        """Stop the worker before the others."""
        await self._worker.aclose()

    async def __aexit__(self, *_error: object) -> None:
        await self._stack.aclose()


@pytest.mark.parametrize(("slots", "parents"), [(1, 3), (2, 5), (25, 30)])
async def test_parents_do_not_starve_their_children(
    tmp_path: Path, slots: int, parents: int
) -> None:
    """However few slots there are, and however many runs wait in them."""
    async with Releasing(tmp_path / "stage", parent, child, slots=slots) as live:
        run_ids = [await start(live, "parent", children=CHILDREN) for _ in range(parents)]
        assert await results(live, run_ids) == [b"2"] * parents


async def test_a_released_run_goes_on_at_its_time(tmp_path: Path) -> None:
    """It has no vendor run meanwhile; the one that it had ended well, and was not looked at."""
    releasing = Releasing(tmp_path / "stage", sleeper, slots=1)
    async with releasing as live:
        run_id = await start(live, "sleeper")
        assert await results(live, [run_id]) == [b'"slept"']
        report = await live.orchestrator.status(run_id)
        assert [d.reason for d in report.deliveries] == [
            DeliveryReason.FIRST,
            DeliveryReason.RELEASED,
        ]
        ends = await vendor_ends(releasing.stage, report)
        assert ends == [("COMPLETED", 1), ("COMPLETED", 1)]


async def test_a_released_run_goes_on_at_its_wake(tmp_path: Path) -> None:
    """The event delivers it; a run that is cancelled meanwhile is never delivered again."""
    async with Releasing(tmp_path / "stage", asker, slots=1) as live:
        first, second = await start(live, "asker"), await start(live, "asker")

        async def released() -> Any:
            runs = [await live.store.deliveries.read(run_id) for run_id in (first, second)]
            return all(deliveries[-1].reason is DeliveryReason.RELEASED for deliveries in runs)

        await until(released)
        await live.orchestrator.cancel(second)
        await live.orchestrator.emit(Event(name="said/yes", payload={"run": first}))
        await results(live, [first])
        assert len(await live.store.deliveries.read(first)) == 2
        ended = await live.orchestrator.status(second)
        assert ended.journal.run.state is RunStatus.CANCELLED
        assert [d.sent_at is not None for d in ended.deliveries] == [True, False]


async def test_without_a_release_parents_fill_the_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The double keeps the slot of a run that waits, as a server in `dev` does; the doctor sees it.

    When the worker is gone, it sees that, too, and tells one from the other.
    """
    monkeypatch.setattr("turnout_triggerdev.queueing.LATE", 0)
    releasing = Releasing(tmp_path / "stage", parent, child, slots=2, after="never")
    async with releasing as live:
        run_ids = [await start(live, "parent", children=1) for _ in range(2)]

        async def parked() -> Any:
            runs = [(await live.store.journals.load(run_id)).run for run_id in run_ids]
            return all(run.parked for run in runs)

        await until(parked)
        await asyncio.sleep(1)  # long enough for a child that had a slot
        runs = [(await live.store.journals.load(run_id)).run for run_id in run_ids]
        assert all(run.parked for run in runs)
        (full,) = await queue_notices(live)
        assert full.text.startswith("the environment is full: all of its 2 slots are taken")
        await releasing.stop_worker()
        (alone,) = await queue_notices(live)
        assert alone.text.startswith("no worker takes runs")


async def queue_notices(live: Turnout) -> list[Notice]:
    """Read what the doctor shows of the vendor's queue, once there is something."""

    async def none(_run_id: str) -> bool:
        return True

    caller: Any = live.callers["triggerdev"]

    async def look() -> Any:
        return await caller.notices(none)

    found: list[Notice] = await until(look)
    return found


@pytest.mark.parametrize(("slots", "vendor_runs"), [(1, 1), (2, 1), (25, 2)])
async def test_limited_runs_take_no_slots_before_their_turn(
    tmp_path: Path, slots: int, vendor_runs: int
) -> None:
    """One has a vendor run, and the next of the line where there are slots enough; others run."""
    ledger = Ledger()

    async def held(ctx: Context, _payload: dict[str, Any]) -> str:
        step: str = await ctx.step("held", ledger.hold, ctx.run_id, "held")
        return step

    limited = task("limited", on="do/limited", concurrency=Concurrency(limit=1))(held)
    async with Releasing(tmp_path / "stage", limited, child, slots=slots) as live:
        run_ids = [await start(live, "limited") for _ in range(8)]

        async def called() -> Any:
            deliveries = [(await live.store.deliveries.read(run_id))[0] for run_id in run_ids]
            return sum(d.claimed_at is not None for d in deliveries) == vendor_runs

        await until(lambda: _true(bool(ledger.tried)))
        await until(called)
        if slots > 1:
            assert await results(live, [await start(live, "child", n=2)]) == [b"4"]
            assert await called()
        ledger.go_on.set()
        assert await results(live, run_ids) == [b'"held"'] * 8
        assert set(ledger.tried.values()) == {1}


async def test_runs_whose_steps_wait_for_slots_are_released(tmp_path: Path) -> None:
    """Two wait for the step of a third, in three slots; another task runs all the same."""
    ledger = Ledger()

    async def held(ctx: Context, _payload: dict[str, Any]) -> str:
        step: str = await ctx.step("held", ledger.hold, ctx.run_id, "held")
        return step

    limit = Concurrency(limit=1, counts="steps")
    stepped = task("stepped", on="do/stepped", concurrency=limit)(held)
    async with Releasing(tmp_path / "stage", stepped, child, slots=3) as live:
        run_ids = [await start(live, "stepped") for _ in range(5)]
        await until(lambda: _true(bool(ledger.tried)))
        assert await results(live, [await start(live, "child", n=2)]) == [b"4"]
        ledger.go_on.set()
        assert await results(live, run_ids) == [b'"held"'] * 5
        assert set(ledger.tried.values()) == {1}


async def _true(value: bool) -> bool:
    return value


@pytest.mark.parametrize(
    ("settings", "after"),
    [
        ({"TRIGGER_SECRET_KEY": "tr_prod_x"}, None),
        ({"TRIGGER_SECRET_KEY": "tr_stg_sk_x"}, None),
        ({"TRIGGER_SECRET_KEY": "tr_dev_x"}, 10_000),
        ({}, 10_000),
        ({"TRIGGER_SECRET_KEY": "x", "TRIGGER_ENVIRONMENT": "staging"}, None),
        ({"TRIGGER_SECRET_KEY": "tr_prod_x", "TRIGGER_API_URL": "http://127.0.0.1:3030"}, 10_000),
        ({"TRIGGER_SECRET_KEY": "tr_prod_x", "TURNOUT_TRIGGER_RELEASE_AFTER": "2m"}, 120_000),
        ({"TRIGGER_SECRET_KEY": "tr_dev_x", "TURNOUT_TRIGGER_RELEASE_AFTER": "never"}, None),
    ],
)
def test_where_runs_are_released(settings: dict[str, str], after: int | None) -> None:
    """Not where the cloud takes a checkpoint of a run that waits; a setting says otherwise."""
    assert release_after(settings) == after


def test_a_wrong_time_is_refused_by_name() -> None:
    """The setting's name is in the error."""
    with pytest.raises(InvalidSettings, match="TURNOUT_TRIGGER_RELEASE_AFTER"):
        release_after({"TURNOUT_TRIGGER_RELEASE_AFTER": "soon"})

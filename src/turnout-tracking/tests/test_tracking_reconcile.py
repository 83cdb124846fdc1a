"""What reconciliation finds, does about it, and leaves alone."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from made_up_vendor import HOUR, LAG, SILENCE, UNAVAILABLE, Stage
from turnout_tracking.leaders import LeaseLost, open_leaders
from turnout_tracking.model import FindingKind, Resolution, SweepKind
from turnout_tracking.reconcile import LOOKS_AT_ONCE, PAGE_TRIES, Budget
from turnout_tracking.rules import GRACE, MOST_LOST

from turnout.errors import ProviderRefused, ProviderUnavailable
from turnout.model.runs import Delivery
from turnout.model.status import DeliveryReason, RunStatus
from turnout.model.transitions import cancel, end
from turnout.stores.sql import open_run_store, upgrade

SETTLED = LAG + GRACE + 1


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the newest tables."""
    path = tmp_path_factory.mktemp("template") / "runs.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["file", "server"])
async def stage(
    request: pytest.FixtureRequest, template: Path, tmp_path: Path
) -> AsyncIterator[Stage]:
    """A stage on SQLite, and one on PostgreSQL."""
    url = f"sqlite:///{shutil.copy(template, tmp_path)}"
    if request.param == "server":
        url = request.getfixturevalue("clean_postgres_url")
    store = open_run_store(url)
    yield Stage(store)
    await store.close()


async def wait(stage: Stage, duration: int) -> None:
    """Let time pass."""
    await stage.clock.turn_to(stage.clock.now() + duration)


async def test_a_run_whose_vendor_run_is_missing_is_delivered_again(stage: Stage) -> None:
    """One that ended and one that the provider does not know; evidence says what was seen."""
    ended, forgotten, _ = await stage.run("r1", "r2", "r3")
    stage.vendor.runs[ended].state = RunStatus.CANCELLED
    del stage.vendor.runs[forgotten]
    await wait(stage, SETTLED)
    await stage.reconcile()
    assert await stage.found() == [(FindingKind.MISSING, Resolution.REDELIVERED)] * 2
    by_run = {finding.run_id: finding for finding in await stage.findings()}
    assert by_run["r1"].evidence["word"] == "cancelled"
    assert by_run["r2"].evidence["word"] == "not found"
    for run_id, count in (("r1", 2), ("r2", 2), ("r3", 1)):
        deliveries = await stage.store.deliveries.read(run_id)
        assert len(deliveries) == count
        assert count == 1 or deliveries[-1].reason is DeliveryReason.LOST


async def test_nothing_is_missing_before_the_lag_and_a_look(stage: Stage) -> None:
    """The list has not got it yet, then it leaves it out: the look says that it goes on."""
    (vendor_id,) = await stage.run("r1")
    await stage.reconcile()
    assert await stage.found() == []
    stage.vendor.skipped = frozenset({vendor_id})
    await wait(stage, SETTLED)
    await stage.reconcile()
    assert await stage.found() == []
    assert len(await stage.store.deliveries.read("r1")) == 1


async def test_a_vendor_run_of_an_ended_run_is_stopped(stage: Stage) -> None:
    """Once it has had the time to end by itself."""
    (vendor_id,) = await stage.run("r1")
    run = (await stage.store.journals.load("r1")).run
    change = end(run, RunStatus.COMPLETED, stage.clock.now())
    assert change is not None
    assert await stage.store.journals.apply(change)
    await wait(stage, LAG + 1)
    await stage.reconcile()
    assert stage.vendor.stopped == []
    await wait(stage, GRACE)
    await stage.reconcile()
    assert stage.vendor.stopped == [vendor_id]
    assert await stage.found() == [(FindingKind.SUPERSEDED, Resolution.STOPPED)]


async def test_a_superseded_vendor_run_is_stopped_and_its_neighbour_is_not(stage: Stage) -> None:
    """The run goes on with its next delivery."""
    (vendor_id,) = await stage.run("r1")
    now = stage.clock.now()
    assert await stage.store.deliveries.redeliver("r1", 1, "acme", now)
    (second,) = await stage.send("r1")
    await wait(stage, SETTLED)
    await stage.reconcile()
    assert stage.vendor.stopped == [vendor_id]
    assert stage.vendor.runs[second].state is RunStatus.RUNNING


@pytest.mark.parametrize("shows_keys", [True, False])
async def test_a_second_vendor_run_of_one_delivery_is_stopped(
    stage: Stage, shows_keys: bool
) -> None:
    """What it carried proves whose it is; one that claims it without a proof is left alone."""
    stage.vendor.shows_keys = shows_keys
    (first,) = await stage.run("r1")
    payload = stage.vendor.runs[first].payload
    second = stage.vendor.start("r1.1", **payload)
    stage.vendor.start("r1.1", **{**payload, "proof": "forged"})
    stage.vendor.start("r1.1", run_id="r1", delivery=1, task="t")
    await wait(stage, SETTLED)
    outcomes = await stage.reconcile()
    assert stage.vendor.stopped == [second]
    assert outcomes[0].sweep.counts["not proved"] == 2


async def test_a_forgotten_vendor_run_is_reported_and_goes_on(stage: Stage) -> None:
    """The store was restored or pruned: a person decides, and its payload is not at the vendor."""
    await stage.emit("r1")
    stamp = stage.stamper.stamp("r9", 1, "t", stage.store_id)
    vendor_id = stage.vendor.start("r9.1", run_id="r9", delivery=1, task="t", **stamp)
    await wait(stage, SETTLED)
    await stage.reconcile()
    await stage.reconcile()
    (finding,) = await stage.findings()
    assert (finding.kind, finding.resolution) == (FindingKind.FORGOTTEN, Resolution.REPORTED)
    assert (finding.subject, finding.run_id) == (vendor_id, "r9")
    assert stage.vendor.stopped == []


async def test_vendor_runs_of_others_are_counted_and_read_once(stage: Stage) -> None:
    """Of another store, of an earlier release, and what somebody started by hand."""
    await stage.emit("r1")
    other = stage.stamper.stamp("r8", 1, "t", "another-store")
    stage.vendor.start("r8.1", run_id="r8", delivery=1, task="t", **other)
    stage.vendor.start("r7.1", run_id="r7", delivery=1, task="t")
    stage.vendor.start("", hello="world")
    await wait(stage, SETTLED)
    outcomes = await stage.reconcile()
    counts = outcomes[0].sweep.counts
    assert (counts["of other stores"], counts["not proved"]) == (1, 2)
    assert await stage.found() == []
    before = stage.vendor.calls
    await stage.reconcile()
    assert stage.vendor.calls - before == len(SweepKind)


async def test_a_status_that_disagrees_is_recorded(stage: Stage) -> None:
    """The run store counts; that the provider says otherwise is kept."""
    (vendor_id,) = await stage.run("r1")
    run = (await stage.store.journals.load("r1")).run
    change = end(run, RunStatus.COMPLETED, stage.clock.now())
    assert change is not None
    assert await stage.store.journals.apply(change)
    stage.vendor.runs[vendor_id].state = RunStatus.FAILED
    await wait(stage, SETTLED)
    await stage.reconcile()
    (finding,) = await stage.findings()
    assert (finding.kind, finding.resolution) == (FindingKind.DISAGREES, Resolution.RECORDED)
    assert (finding.evidence["word"], finding.evidence["run"]) == ("failed", "completed")


async def test_a_stuck_vendor_run_is_replaced(stage: Stage) -> None:
    """It goes on at the provider, and nothing explains that it does not call."""
    (first,) = await stage.run("r1")
    await wait(stage, SILENCE)
    await stage.reconcile()
    assert await stage.found() == []
    await wait(stage, 1)
    await stage.reconcile()
    assert await stage.found() == [(FindingKind.STUCK, Resolution.REDELIVERED)]
    deliveries = await stage.store.deliveries.read("r1")
    assert [delivery.stopping for delivery in deliveries] == [True, False]
    assert stage.vendor.runs[first].state is RunStatus.RUNNING


async def test_a_run_that_is_lost_again_and_again_is_failed(stage: Stage) -> None:
    """Its provider loses each vendor run before anything of it is done."""
    await stage.emit("r1")
    for _ in range(MOST_LOST + 1):
        (vendor_id,) = await stage.send("r1")
        stage.vendor.runs[vendor_id].state = RunStatus.FAILED
        await wait(stage, SETTLED)
        await stage.reconcile()
    run = (await stage.store.journals.load("r1")).run
    assert (run.state, run.error is not None and run.error.name) == (
        RunStatus.FAILED,
        "DeliveryLost",
    )
    assert (FindingKind.MISSING, Resolution.FAILED) in await stage.found()


async def test_a_dry_run_changes_nothing(stage: Stage) -> None:
    """It reports what it would have done something about."""
    first, second = await stage.run("r1", "r2")
    stage.vendor.runs[first].state = RunStatus.FAILED
    run = (await stage.store.journals.load("r2")).run
    change = end(run, RunStatus.COMPLETED, stage.clock.now())
    assert change is not None
    assert await stage.store.journals.apply(change)
    await wait(stage, SETTLED)
    await stage.reconcile(dry_run=True)
    assert await stage.found() == [
        (FindingKind.MISSING, Resolution.REPORTED),
        (FindingKind.SUPERSEDED, Resolution.REPORTED),
    ]
    assert stage.vendor.stopped == []
    assert len(await stage.store.deliveries.read("r1")) == 1
    assert stage.vendor.runs[second].state is RunStatus.RUNNING


async def test_a_healthy_list_costs_its_pages(stage: Stage) -> None:
    """No look and no payload is read, however many runs there are and however pages overlap."""
    await stage.run(*(f"r{number:03}" for number in range(95)))
    stage.vendor.doubled = True
    await wait(stage, SETTLED)
    before = stage.vendor.calls
    outcomes = await stage.reconcile()
    assert stage.vendor.calls - before == 2 * 10
    assert all(outcome.is_complete for outcome in outcomes)
    assert await stage.found() == []


@pytest.mark.parametrize("refusal", [ProviderRefused("twice"), None])
async def test_a_list_without_an_end_is_given_up(
    stage: Stage, refusal: ProviderRefused | None
) -> None:
    """The adapter refuses a page that comes twice, or the cursors go round: nothing is missing."""
    await stage.run(*(f"r{number:02}" for number in range(35)))
    await wait(stage, SETTLED)
    if refusal is not None:
        stage.vendor.faults.append(refusal)
    else:
        stage.vendor.cycle = 3
    outcome = (await stage.reconcile())[0]
    assert not outcome.is_complete
    assert "twice" in str(outcome.sweep.error)
    assert await stage.found() == []
    stage.vendor.cycle = 0
    assert all(outcome.is_complete for outcome in await stage.reconcile())


async def test_a_page_that_fails_is_asked_for_again_and_the_sweep_goes_on_there(
    stage: Stage,
) -> None:
    """A few times at once, then by the next reconciliation; pages that were read are not again."""
    await stage.run(*(f"r{number:02}" for number in range(35)))
    await wait(stage, SETTLED)
    stage.vendor.faults.extend([UNAVAILABLE] * 2)
    later = ProviderUnavailable("acme answered 429", retry_after=timedelta(seconds=7))
    stage.vendor.faults.extend([later] * (PAGE_TRIES - 2))
    outcome = (await stage.reconcile_in_time())[0]
    assert (outcome.is_complete, "429" in str(outcome.sweep.error)) == (False, True)
    outcomes = await stage.reconcile()
    assert all(outcome.is_complete for outcome in outcomes)
    assert outcomes[0].sweep.counts["pages"] == 4
    assert await stage.found() == []


async def test_a_sweep_goes_on_where_its_leader_was_killed(stage: Stage) -> None:
    """The next one reads only the pages that are left, and the one that was killed writes none."""
    first, *_ = await stage.run(*(f"r{number:02}" for number in range(45)))
    stage.vendor.runs[first].state = RunStatus.FAILED
    await wait(stage, SETTLED)
    lease = await stage.lead()
    dead = stage.reconciler()
    compare, pages = dead.caller.list_runs, []  # type: ignore[attr-defined]

    async def list_runs(**query: Any) -> Any:
        if len(pages) == 3:
            raise KeyboardInterrupt
        pages.append(query["cursor"])
        return await compare(**query)

    dead.caller.list_runs = list_runs  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        await dead.run(lease, {})
    del dead.caller.list_runs  # type: ignore[attr-defined]
    await open_leaders(stage.store).resign(lease)
    await stage.lead("two")
    with pytest.raises(LeaseLost):
        await dead.run(lease, {})
    before = stage.vendor.calls
    outcomes = await stage.reconcile()
    counts = outcomes[0].sweep.counts
    assert (outcomes[0].is_complete, counts["pages"]) == (True, 5)
    created = outcomes[1].sweep.counts["pages"]
    # Two pages that were left, one look at the run whose vendor run is missing.
    assert stage.vendor.calls - before == 2 + 1 + created
    assert await stage.found() == [(FindingKind.MISSING, Resolution.REDELIVERED)]


async def test_a_recovery_is_spread_over_periods(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider that has lost all is not sent all at once."""
    monkeypatch.setattr(Budget, "__init__", _small)
    await stage.run(*(f"r{number:02}" for number in range(25)))
    stage.vendor.runs.clear()
    await wait(stage, SETTLED)
    for period in range(1, 4):
        await stage.reconcile()
        await wait(stage, 60_000)
        assert len(await stage.findings()) == min(10 * period, 25)


def _small(budget: Budget) -> None:
    budget.redeliveries, budget.looks, budget.stamps = 10, 100, 100


async def test_a_look_that_fails_ends_the_others(stage: Stage) -> None:
    """Nothing of a sweep goes on once it is given up until the next period."""
    await stage.run(*(f"r{number:02}" for number in range(2 * LOOKS_AT_ONCE)))
    stage.vendor.runs.clear()
    await wait(stage, SETTLED)
    begun, cancelled = [], []

    async def look(delivery: Delivery) -> Any:
        begun.append(delivery.run_id)
        if len(begun) == LOOKS_AT_ONCE:
            raise UNAVAILABLE
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(delivery.run_id)

    stage.vendor.look = look  # type: ignore[method-assign]
    (outcome, _) = await stage.reconcile()
    assert str(UNAVAILABLE) in str(outcome.sweep.error)
    assert LOOKS_AT_ONCE <= len(begun) < 2 * LOOKS_AT_ONCE
    assert sorted([*cancelled, begun[LOOKS_AT_ONCE - 1]]) == sorted(begun)


async def test_what_happens_between_a_look_and_its_consequence_counts(stage: Stage) -> None:
    """A vendor run that calls in the meantime keeps its delivery."""
    (vendor_id,) = await stage.run("r1")
    del stage.vendor.runs[vendor_id]
    await wait(stage, SETTLED)
    look = stage.vendor.look

    async def look_late(delivery: Delivery) -> Any:
        sighting = await look(delivery)
        await stage.store.deliveries.claim("r1", 1, vendor_id, stage.clock.now())
        return sighting

    stage.vendor.look = look_late  # type: ignore[method-assign]
    await stage.reconcile()
    assert await stage.found() == []
    run = (await stage.store.journals.load("r1")).run
    change = cancel(run, stage.clock.now())
    assert change is not None
    assert await stage.store.journals.apply(change)
    await wait(stage, HOUR)
    await stage.reconcile()
    assert await stage.found() == []

"""A kill at any call and at any commit of a reconciliation: the next leader ends it once."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from made_up_vendor import LAG, KilledProcess, Stage
from turnout_tracking.leaders import open_leaders
from turnout_tracking.model import FindingKind, Resolution
from turnout_tracking.rules import GRACE

from turnout.model.status import RunStatus
from turnout.stores.sql import open_run_store, upgrade


@pytest.fixture(params=["file", "server"])
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage on SQLite, and one on PostgreSQL."""
    url = f"sqlite:///{tmp_path}/runs.db"
    if request.param == "server":
        url = request.getfixturevalue("clean_postgres_url")
    upgrade(url)
    store = open_run_store(url)
    yield Stage(store)
    await store.close()


def killed_around(stage: Stage, name: str) -> None:
    """Count a commit as two points: before it, and after it."""
    commit = getattr(stage.matches, name)

    async def counted(*arguments: Any, **options: Any) -> Any:
        stage.vendor._called()
        result = await commit(*arguments, **options)
        stage.vendor._called()
        return result

    setattr(stage.matches, name, counted)


async def planted(stage: Stage, round_: int) -> tuple[str, str, str]:
    """Plant a run whose vendor run is missing, a superseded vendor run, and healthy runs."""
    missing, superseded, forgotten = (f"{name}{round_:03}" for name in ("m", "s", "f"))
    (gone, _) = await stage.run(missing, superseded)
    await stage.run(*(f"h{round_:03}-{number}" for number in range(4)))
    stage.vendor.runs[gone].state = RunStatus.FAILED
    now = stage.clock.now()
    assert await stage.store.deliveries.redeliver(superseded, 1, stage.vendor.name, now)
    await stage.send(superseded)
    stamp = stage.stamper.stamp(forgotten, 1, "t", stage.store_id)
    stage.vendor.start(f"{forgotten}.1", run_id=forgotten, delivery=1, task="t", **stamp)
    await stage.clock.turn_to(now + LAG + GRACE + 1)
    return missing, superseded, forgotten


async def test_a_kill_at_any_point_is_taken_over(stage: Stage) -> None:
    """Each run is delivered again once, each vendor run is stopped, and each finding is there."""
    for name in ("record", "replace"):
        killed_around(stage, name)
    killed, point = True, 0
    while killed:
        point += 1
        stage.change_vendor(f"acme-{point:02}")
        missing, superseded, forgotten = await planted(stage, point)
        stage.vendor.killed_at = stage.vendor.calls + point
        try:
            await stage.reconcile()
        except KilledProcess:
            assert stage.lease is not None
            await open_leaders(stage.store).resign(stage.lease)
            await stage.lead(f"leader-{point}")
            await stage.reconcile()
        else:
            killed = False
        stage.vendor.killed_at = None
        await stage.reconcile()
        assert len(await stage.store.deliveries.read(missing)) == 2
        assert len(await stage.store.deliveries.read(superseded)) == 2
        findings = [row for row in await stage.findings() if row.run_id is not None]
        of_round = {
            row.run_id: (row.kind, row.resolution)
            for row in findings
            if row.run_id in {missing, superseded, forgotten}
        }
        assert of_round.pop(missing) == (FindingKind.MISSING, Resolution.REDELIVERED)
        assert of_round.pop(forgotten) == (FindingKind.FORGOTTEN, Resolution.REPORTED)
        # Killed between the stop and its record, there is nothing left to be found.
        assert of_round in ({}, {superseded: (FindingKind.SUPERSEDED, Resolution.STOPPED)})
        states = {run.key: run.state for run in stage.vendor.runs.values()}
        assert states[f"{superseded}.1"] is RunStatus.CANCELLED
        assert states[f"{superseded}.2"] is RunStatus.RUNNING
    assert point > 20

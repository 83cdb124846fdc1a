"""Of many changes over one route the first counts, on both databases and between processes."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from turnout_cutover.changes import Action, Change, Signature
from turnout_cutover.open_runs import read_open_runs, read_vendor_runs
from turnout_cutover.route_log import route_log
from turnout_testing.conformance.run_store_values import T0, emission, new_run

from tests.postgres import PostgresServer
from turnout.model.routing import Route, Stage
from turnout.stores.sql import open_run_store


@pytest.fixture(params=["file", "server"])
def url(
    request: pytest.FixtureRequest, postgres_server: PostgresServer, tmp_path: Path
) -> Iterator[str]:
    """A database of this test's own."""
    if request.param == "file":
        yield f"sqlite:///{tmp_path}/runs.db"
        return
    with postgres_server.database(empty=True) as address:
        yield address


async def test_of_many_changes_over_one_route_the_first_counts(url: str) -> None:
    """The others are told that the route is another one, and leave no row."""
    stores = [open_run_store(url) for _ in range(2)]
    before = Route(stage=Stage.DUAL, old="acme", new="bolt")
    changes = [
        Change(
            task="order",
            action=Action.MOVE,
            before=before,
            after=Route(stage=Stage.RAMP, old="acme", new="bolt", percentage=number),
        )
        for number in range(1, 13)
    ]
    results = await asyncio.gather(
        *(
            route_log(stores[number % 2]).change(
                [change], Signature(operator=f"operator-{number}", reason="race"), T0
            )
            for number, change in enumerate(changes)
        )
    )
    assert sorted(map(len, results)) == [0] + [1] * 11
    log = route_log(stores[0])
    (entry,) = await log.history(task="order")
    assert entry.routes is not None
    assert entry.routes[1] == (await log.routes())["order"]
    for store in stores:
        await store.close()


async def test_open_runs_are_counted_by_task_and_provider(url: str) -> None:
    """Vendor runs are named once a vendor has them."""
    store = open_run_store(url)
    runs = [new_run(f"r{number}", task="order", provider="acme") for number in range(3)]
    await store.events.emit([emission(run) for run in runs])
    (group,) = await read_open_runs(store)
    assert (group.task, group.provider, group.count, group.queued) == ("order", "acme", 3, 3)
    assert (group.oldest, group.latest_end) == (T0, None)
    assert await read_vendor_runs(store, "acme") == []
    await store.close()

"""Tables of the version before: upgraded when they are filled, and shared while both run."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psycopg
import pytest
from turnout_testing.conformance.run_store_values import emission, new_run

from tests.postgres import PostgresServer
from tests.previous_version import previous_environ
from turnout.errors import InvalidSettings
from turnout.model.runs import SendResult, read_delivery_key
from turnout.model.status import DeliveryReason, DeliveryState
from turnout.stores.sql import open_run_store, upgrade
from turnout.stores.sql.store import SqlRunStore

SCRIPT = Path(__file__).parent / "run_store_previous.py"
NOW = 1_700_000_000_000
FIRST, LOST = DeliveryReason.FIRST, DeliveryReason.LOST


@pytest.fixture(params=["file", "server"])
def empty_url(
    request: pytest.FixtureRequest, postgres_server: PostgresServer, tmp_path: Path
) -> Iterator[str]:
    """A database without our tables."""
    if request.param == "file":
        yield f"sqlite:///{tmp_path}/runs.db"
        return
    with postgres_server.database(empty=True) as url:
        yield url


class PreviousProcess:
    """The version before, with a run store open."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT), url],
            env=previous_environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def fill(self, name: str) -> None:
        """Have it write runs of this name."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "filled\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(30) == 0


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    """Run SQL on the tables; TABLES. stands for their schema."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        rows = connection.execute(statement.replace("TABLES.", "")).fetchall()
        connection.commit()
        connection.close()
        return rows
    with psycopg.connect(url) as server:
        cursor = server.execute(statement.replace("TABLES.", "turnout."))
        return cursor.fetchall() if cursor.description else []


async def check_runs(store: SqlRunStore, name: str) -> None:
    """The runs of a round read as they were left; each delivery says why it exists."""
    seen = {}
    for state in ("pending", "sent", "claimed", "again", "stopped"):
        deliveries = await store.deliveries.read(f"{name}-{state}")
        seen[state] = [(each.state, each.reason, each.key) for each in deliveries]
        assert {each.epoch for each in deliveries} == {0}
    one = {state: f"{name}-{state}.1" for state in seen}
    again = f"{name}-again"
    assert seen == {
        "pending": [(DeliveryState.PENDING, FIRST, one["pending"])],
        "sent": [(DeliveryState.SENT, FIRST, one["sent"])],
        "claimed": [(DeliveryState.CLAIMED, FIRST, one["claimed"])],
        "again": [
            (DeliveryState.SUPERSEDED, FIRST, f"{again}.1"),
            (DeliveryState.SUPERSEDED, LOST, f"{again}.2"),
            (DeliveryState.PENDING, LOST, f"{again}.3"),
        ],
        "stopped": [(DeliveryState.ENDED, FIRST, one["stopped"])],
    }


async def test_both_versions_work_on_filled_tables(empty_url: str) -> None:
    """The upgrade loses nothing, and the version before goes on working while today's works."""
    with PreviousProcess(empty_url) as previous:
        previous.fill("before")
        store = open_run_store(empty_url, app="shop")
        await check_runs(store, "before")
        await store.events.emit([emission(new_run("today"))])
        previous.fill("beside")
        await check_runs(store, "beside")
        taken = await store.due.take_deliveries(NOW + 5, limit=99, hold=9)
        due = {f"{name}-{state}" for name in ("before", "beside") for state in ("pending", "again")}
        assert due <= {delivery.run_id for delivery in taken}
        for name in ("before", "beside"):
            await go_on(store, name)
        previous.fill("after")
        await check_runs(store, "after")
        (today,) = await store.deliveries.read("today")
        assert (today.reason, today.key) == (FIRST, "today.1")
        await store.close()


async def go_on(store: SqlRunStore, name: str) -> None:
    """Today's version sends, claims and delivers again what the version before has written."""
    result = SendResult(run_id=f"{name}-pending", number=1, due_at=NOW + 99, sent_at=NOW + 5)
    await store.deliveries.record([result])
    journal = await store.deliveries.claim(f"{name}-pending", 1, "v", NOW + 6)
    assert journal.run.run_id == f"{name}-pending"
    assert await store.deliveries.redeliver(f"{name}-sent", 1, "acme", NOW + 7)
    assert await store.deliveries.redeliver(f"{name}-claimed", 1, "other", NOW + 7)
    reasons = {
        state: [each.reason for each in await store.deliveries.read(f"{name}-{state}")]
        for state in ("pending", "sent", "claimed")
    }
    assert reasons == {
        "pending": [FIRST],
        "sent": [FIRST, LOST],
        "claimed": [FIRST, DeliveryReason.MOVED],
    }


async def test_what_was_in_flight_is_recorded_with_a_reason(empty_url: str) -> None:
    """Of what is over nobody asks; it reads as its number says."""
    with PreviousProcess(empty_url) as previous:
        previous.fill("r")
    upgrade(empty_url)
    found = execute(
        empty_url, "SELECT run_id, number, reason FROM TABLES.turnout_deliveries ORDER BY 1, 2"
    )
    assert found == [
        ("r-again", 1, None),
        ("r-again", 2, "lost"),
        ("r-again", 3, "lost"),
        ("r-claimed", 1, "first"),
        ("r-pending", 1, "first"),
        ("r-sent", 1, "first"),
        ("r-stopped", 1, None),
    ]


async def test_a_store_belongs_to_the_app_that_opens_it_first(empty_url: str) -> None:
    """Tables of the version before, too; another app is refused by name, whoever asks is not."""
    with PreviousProcess(empty_url) as previous:
        previous.fill("r")
    for _ in range(2):
        store = open_run_store(empty_url, app="shop", environment="production")
        identity = await store.identity.read()
        await store.close()
    assert (identity.app, identity.environment, identity.epoch) == ("shop", "production", 0)
    with pytest.raises(InvalidSettings, match=r"belongs to the app 'shop', not to 'bank'.*schema"):
        open_run_store(empty_url, app="bank")
    await open_run_store(empty_url).close()


async def test_apps_share_a_server_in_schemas_of_their_own(
    postgres_server: PostgresServer,
) -> None:
    """`?schema=` names one."""
    with postgres_server.database(empty=True) as url:
        for app in ("shop", "bank"):
            store = open_run_store(f"{url}&schema={app}", app=app)
            assert app in repr(store)
            await store.events.emit([emission(new_run("r"))])
            await store.close()


async def test_an_epoch_is_part_of_the_keys_of_what_is_not_sent_yet(empty_url: str) -> None:
    """After a restore, keys are new; what was sent is still found by its old key."""
    store = open_run_store(empty_url)
    await store.events.emit([emission(new_run("sent")), emission(new_run("pending"))])
    result = SendResult(run_id="sent", number=1, due_at=NOW, sent_at=NOW)
    await store.deliveries.record([result])
    assert await store.identity.raise_epoch() == 1
    await store.events.emit([emission(new_run("later"))])
    assert await store.deliveries.redeliver("sent", 1, "local", NOW)
    runs = ("sent", "pending", "later")
    keys = [each.key for run_id in runs for each in await store.deliveries.read(run_id)]
    assert keys == ["sent.1", "sent.2-1", "pending.1-1", "later.1-1"]
    assert [read_delivery_key(key)[1] for key in keys] == [1, 2, 1, 1]
    assert await store.identity.raise_epoch() == 2
    assert (await store.identity.read()).epoch == 2
    await store.close()
    found = execute(empty_url, "SELECT oldest_code FROM TABLES.turnout_store")
    assert found == [("0004",)]


def test_an_older_release_starts_on_newer_tables_that_allow_it(empty_url: str) -> None:
    """A release can be rolled back, as long as the tables say that older code can work on them."""
    upgrade(empty_url)
    execute(empty_url, "UPDATE TABLES.turnout_version SET version_num = '0007'")
    upgrade(empty_url)
    assert execute(empty_url, "SELECT version_num FROM TABLES.turnout_version") == [("0007",)]
    execute(empty_url, "UPDATE TABLES.turnout_store SET oldest_code = '0007'")
    with pytest.raises(InvalidSettings, match=r"must know revision '0007'.*install the version"):
        upgrade(empty_url)


async def test_a_release_that_knows_no_oldest_code_is_gone_back_to_by_hand(empty_url: str) -> None:
    """The version before refuses the tables, works once the number is set back; then all go on."""
    upgrade(empty_url)
    with pytest.raises(AssertionError), PreviousProcess(empty_url) as previous:
        previous.fill("refused")
    execute(empty_url, "UPDATE TABLES.turnout_version SET version_num = '0003'")
    with PreviousProcess(empty_url) as previous:
        previous.fill("back")
    store = open_run_store(empty_url)
    await check_runs(store, "back")
    await store.close()

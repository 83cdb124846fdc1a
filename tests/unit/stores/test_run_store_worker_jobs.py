"""The view of runs as jobs: what a team has asked a table of its own runs on it unchanged."""

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from turnout_testing.conformance.run_store_values import T0, emission, new_run

from tests.postgres import PostgresServer
from turnout.model.labels import Labels
from turnout.model.policies import Timeouts
from turnout.model.runs import Failure, SendResult
from turnout.model.status import RunStatus
from turnout.model.transitions import begin, end
from turnout.ports.run_store import RunStore
from turnout.stores.sql import open_run_store

ACTIVE = """
SELECT id, type, trigger_status, started, finished, trigger_run_id
FROM worker_jobs
WHERE executor = 'acme' AND finished IS NULL
ORDER BY id
"""
FAILED = """
SELECT id, type, result, created_at
FROM worker_jobs
WHERE executor = 'acme' AND success = false
ORDER BY created_at DESC
LIMIT 10
"""
ORPHANED = "SELECT id, orphan_resolution FROM worker_jobs WHERE orphaned"
MISSING = (
    "INSERT INTO turnout_findings (provider, kind, subject, run_id, resolution, evidence, found_at,"
    " seen_at) VALUES ('acme', 'missing', 'waits.1', 'waits', 'delivered again', {json}, 1, 1)"
)


@pytest.fixture(params=["file", "server"])
def url(
    request: pytest.FixtureRequest, postgres_server: PostgresServer, tmp_path: Path
) -> Iterator[str]:
    """A database with our tables."""
    if request.param == "file":
        yield f"sqlite:///{tmp_path}/runs.db"
        return
    with postgres_server.database() as address:
        yield address


def query(url: str, *statements: str) -> list[list[tuple[Any, ...]]]:
    """Run SQL on the database; the team's name for the view is `worker_jobs`."""
    name = "CREATE TEMP VIEW worker_jobs AS SELECT * FROM turnout_worker_jobs"
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            connection.execute(name)
            connection.execute(MISSING.format(json="x'7b7d'"))
            return [connection.execute(statement).fetchall() for statement in statements]
    with psycopg.connect(url) as server:
        server.execute("SET search_path TO turnout")
        server.execute(name)
        server.execute(MISSING.format(json="'{}'::bytea").encode())
        return [server.execute(statement.encode()).fetchall() for statement in statements]


async def fill(store: RunStore) -> None:
    """Leave a job that waits, one that runs, one that failed and one that is done."""
    labels = Labels(tags=("vip", "eu"), user_id="7", metadata=b'{"order":1}')
    for run_id in ("waits", "runs", "failed", "done"):
        run = new_run(run_id, "report", provider="acme", payload=b'{"n":1}', labels=labels)
        await store.events.emit([emission(run)])
    await store.deliveries.record(
        [SendResult(run_id="runs", number=1, due_at=T0, sent_at=T0, provider_run_id="vendor-1")]
    )
    for run_id in ("runs", "failed", "done"):
        started = begin(await store.journals.load(run_id), Timeouts(), T0 + 1_500)
        assert started is not None
        assert await store.journals.apply(started)
    outcomes: dict[str, dict[str, Any]] = {
        "failed": {"state": RunStatus.FAILED, "error": Failure(name="ValueError", message="no")},
        "done": {"state": RunStatus.COMPLETED, "result": b"42"},
    }
    for run_id, outcome in outcomes.items():
        run = (await store.journals.load(run_id)).run
        ended = end(run, now=T0 + 3_000, **outcome)
        assert ended is not None
        assert await store.journals.apply(ended)


async def filled(url: str) -> None:
    """Open a store, and fill it."""
    store = open_run_store(url)
    await fill(store)
    await store.close()


def test_the_queries_of_a_table_of_jobs_run_on_the_view(url: str) -> None:
    """What is active, what failed, what is orphaned: by the columns that such a table has."""
    asyncio.run(filled(url))
    labels = "SELECT tag, user_id, success, result FROM worker_jobs WHERE id = 'done'"
    active, failed, orphaned, done = query(url, ACTIVE, FAILED, ORPHANED, labels)
    assert [(row[0], row[1], row[2], row[4], row[5]) for row in active] == [
        ("runs", "report", "running", None, "vendor-1"),
        ("waits", "report", "queued", None, None),
    ]
    assert "2023-11-14" in str(active[0][3])
    ((run_id, task, result, created_at),) = failed
    assert (run_id, task, "ValueError" in str(result)) == ("failed", "report", True)
    assert "2023-11-14" in str(created_at)
    assert orphaned == [("waits", "delivered again")]
    ((tag, user_id, success, value),) = done
    assert (tag, user_id, bool(success), str(value)) == ("vip", "7", True, "42")

"""A run store behind a pooler in transaction mode: nothing of a session is used."""

import asyncio
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from tests.pooler import pooled
from turnout import Context, Event, app, open_turnout, task
from turnout.model.runs import RunFilter
from turnout.model.status import RunStatus

RUNS = 30


@task("three", on="pooled/three")
async def three(ctx: Context, _payload: dict[str, int]) -> int:
    """Run three steps."""
    return sum([await ctx.step(f"s{n}", lambda: 1) for n in range(3)])


@pytest.fixture
def pooled_url(clean_postgres_url: str) -> Iterator[str]:
    """A pooler in front of the test's database, with fewer connections than the store has."""
    parts = urlsplit(clean_postgres_url)
    socket = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
    with pooled(socket, parts.path.removeprefix("/"), connections=2) as url:
        yield url


def test_the_double_shares_sessions(pooled_url: str) -> None:
    """It does what poolers do: a session's setting is found by another client."""
    with psycopg.connect(pooled_url, autocommit=True) as first:
        first.execute("SET lock_timeout = 1234")
        (process_id,) = first.execute("SELECT pg_backend_pid()").fetchone() or ()
        assert process_id != first.info.backend_pid
    with psycopg.connect(pooled_url, autocommit=True) as second:
        assert second.execute("SHOW lock_timeout").fetchone() == ("1234ms",)


async def test_runs_go_through_behind_a_pooler(pooled_url: str) -> None:
    """Emits, commits in pipelines, and the pump's turns, on connections that change owners."""
    settings = {
        "TURNOUT_DATABASE_URL": pooled_url,
        "TURNOUT_ARTIFACTS": "none",
        "ORCHESTRATOR_PROVIDER": "local",
    }
    async with open_turnout(app("pooled", three), settings) as live:
        for _ in range(RUNS):
            await live.orchestrator.emit(Event(name="pooled/three", payload={}))
        completed = RunFilter(states=frozenset({RunStatus.COMPLETED}), limit=RUNS)
        while len(await live.store.runs.find(completed)) < RUNS:
            await asyncio.sleep(0.05)
    with psycopg.connect(pooled_url, autocommit=True) as connection:
        prepared = connection.execute(
            "SELECT name, statement FROM pg_prepared_statements"
        ).fetchall()
        assert prepared == []
        assert connection.execute("SHOW lock_timeout").fetchone() == ("0",)

"""An emit in a transaction of the caller's: committed with it, undone with it, or refused."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from turnout_testing.conformance.run_store import emission, new_run

from tests.postgres import PostgresServer
from turnout.errors import StoreUnavailable, UnknownRun, WrongUse
from turnout.ports.run_store import RunStore
from turnout.stores.sql import open_run_store

Emit = Callable[[Any], Awaitable[Any]]
"""Emits in the transaction of a connection."""


@pytest.fixture
async def on_postgres(clean_postgres_url: str) -> AsyncIterator[tuple[RunStore, str]]:
    """A store on PostgreSQL, and its URL."""
    store = open_run_store(clean_postgres_url)
    yield store, clean_postgres_url
    await store.close()


@pytest.fixture
async def on_file(tmp_path: Path) -> AsyncIterator[tuple[RunStore, Path]]:
    """A store in a file, and its path."""
    store = open_run_store(f"sqlite:///{tmp_path}/runs.db")
    yield store, tmp_path / "runs.db"
    await store.close()


async def sqlalchemy_connection(url: str, emit: Emit, *, keep: bool) -> None:
    """A SQLAlchemy connection."""
    with create_engine(url).connect() as connection:
        await emit(connection)
        connection.commit() if keep else connection.rollback()


async def sqlalchemy_session(url: str, emit: Emit, *, keep: bool) -> None:
    """A session of SQLAlchemy's ORM."""
    with Session(create_engine(url)) as session:
        await emit(session)
        session.commit() if keep else session.rollback()


async def async_connection(url: str, emit: Emit, *, keep: bool) -> None:
    """An async SQLAlchemy connection."""
    async with create_async_engine(url).connect() as connection:
        await emit(connection)
        await (connection.commit() if keep else connection.rollback())


async def async_session(url: str, emit: Emit, *, keep: bool) -> None:
    """An async session."""
    async with AsyncSession(create_async_engine(url)) as session:
        await emit(session)
        await (session.commit() if keep else session.rollback())


async def psycopg_sync(url: str, emit: Emit, *, keep: bool) -> None:
    """A psycopg connection, with a row factory of the caller's."""
    plain = url.replace("+psycopg", "")
    with psycopg.connect(plain, row_factory=dict_row) as connection:
        await emit(connection)
        connection.commit() if keep else connection.rollback()


async def psycopg_async(url: str, emit: Emit, *, keep: bool) -> None:
    """An async psycopg connection."""
    plain = url.replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(plain) as connection:
        await emit(connection)
        await (connection.commit() if keep else connection.rollback())


async def sqlite_plain(url: str, emit: Emit, *, keep: bool) -> None:
    """A sqlite3 connection, with a row factory of the caller's."""
    connection = sqlite3.connect(url)
    connection.row_factory = sqlite3.Row
    await emit(connection)
    connection.commit() if keep else connection.rollback()
    connection.close()


ON_POSTGRES = [
    sqlalchemy_connection,
    sqlalchemy_session,
    async_connection,
    async_session,
    psycopg_sync,
    psycopg_async,
]
ON_FILE = {
    sqlalchemy_connection: "sqlite:///{}",
    sqlalchemy_session: "sqlite:///{}",
    async_connection: "sqlite+aiosqlite:///{}",
    async_session: "sqlite+aiosqlite:///{}",
    sqlite_plain: "{}",
}


async def commits_and_rolls_back(store: RunStore, url: str, way: Any) -> None:
    """Emit twice in the caller's transaction: once kept, once not."""
    first, second = emission(new_run("kept", key="k1")), emission(new_run("undone", key="k2"))
    seen: list[Any] = []

    async def emit_first(connection: Any) -> None:
        seen.extend(await store.events.emit([first], connection=connection))
        with pytest.raises(UnknownRun):
            await store.journals.load("kept")

    async def emit_second(connection: Any) -> None:
        again = emission(new_run("kept2", key="k1"))
        seen.extend(await store.events.emit([second, again], connection=connection))

    await way(url, emit_first, keep=True)
    await way(url, emit_second, keep=False)
    assert [ref.run_id for told in seen for ref in told.runs] == ["kept", "undone", "kept"]
    assert (await store.journals.load("kept")).run.task == "t"
    assert [each.number for each in await store.deliveries.read("kept")] == [1]
    with pytest.raises(UnknownRun):
        await store.journals.load("undone")
    (told,) = await store.events.emit([emission(new_run("later", key="k2"))])
    assert not told.runs[0].duplicate


@pytest.mark.parametrize("way", ON_POSTGRES, ids=lambda way: way.__name__)
async def test_an_emit_on_postgres_shares_the_callers_fate(
    way: Any, on_postgres: tuple[RunStore, str]
) -> None:
    """Nothing is seen before the caller's commit, and nothing stays after a rollback."""
    store, url = on_postgres
    await commits_and_rolls_back(store, url.replace("postgresql:", "postgresql+psycopg:"), way)


@pytest.mark.parametrize("way", ON_FILE, ids=lambda way: way.__name__)
async def test_an_emit_on_a_file_shares_the_callers_fate(
    way: Any, on_file: tuple[RunStore, Path]
) -> None:
    """Nothing is seen before the caller's commit, and nothing stays after a rollback."""
    store, path = on_file
    await commits_and_rolls_back(store, ON_FILE[way].format(path), way)


async def test_a_connection_to_another_server_database_is_refused(
    on_postgres: tuple[RunStore, str], postgres_server: PostgresServer
) -> None:
    """Both databases are named, and the caller's transaction goes on."""
    store, _ = on_postgres
    with (
        postgres_server.database(empty=True) as other,
        psycopg.connect(other) as connection,
    ):
        with pytest.raises(WrongUse, match=r"turnout_test_.*turnout_cleaned"):
            await store.events.emit([emission(new_run())], connection=connection)
        assert connection.execute("SELECT 1").fetchone() == (1,)


async def test_a_connection_to_another_kind_of_database_is_refused(
    on_postgres: tuple[RunStore, str],
) -> None:
    """A SQLite connection is not on PostgreSQL."""
    store, _ = on_postgres
    with pytest.raises(WrongUse, match=r"on sqlite.*on postgresql"):
        await store.events.emit([emission(new_run())], connection=sqlite3.connect(":memory:"))


async def test_a_connection_to_another_file_is_refused(
    on_file: tuple[RunStore, Path], tmp_path: Path
) -> None:
    """Both files are named."""
    store, _ = on_file
    other = sqlite3.connect(tmp_path / "other.db")
    with pytest.raises(WrongUse, match=r"other\.db.*runs\.db"):
        await store.events.emit([emission(new_run())], connection=other)


async def test_a_store_in_memory_takes_no_callers_connection() -> None:
    """Nobody else can be on it."""
    store = open_run_store("sqlite://")
    with pytest.raises(WrongUse, match="in memory"):
        await store.events.emit([emission(new_run())], connection=sqlite3.connect(":memory:"))
    await store.close()


async def test_a_connection_that_commits_by_itself_is_refused(
    on_file: tuple[RunStore, Path], on_postgres: tuple[RunStore, str]
) -> None:
    """Each statement would be a commit; in a transaction that was begun it is none."""
    store, path = on_file
    plain = sqlite3.connect(path, isolation_level=None)
    with pytest.raises(WrongUse, match="BEGIN"):
        await store.events.emit([emission(new_run())], connection=plain)
    plain.execute("BEGIN")
    await store.events.emit([emission(new_run())], connection=plain)
    plain.execute("COMMIT")
    assert (await store.journals.load("r1")).run.run_id == "r1"
    store, url = on_postgres
    with psycopg.connect(url, autocommit=True) as connection:
        with pytest.raises(WrongUse, match="transaction"):
            await store.events.emit([emission(new_run())], connection=connection)
        with connection.transaction():
            await store.events.emit([emission(new_run())], connection=connection)
    assert (await store.journals.load("r1")).run.run_id == "r1"
    engine = create_engine(
        url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as automatic, pytest.raises(WrongUse, match="commits by itself"):
        await store.events.emit([emission(new_run("r2"))], connection=automatic)


async def test_a_file_that_is_locked_is_told_as_unavailable(
    on_file: tuple[RunStore, Path],
) -> None:
    """The caller's own connection waits as long as it was told to, and may try again."""
    store, path = on_file
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    mine = sqlite3.connect(path, timeout=0)
    with pytest.raises(StoreUnavailable):
        await store.events.emit([emission(new_run())], connection=mine)
    holder.execute("ROLLBACK")
    await store.events.emit([emission(new_run())], connection=mine)
    mine.commit()
    assert (await store.journals.load("r1")).run.run_id == "r1"

"""Opening a run store: its URL, its tables and their versions, and a database that goes away."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from turnout_testing.conformance.run_store import emission, new_run

from scripts.tables_page import tables_page
from tests.postgres import PostgresServer
from turnout.errors import InvalidSettings, StoreUnavailable, UnknownRun
from turnout.model.runs import RunFilter
from turnout.stores.sql import committer, migrate, open_run_store, sqlite, upgrade
from turnout.stores.sql.schema import VERSION_TABLE, metadata

PAGE = Path(__file__).parents[3] / "migration_docs" / "tables.md"


@pytest.fixture
def empty_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A database without our tables."""
    with postgres_server.database(empty=True) as url:
        yield url


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://u:hunter2@h/d", "no run store for 'mysql'"),
        ("postgresql+asyncpg://u:hunter2@h/d", "no run store for 'postgresql.asyncpg'"),
        ("hunter2", "cannot be read"),
        ("postgresql://u:hunter2@h:bad/d", "^TURNOUT_DATABASE_URL: .* cannot be read"),
        ("postgresql://u:hunter2@[::1/d", "^TURNOUT_DATABASE_URL: .* cannot be read"),
        ("sqlite:////nowhere/at/all/runs.db", "no folder /nowhere/at/all"),
    ],
)
def test_a_url_that_cannot_be_is_told_without_its_secret(url: str, told: str) -> None:
    """The error names what is wrong and never the password."""
    with pytest.raises(InvalidSettings, match=told) as caught:
        open_run_store(url)
    assert "hunter2" not in str(caught.value)


def test_a_server_that_does_not_answer_is_told_without_its_secret() -> None:
    """Neither the error nor what it came from shows the password."""
    with pytest.raises(StoreUnavailable) as caught:
        open_run_store("postgresql://u:hunter2@127.0.0.1:1/d?connect_timeout=1")
    assert "127.0.0.1" in str(caught.value)
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


async def test_a_store_is_shown_without_its_secret(postgres_url: str) -> None:
    """Its representation names the database only."""
    store = open_run_store(postgres_url.replace("postgres@", "postgres:hunter2@"))
    assert "hunter2" not in repr(store)
    assert "turnout_test" in repr(store)
    await store.close()


def test_sqlite_has_no_schemas() -> None:
    """A second store has a file of its own."""
    with pytest.raises(InvalidSettings, match="its own file"):
        open_run_store("sqlite://", schema="shadow")


def test_tables_of_a_newer_version_are_refused_in_a_file(tmp_path: Path) -> None:
    """The revision that is there is named, and the newest that is known."""
    url = f"sqlite:///{tmp_path}/runs.db"
    upgrade(url)
    connection = sqlite3.connect(tmp_path / "runs.db")
    connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    connection.execute("UPDATE turnout_store SET oldest_code = '9998'")
    connection.commit()
    with pytest.raises(InvalidSettings, match=rf"'9999'.*{migrate.HEAD}"):
        open_run_store(url)


def test_tables_of_a_newer_version_are_refused_on_a_server(postgres_url: str) -> None:
    """The same on PostgreSQL."""
    with psycopg.connect(postgres_url) as connection:
        connection.execute(f"UPDATE turnout.{VERSION_TABLE} SET version_num = '9999'")
        connection.execute("UPDATE turnout.turnout_store SET oldest_code = '9998'")
    with pytest.raises(InvalidSettings, match="'9999'"):
        open_run_store(postgres_url)


@pytest.mark.parametrize("kind", ["file", "server"])
def test_many_that_open_at_once_make_the_tables_once(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """One upgrades, the others wait and find it done."""
    url = (
        f"sqlite:///{tmp_path}/runs.db" if kind == "file" else request.getfixturevalue("empty_url")
    )
    told: list[Any] = []

    def make() -> None:
        try:
            told.append(upgrade(url))
        except Exception as error:  # noqa: BLE001 - shown by the assertion
            told.append(error)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert told == [migrate.HEAD] * 4


def _differences(engine_url: str, schema: str | None) -> list[Any]:
    engine = create_engine(engine_url)
    with engine.connect() as connection:
        if schema:
            connection.exec_driver_sql(f"SET search_path TO {schema}")
            connection.dialect.default_schema_name = schema
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_type": True}
        )
        return list(compare_metadata(context, metadata))


def test_the_migrations_make_the_tables_in_a_file(tmp_path: Path) -> None:
    """Nothing differs from what the code expects, which is what a store in memory has."""
    upgrade(f"sqlite:///{tmp_path}/runs.db")
    assert _differences(f"sqlite:///{tmp_path}/runs.db", None) == []


def test_the_migrations_make_the_tables_on_a_server(postgres_url: str) -> None:
    """Nothing differs from what the code expects."""
    url = postgres_url.replace("postgresql:", "postgresql+psycopg:")
    assert _differences(url, "turnout") == []


def test_the_newest_migration_is_the_one_the_code_needs() -> None:
    """The revision is said twice, so that opening a store needs no Alembic."""
    config = Config()
    config.set_main_option("script_location", "turnout.stores.sql:migrations")
    folder = ScriptDirectory.from_config(config)
    assert folder.get_current_head() == migrate.HEAD
    assert {each.revision for each in folder.walk_revisions()} == migrate.KNOWN


def test_the_page_of_tables_is_up_to_date() -> None:
    """`python -m scripts.tables_page > migration_docs/tables.md` writes it."""
    assert PAGE.read_text() == tables_page()


def test_a_user_who_may_only_read_claims_no_store(postgres_url: str) -> None:
    """It is said in one sentence, with what to do; a store that is claimed can be opened."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for statement in (
            "CREATE ROLE looker LOGIN",
            "GRANT USAGE ON SCHEMA turnout TO looker",
            "GRANT SELECT ON ALL TABLES IN SCHEMA turnout TO looker",
        ):
            connection.execute(statement)
    reader = postgres_url.replace("postgres@", "looker@")
    try:
        with pytest.raises(InvalidSettings, match=r"permission denied .* start the service"):
            open_run_store(reader, app="shop")
        for url in (postgres_url, reader):
            asyncio.run(open_run_store(url, app="shop").close())
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("DROP OWNED BY looker")
            connection.execute("DROP ROLE looker")


async def test_two_schemas_are_two_stores(postgres_url: str) -> None:
    """A shadow's store lies beside the first and shares nothing with it."""
    first, shadow = open_run_store(postgres_url), open_run_store(postgres_url, schema="a Shadow")
    await first.events.emit([emission(new_run("r1", key="k"))])
    (told,) = await shadow.events.emit([emission(new_run("r1-dryrun", key="k"))])
    assert not told.runs[0].duplicate
    assert [run.run_id for run in await first.runs.find(RunFilter())] == ["r1"]
    assert [run.run_id for run in await shadow.runs.find(RunFilter())] == ["r1-dryrun"]
    await first.close()
    await shadow.close()


async def test_a_store_finds_its_runs_again(tmp_path: Path) -> None:
    """What was committed is there when the file is opened next."""
    for _ in range(2):
        store = open_run_store(f"sqlite:///{tmp_path}/runs.db")
        await store.events.emit([emission(new_run("r1", key="k"))])
        await store.close()
    store = open_run_store(f"sqlite:///{tmp_path}/runs.db")
    assert [run.run_id for run in await store.runs.find(RunFilter())] == ["r1"]
    await store.close()


async def test_a_closed_store_refuses() -> None:
    """It was let go of; what was begun before is finished."""
    store = open_run_store("sqlite://")
    begun = asyncio.ensure_future(store.events.emit([emission(new_run())]))
    await asyncio.sleep(0)
    await store.close()
    assert (await begun)[0].runs[0].run_id == "r1"
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.journals.load("r1")


def test_a_store_serves_several_loops(tmp_path: Path) -> None:
    """Threads with loops of their own share one store, and its groups."""
    store = open_run_store(f"sqlite:///{tmp_path}/runs.db")

    async def emits(part: int) -> None:
        calls = [store.events.emit([emission(new_run(f"r{part}-{at}"))]) for at in range(20)]
        await asyncio.gather(*calls)

    threads = [threading.Thread(target=lambda at=at: asyncio.run(emits(at))) for at in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(asyncio.run(store.runs.find(RunFilter(limit=999)))) == 80
    asyncio.run(store.close())


async def test_a_caller_that_gives_up_leaves_the_others(tmp_path: Path) -> None:
    """A cancelled await takes nobody else's commit with it."""
    store = open_run_store(f"sqlite:///{tmp_path}/runs.db")
    calls = [
        asyncio.ensure_future(store.events.emit([emission(new_run(f"r{at}"))])) for at in range(10)
    ]
    await asyncio.sleep(0)
    calls[3].cancel()
    told = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(each, asyncio.CancelledError) for each in told) == 1
    assert len(await store.runs.find(RunFilter())) >= 9
    await store.close()


async def test_a_broken_connection_is_made_anew(postgres_url: str) -> None:
    """Whoever cuts all connections is not noticed by the next call."""
    store = open_run_store(postgres_url)
    await store.events.emit([emission(new_run("r1"))])
    await store.journals.load("r1")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'turnout' AND datname = current_database()"
        )
    calls = [store.events.emit([emission(new_run(f"n{at}"))]) for at in range(8)]
    await asyncio.gather(*calls)
    assert len(await store.runs.find(RunFilter())) == 9
    await store.close()


async def test_a_file_that_stays_locked_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After a few tries the caller is told to come back; then it works again."""
    monkeypatch.setattr(sqlite, "BUSY_MS", 10)
    monkeypatch.setattr(committer, "FIRST_PAUSE", 0.001)
    store = open_run_store(f"sqlite:///{tmp_path}/runs.db")
    holder = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with caplog.at_level(logging.ERROR), pytest.raises(StoreUnavailable, match="busy"):
        await store.events.emit([emission(new_run())])
    with pytest.raises(UnknownRun):
        await store.journals.load("r1")  # readers are not in the way of writers
    holder.execute("ROLLBACK")
    await store.events.emit([emission(new_run())])
    await store.close()


async def test_a_fault_in_a_commit_answers_all_who_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever breaks, nobody waits for ever, it is logged, and the next commit is made."""
    caplog.set_level(logging.CRITICAL)
    store = open_run_store(f"sqlite:///{tmp_path}/runs.db")
    with monkeypatch.context() as broken:

        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("a bug")

        broken.setattr(sqlite.SqliteConnection, "begin", fail)
        calls = [store.events.emit([emission(new_run(f"r{at}"))]) for at in range(5)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [RuntimeError] * 5
    await store.events.emit([emission(new_run("after"))])
    assert [run.run_id for run in await store.runs.find(RunFilter())] == ["after"]
    await store.close()


async def test_tables_of_the_first_release_are_upgraded_with_what_is_in_them(
    tmp_path: Path,
) -> None:
    """A run of older code is read, and has streamed nothing; what older code inserts is good."""
    url, file = f"sqlite:///{tmp_path}/runs.db", tmp_path / "runs.db"
    store = open_run_store(url)
    await store.events.emit([emission(new_run("r1"))])
    await store.close()
    with sqlite3.connect(file) as connection:
        connection.execute("DROP TABLE turnout_chunks")
        connection.execute("DROP INDEX turnout_deliveries_by_vendor_run")
        later = {
            "turnout_runs": ("streamed", "chunks"),
            "turnout_attempts": ("streamed",),
            "turnout_replicas": ("links",),
            "turnout_deliveries": ("reason", "epoch"),
            "turnout_store": ("app", "environment", "epoch", "oldest_code"),
        }
        for table, columns in later.items():
            for column in columns:
                connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '0001'")
    assert upgrade(url) == migrate.HEAD
    store = open_run_store(url)
    run, chunks = await store.journals.streamed("r1", after=0, limit=1)
    assert (run.chunks, run.streamed, tuple(chunks)) == (0, None, ())
    await store.close()

"""Runs operations in a transaction of the caller's; says which connections can be used."""

import asyncio
import sqlite3
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.base import Executable

from turnout.errors import StoreUnavailable, WrongUse
from turnout.stores.sql.statements import (
    BatchStatement,
    Contended,
    Params,
    Row,
    Statements,
    Transaction,
    batches,
)

Result = TypeVar("Result")

ACCEPTED = (
    "a SQLAlchemy Connection, Session, AsyncConnection or AsyncSession (on sqlite3, aiosqlite or"
    " psycopg), a psycopg Connection or AsyncConnection, or a sqlite3 Connection"
)


class StoreDatabase(Protocol):
    """The database of the store, as far as callers' connections need it."""

    statements: Statements
    drivers: frozenset[str]
    """SQLAlchemy's names of the drivers whose connections can be used."""
    backend: str
    errors: tuple[type[Exception], ...]
    """The exceptions that its driver raises."""

    def check(self, run: "RunSql") -> None:
        """Refuse a connection that is on another database."""
        ...

    def lock(self, run: "RunSql", name: str, *, shared: bool) -> None:
        """Hold a name until the caller's transaction ends."""
        ...

    def translated(self, error: Exception) -> Exception:
        """Translate an error of the driver."""
        ...


RunSql = Callable[[str, Row], tuple[Sequence[Row], int]]
"""Runs a statement as text; gives its rows, and how many it changed."""


class CallersTransaction:
    """Runs statements in the caller's transaction."""

    untouched = False

    def __init__(self, database: StoreDatabase, run: RunSql) -> None:
        self.made_due = False
        self._database = database
        self._run = run

    def rows(self, statement: Executable, params: Params) -> Sequence[Row]:
        """Run a statement and read all its rows."""
        return self._execute(statement, params)[0]

    def changed(self, statement: Executable, params: Params) -> int:
        """Run a statement and say how many rows it changed."""
        return self._execute(statement, params)[1]

    def write(self, statement: Executable, params: Params) -> None:
        """Run a statement whose result is not needed."""
        self._execute(statement, params)

    def write_rows(self, batch: BatchStatement, rows: Sequence[Row]) -> None:
        """Run a statement over these rows; its result is not needed."""
        self.returning(batch, rows)

    def returning(self, batch: BatchStatement, rows: Sequence[Row]) -> Sequence[Row]:
        """Run a statement over these rows, and read all that it returns."""
        returned: list[Row] = []
        for size, values in batches(rows):
            returned += self._run(self._database.statements.batch(batch, size), values)[0]
        return returned

    def lock(self, name: str, *, shared: bool = False) -> None:
        """Hold a name until the caller's transaction ends."""
        self._database.lock(self._run, name, shared=shared)

    def _execute(self, statement: Executable, params: Params) -> tuple[Sequence[Row], int]:
        compiled = self._database.statements[statement]
        return self._run(compiled.sql, compiled.values(params))


class CallerTransactions:
    """Runs an operation in whatever transaction a caller brings; commits nothing."""

    def __init__(self, database: StoreDatabase) -> None:
        self._database = database

    async def run(self, connection: Any, work: Callable[[Transaction], Result]) -> Result:
        """Run an operation in the caller's transaction; `WrongUse` says why it cannot be used."""
        try:
            return await self._dispatch(connection, work)
        except Contended as error:
            raise StoreUnavailable(
                "others hold what this emit needs; try again (on SQLite: BEGIN IMMEDIATE)"
            ) from error

    async def _dispatch(  # noqa: PLR0911 - one for each kind
        self, connection: Any, work: Callable[[Transaction], Result]
    ) -> Result:
        if isinstance(connection, sqlite3.Connection):
            return self._run_in(_of_sqlite(connection), work, "sqlite")
        if _is_a(connection, "psycopg", "Connection"):
            return self._run_in(_of_psycopg(connection), work, "postgresql")
        if _is_a(connection, "psycopg", "AsyncConnection"):
            run = _of_async_psycopg(connection, asyncio.get_running_loop())
            return await asyncio.to_thread(self._run_in, run, work, "postgresql")
        if _is_a(connection, "sqlalchemy.engine", "Connection"):
            return self._with_sqlalchemy(connection, work)
        if _is_a(connection, "sqlalchemy.orm", "Session"):
            return self._with_session(connection, work)
        if _is_a(connection, "sqlalchemy.ext.asyncio", "AsyncConnection"):
            result: Result = await connection.run_sync(self._with_sqlalchemy, work)
            return result
        if _is_a(connection, "sqlalchemy.ext.asyncio", "AsyncSession"):
            outcome: Result = await connection.run_sync(self._with_session, work)
            return outcome
        kind = type(connection)
        raise WrongUse(
            f"connection: a {kind.__module__}.{kind.__qualname__} cannot be used; give {ACCEPTED}"
        )

    def _with_session(self, session: Any, work: Callable[[Transaction], Result]) -> Result:
        return self._with_sqlalchemy(session.connection(), work)

    def _with_sqlalchemy(self, connection: Any, work: Callable[[Transaction], Result]) -> Result:
        dialect = connection.dialect
        if dialect.name == self._database.backend and dialect.driver not in self._database.drivers:
            raise WrongUse(
                f"connection: the driver {dialect.driver!r} cannot be used; give {ACCEPTED}"
            )
        if dialect.name == self._database.backend and _commits_by_itself(connection):
            raise WrongUse("connection: it commits by itself; give one with a transaction")
        return self._run_in(_of_sqlalchemy(connection), work, dialect.name)

    def _run_in(self, run: RunSql, work: Callable[[Transaction], Result], backend: str) -> Result:
        if backend != self._database.backend:
            raise WrongUse(
                f"connection: it is on {backend}, and the run store is on {self._database.backend}"
            )
        try:
            self._database.check(run)
            return work(CallersTransaction(self._database, run))
        except DBAPIError as error:
            # SQLAlchemy wraps the driver's error, which says what happened.
            cause = error.orig if isinstance(error.orig, Exception) else error
            raise self._database.translated(cause) from error
        except self._database.errors as error:
            raise self._database.translated(error) from error


def _commits_by_itself(connection: Any) -> bool:
    """Whether a SQLAlchemy connection has no transaction that could be shared."""
    driver = connection.connection.driver_connection
    if connection.dialect.name != "sqlite":
        return bool(driver.autocommit)
    if driver.isolation_level is not None:
        return False
    # Its engine may write BEGIN itself, as SQLAlchemy's documentation advises.
    connection.exec_driver_sql("SELECT 1")
    return not driver.in_transaction


def _is_a(connection: Any, module: str, name: str) -> bool:
    """Whether the connection is of a class, without importing the class's module."""
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(connection, kind)


def _of_sqlite(connection: sqlite3.Connection) -> RunSql:
    if connection.isolation_level is None and not connection.in_transaction:
        raise WrongUse("connection: it commits by itself; execute BEGIN first")
    cursor = connection.cursor()
    cursor.row_factory = None

    def run(sql: str, params: Row) -> tuple[Sequence[Row], int]:
        cursor.execute(sql, params)
        return cursor.fetchall(), cursor.rowcount

    return run


def _of_psycopg(connection: Any) -> RunSql:
    _check_psycopg(connection)
    psycopg = sys.modules["psycopg"]
    cursor = psycopg.Cursor(connection, row_factory=psycopg.rows.tuple_row)

    def run(sql: str, params: Row) -> tuple[Sequence[Row], int]:
        cursor.execute(sql, params)
        return (cursor.fetchall() if cursor.description else ()), cursor.rowcount

    return run


def _of_async_psycopg(connection: Any, loop: asyncio.AbstractEventLoop) -> RunSql:
    """Run statements on the caller's loop, for an operation that runs in a thread."""
    _check_psycopg(connection)
    psycopg = sys.modules["psycopg"]
    cursor = psycopg.AsyncCursor(connection, row_factory=psycopg.rows.tuple_row)

    async def execute(sql: str, params: Row) -> tuple[Sequence[Row], int]:
        await cursor.execute(sql, params)
        return (await cursor.fetchall() if cursor.description else ()), cursor.rowcount

    def run(sql: str, params: Row) -> tuple[Sequence[Row], int]:
        return asyncio.run_coroutine_threadsafe(execute(sql, params), loop).result()

    return run


def _check_psycopg(connection: Any) -> None:
    idle = sys.modules["psycopg"].pq.TransactionStatus.IDLE
    if connection.autocommit and connection.info.transaction_status == idle:
        raise WrongUse("connection: it commits by itself; use `with connection.transaction():`")


def _of_sqlalchemy(connection: Any) -> RunSql:
    def run(sql: str, params: Row) -> tuple[Sequence[Row], int]:
        result = connection.exec_driver_sql(sql, params)
        rows = [tuple(row) for row in result.fetchall()] if result.returns_rows else ()
        return rows, result.rowcount

    return run

"""SQLite: one writer at a time, readers beside it.

WAL, so that readers never wait. `synchronous=FULL`: a commit is on the disk when it returns, power
loss included; a group of commits shares the one fsync that this costs. A group that only takes what
can be taken again is committed without it: the next durable commit writes it to the disk, in order.
`BEGIN IMMEDIATE`: a transaction that will write takes the lock first, so it never fails half-way.
"""

import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import URL, NullPool, create_engine
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql.base import Executable

from turnout.errors import InvalidSettings, WrongUse
from turnout.stores.private_files import FILE_MODE
from turnout.stores.sql.caller_transactions import RunSql
from turnout.stores.sql.connections import ConnectionLost
from turnout.stores.sql.identity import Owner, claim_store
from turnout.stores.sql.migrate import is_current, run_migrations
from turnout.stores.sql.schema import VERSION_TABLE, metadata
from turnout.stores.sql.statements import (
    BatchStatement,
    Contended,
    Params,
    Row,
    Statements,
    batches,
    sqlite_statements,
)

BUSY_MS: Final = 5_000
"""How long a transaction waits for another process's, each time it is tried."""
UPGRADE_SECONDS: Final = 60
"""How long an upgrade waits for another process's."""
WAL_PAUSE: Final = 0.02
"""Seconds between tries to change a new file's mode."""
_DURABLY: Final = "PRAGMA synchronous = FULL"
_LIGHTLY: Final = "PRAGMA synchronous = NORMAL"

_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_BROKEN: Final = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
    }
)


class SqliteTransaction:
    """Runs statements on a connection's cursor."""

    def __init__(self, cursor: sqlite3.Cursor, statements: Statements) -> None:
        self.untouched = True
        self.made_due = False
        self._cursor = cursor
        self._statements = statements

    def rows(self, statement: Executable, params: Params) -> Sequence[Row]:
        """Run a statement and read all its rows."""
        compiled = self._statements[statement]
        return self._cursor.execute(compiled.sql, compiled.values(params)).fetchall()

    def changed(self, statement: Executable, params: Params) -> int:
        """Run a statement and say how many rows it changed."""
        compiled = self._statements[statement]
        count = self._cursor.execute(compiled.sql, compiled.values(params)).rowcount
        if count:
            self.untouched = False
        return count

    def write(self, statement: Executable, params: Params) -> None:
        """Run a statement whose result is not needed."""
        self.untouched = False
        compiled = self._statements[statement]
        self._cursor.execute(compiled.sql, compiled.values(params))

    def write_rows(self, batch: BatchStatement, rows: Sequence[Row]) -> None:
        """Run a statement over these rows; its result is not needed."""
        if rows:
            self.untouched = False
        for size, values in batches(rows):
            self._cursor.execute(self._statements.batch(batch, size), values)

    def returning(self, batch: BatchStatement, rows: Sequence[Row]) -> Sequence[Row]:
        """Run a statement over these rows, and read all that it returns."""
        returned: list[Row] = []
        for size, values in batches(rows):
            returned += self._cursor.execute(self._statements.batch(batch, size), values).fetchall()
        if returned:
            self.untouched = False
        return returned

    def lock(self, name: str, *, shared: bool = False) -> None:
        """Nothing to do: SQLite has one writer at a time."""


class SqliteConnection:
    """A connection of the store's own."""

    def __init__(self, connection: sqlite3.Connection, statements: Statements) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._light = False
        self.tx = SqliteTransaction(self._cursor, statements)

    def begin(self, *, reading: bool, patient: bool, lightly: bool) -> None:  # noqa: ARG002 - the Protocol's
        """Begin; a writer waits for its turn."""
        if lightly != self._light:
            self._cursor.execute(_LIGHTLY if lightly else _DURABLY)
            self._light = lightly
        self._cursor.execute("BEGIN" if reading else "BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commit; the commit is on disk when this returns, unless it was begun lightly."""
        self._cursor.execute("COMMIT")

    def rollback(self) -> None:
        """Undo the transaction, if one is open."""
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._cursor.execute("ROLLBACK")

    def translated(self, error: Exception) -> Exception:
        """Translate an error of the driver."""
        return translated(error)

    def close(self) -> None:
        """Close the file."""
        with suppress(sqlite3.Error):
            self._connection.close()


class SqliteDatabase:
    """A file, or one database in memory."""

    backend = "sqlite"
    drivers = frozenset({"pysqlite", "aiosqlite"})
    errors: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.name = "sqlite://" if path is None else f"sqlite:///{path}"
        self.statements = sqlite_statements()

    def threads(self, _writers: int) -> tuple[int, int]:
        """Return how many writing and reading threads to use; in memory there is no reader."""
        return (1, 0) if self.path is None else (1, 1)

    def prepare(self, owner: Owner | None) -> None:
        """Make or upgrade the tables of a file; those in memory are made as it is opened."""
        if self.path is None:
            return
        if not self.path.parent.is_dir():
            raise InvalidSettings(f"{self.name}: there is no folder {self.path.parent}")
        self._make_file()
        connection = self._connect(reading=False)
        try:
            if not _is_current(connection):
                self._upgrade()
            if owner is not None:
                claim_store(SqliteConnection(connection, self.statements), self.name, owner)
        except sqlite3.Error as error:
            raise translated(error) from error
        finally:
            connection.close()

    def open(self, *, reading: bool) -> SqliteConnection:
        """Open a connection; `ConnectionLost` where the file cannot be opened."""
        connection = self._connect(reading=reading)
        if self.path is None:
            _make_tables(connection)
        return SqliteConnection(connection, self.statements)

    def check(self, run: RunSql) -> None:
        """Refuse a connection that is on another file."""
        if self.path is None:
            raise WrongUse("connection: a run store in memory is nobody else's; give it a file")
        files = {row[1]: row[2] for row in run("PRAGMA database_list", ())[0]}
        file = files.get("main") or ":memory:"
        if not (Path(file).exists() and self.path.exists() and self.path.samefile(file)):
            raise WrongUse(f"connection: it is on {file}, and the run store is {self.path}")

    def lock(self, run: RunSql, name: str, *, shared: bool) -> None:
        """Nothing to do: SQLite has one writer at a time."""

    def translated(self, error: Exception) -> Exception:
        """Translate an error of sqlite3."""
        return translated(error)

    def _make_file(self) -> None:
        """Make the file before SQLite does: SQLite gives its mode to the files beside it."""
        if self.path is not None and not self.path.exists():
            with suppress(OSError):  # SQLite says what is wrong
                self.path.touch(FILE_MODE)

    def _connect(self, *, reading: bool) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                ":memory:" if self.path is None else self.path,
                timeout=BUSY_MS / 1_000,
                isolation_level=None,
                check_same_thread=False,  # may be closed by another thread than its own
                cached_statements=512,
            )
            _use_wal(connection)
            connection.execute(_DURABLY)
            connection.execute("PRAGMA foreign_keys = ON")
            if reading:
                connection.execute("PRAGMA query_only = ON")
        except sqlite3.Error as error:
            raise translated(error) from error
        return connection

    def _upgrade(self) -> None:
        """Run the migrations while nobody else writes."""
        engine = create_engine(
            URL.create("sqlite", database=str(self.path)),
            poolclass=NullPool,
            connect_args={"timeout": UPGRADE_SECONDS, "isolation_level": None},
        )
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            raw = connection.connection.dbapi_connection
            if not _is_current(raw):  # unless another process has upgraded them meanwhile
                run_migrations(connection)
            connection.exec_driver_sql("COMMIT")


def _use_wal(connection: sqlite3.Connection) -> None:
    # SQLite does not wait for other processes when it changes the mode of a new file.
    deadline = time.monotonic() + BUSY_MS / 1_000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not _busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(WAL_PAUSE)
        else:
            return


def _is_current(connection: Any) -> bool:
    """Whether the tables need no upgrade."""

    def oldest_code() -> str:
        ((oldest,),) = connection.execute("SELECT oldest_code FROM turnout_store").fetchall()
        return str(oldest)

    return is_current(_revision(connection), oldest_code)


def _revision(connection: Any) -> str | None:
    """Read the revision of the tables; None where there are none."""
    table = connection.execute(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (VERSION_TABLE,)
    ).fetchone()
    if table is None:
        return None
    row = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608 - a constant
    return None if row is None else str(row[0])


def _make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables from the schema: the same as by the migrations, and much faster."""
    dialect = sqlite.dialect()
    for table in metadata.sorted_tables:
        connection.execute(str(CreateTable(table).compile(dialect=dialect)))
        for index in table.indexes:
            connection.execute(str(CreateIndex(index).compile(dialect=dialect)))
    connection.execute("INSERT INTO turnout_store (store_id) VALUES (?)", (uuid4().hex,))


def translated(error: Exception) -> Exception:
    """Translate an error of sqlite3: `Contended`, `ConnectionLost`, or the error itself."""
    if not isinstance(error, sqlite3.DatabaseError):
        return error
    if _busy(error):
        return Contended(str(error))
    return ConnectionLost(f"SQLite: {error}") if _code(error) in _BROKEN else error


def _busy(error: sqlite3.DatabaseError) -> bool:
    return _code(error) in _BUSY


def _code(error: sqlite3.DatabaseError) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF

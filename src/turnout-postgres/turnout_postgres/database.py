"""PostgreSQL: several connections commit side by side.

READ COMMITTED is enough: a run changes by one compare-and-set, and operations that must not run at
the same time lock a name (an advisory lock) until they are committed. Behind a pooler in
transaction mode nothing is prepared, and no setting of a session is used.
Statements whose result is not needed are sent without waiting for their answers (pipeline mode). A
group waits for locks only briefly; an operation that finds one taken runs again alone, and waits.
So a deadlock ends soon, and one busy row does not delay the other operations of its group.
"""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import cache
from typing import Any, Final

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row
from psycopg.types.numeric import Int8Dumper
from sqlalchemy import URL, NullPool, create_engine
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect
from sqlalchemy.sql.base import Executable

from turnout.errors import InvalidSettings, WrongUse
from turnout.stores.sql.caller_transactions import RunSql
from turnout.stores.sql.connections import ConnectionLost
from turnout.stores.sql.identity import Owner, claim_store
from turnout.stores.sql.migrate import is_current, run_migrations
from turnout.stores.sql.schema import VERSION_TABLE
from turnout.stores.sql.statements import (
    BatchStatement,
    Contended,
    NameHeld,
    Params,
    Row,
    Statements,
    batches,
)
from turnout_postgres.connecting import connection_parameters, has_session, number
from turnout_postgres.signals import PostgresSignals

HURRIED_MS: Final = 200
PATIENT_MS: Final = 5_000
"""How long an operation waits for a lock: in a group HURRIED_MS, alone PATIENT_MS."""
UPGRADE_MS: Final = 60_000

_DIALECT: Final = psycopg_dialect.dialect(paramstyle="format")  # type: ignore[no-untyped-call]
_CONTENDED: Final = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    psycopg.errors.LockNotAvailable,
)
_BEYOND_LIMITS: Final = (psycopg.errors.ProgramLimitExceeded, psycopg.errors.StatementTooComplex)
"""What the server refuses for good, such as a value too long for an index; the connection lives."""


class PostgresTransaction:
    """Runs statements on a connection in pipeline mode."""

    def __init__(self, connection: "psycopg.Connection[Row]", statements: Statements) -> None:
        self._connection = connection
        self._statements = statements
        # Reused: making a cursor costs half as much as running a statement.
        self._reading = connection.cursor(binary=True)
        self._writing = connection.cursor(binary=True)
        self._batching: list[psycopg.Cursor[Row]] = []
        self.untouched = True
        self.made_due = False
        self.patient = True
        self.pipeline: psycopg.Pipeline | None = None
        self.locked: set[str] = set()
        """The names that this transaction has locked for itself alone."""

    def rows(self, statement: Executable, params: Params) -> Sequence[Row]:
        """Run a statement and read all its rows."""
        compiled = self._statements[statement]
        return self._reading.execute(compiled.sql, compiled.values(params)).fetchall()

    def changed(self, statement: Executable, params: Params) -> int:
        """Run a statement and say how many rows it changed."""
        compiled = self._statements[statement]
        self._reading.execute(compiled.sql, compiled.values(params))
        if self.pipeline is not None:
            self.pipeline.sync()
        if self._reading.rowcount:
            self.untouched = False
        return self._reading.rowcount

    def write(self, statement: Executable, params: Params) -> None:
        """Send a statement; if it fails, the next statement that is waited for raises."""
        self.untouched = False
        compiled = self._statements[statement]
        self._writing.execute(compiled.sql, compiled.values(params))

    def write_rows(self, batch: BatchStatement, rows: Sequence[Row]) -> None:
        """Send a statement over these rows."""
        if rows:
            self.untouched = False
        for size, values in batches(rows):
            self._writing.execute(self._statements.batch(batch, size), values)

    def returning(self, batch: BatchStatement, rows: Sequence[Row]) -> Sequence[Row]:
        """Run a statement over these rows, and read all that it returns, in one round trip."""
        running = [
            self._batch_cursor(number).execute(self._statements.batch(batch, size), values)
            for number, (size, values) in enumerate(batches(rows))
        ]
        returned = [row for cursor in running for row in cursor.fetchall()]
        if returned:
            self.untouched = False
        return returned

    def _batch_cursor(self, number: int) -> "psycopg.Cursor[Row]":
        if number == len(self._batching):
            self._batching.append(self._connection.cursor(binary=True))
        return self._batching[number]

    def lock(self, name: str, *, shared: bool = False) -> None:
        """Lock a name; in a group, an exclusive lock that is taken raises NameHeld at once."""
        if shared or self.patient:
            # Sent without waiting: the statements after it run once it is locked, or fail with it.
            kind = "_shared" if shared else ""
            self._writing.execute(f"SELECT pg_advisory_xact_lock{kind}(%s)", (number(name),))
            return
        if name in self.locked:
            return
        locked = self._reading.execute("SELECT pg_try_advisory_xact_lock(%s)", (number(name),))
        if locked.fetchone() != (True,):
            raise NameHeld(name)
        self.locked.add(name)


class PostgresConnection:
    """A connection of the store's own."""

    def __init__(self, connection: "psycopg.Connection[Row]", statements: Statements) -> None:
        self._connection = connection
        self._pipelining = ExitStack()
        self.tx = PostgresTransaction(connection, statements)

    def begin(self, *, reading: bool, patient: bool, lightly: bool) -> None:  # noqa: ARG002 - the Protocol's
        """Begin; a reader sees one state of the database throughout."""
        self.tx.patient = patient
        self.tx.locked.clear()
        self.tx.pipeline = self._pipelining.enter_context(self._connection.pipeline())
        if reading:
            self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return
        self._connection.execute("BEGIN")
        if patient or _is_pooled(self._connection):
            wait = PATIENT_MS if patient else HURRIED_MS
            self._connection.execute(f"SET LOCAL lock_timeout = {wait}")

    def commit(self) -> None:
        """Commit; the commit is on disk when this returns."""
        self._connection.execute("COMMIT")
        self._end_pipeline()

    def rollback(self) -> None:
        """Undo the transaction, if one is open."""
        with suppress(psycopg.Error):
            self._end_pipeline()
        with suppress(psycopg.Error):
            if self._connection.info.transaction_status != TransactionStatus.IDLE:
                self._connection.execute("ROLLBACK")

    def translated(self, error: Exception) -> Exception:
        """Translate an error of the driver."""
        if isinstance(error, psycopg.OperationalError) and self._connection.closed:
            return ConnectionLost("the connection to PostgreSQL broke")
        return translated(error)

    def close(self) -> None:
        """Close the connection."""
        with suppress(psycopg.Error):
            self._connection.close()

    def _end_pipeline(self) -> None:
        self.tx.pipeline = None
        self._pipelining.close()


class PostgresDatabase:
    """A database on a server, and the schema in it that holds our tables."""

    backend = "postgresql"
    drivers = frozenset({"psycopg"})
    errors: tuple[type[Exception], ...] = (psycopg.Error,)

    def __init__(self, url: URL, schema: str) -> None:
        self._url = url.set(drivername="postgresql")
        self.schema = schema
        safe = URL.create("postgresql", host=url.host, port=url.port, database=url.database)
        self.name = f"{safe.render_as_string()} schema {schema}"
        self._quoted = _DIALECT.identifier_preparer.quote_schema(schema)
        self.statements = _statements(schema)
        self._store_id = ""

    def signals(self) -> PostgresSignals:
        """Make the signals between the processes that use this schema."""
        return PostgresSignals(self._url, self.schema)

    def threads(self, writers: int) -> tuple[int, int]:
        """Return how many writing and reading threads to use: `writers`, and one reader."""
        return max(1, writers), 1

    def prepare(self, owner: Owner | None) -> None:
        """Make or upgrade the tables, one process at a time."""
        with self._connect() as connection:
            try:
                connection.execute("BEGIN")  # a pooler in statement mode refuses it
                connection.execute("ROLLBACK")
                if not self._is_current(connection):
                    self._upgrade()
                if owner is not None:
                    claim_store(PostgresConnection(connection, self.statements), self.name, owner)
                self._store_id = self._read_id(connection)
            except psycopg.Error as error:
                raise translated(error) from error

    def open(self, *, reading: bool) -> PostgresConnection:  # noqa: ARG002 - the Protocol's
        """Connect; `ConnectionLost` where nothing answers."""
        return PostgresConnection(self._connect(), self.statements)

    def check(self, run: RunSql) -> None:
        """Refuse a connection that is on another database."""
        # Asked without an error where the table is missing: that would end the transaction.
        table = f"{self._quoted}.turnout_store"
        ((exists, database),) = run(
            "SELECT to_regclass(%s) IS NOT NULL, current_database()", (table,)
        )[0]
        rows = run(f"SELECT store_id FROM {table}", ())[0] if exists else ()  # noqa: S608 - quoted
        if [row[0] for row in rows] != [self._store_id]:
            raise WrongUse(
                f"connection: it is on database {database!r}, which is not that of the run store,"
                f" {self.name}"
            )

    def lock(self, run: RunSql, name: str, *, shared: bool) -> None:
        """Hold a name until the caller's transaction ends."""
        run(f"SELECT pg_advisory_xact_lock{'_shared' if shared else ''}(%s)", (number(name),))

    def translated(self, error: Exception) -> Exception:
        """Translate an error of psycopg."""
        return translated(error)

    def _connect(self) -> "psycopg.Connection[Row]":
        try:
            connection = psycopg.connect(
                **connection_parameters(self._url),
                autocommit=True,  # BEGIN and COMMIT are ours
                prepare_threshold=None,
                row_factory=tuple_row,
            )
            # One type for every number, so that a statement is prepared once.
            connection.adapters.register_dumper(int, Int8Dumper)
            if has_session(connection):
                connection.prepare_threshold, connection.prepared_max = 2, 500
                connection.execute(f"SET lock_timeout = {HURRIED_MS}")
        except psycopg.Error as error:
            raise _connect_error(error, self.name) from None
        return connection

    def _is_current(self, connection: Any) -> bool:
        def oldest_code() -> str:
            """Read the oldest version of the code that may work on these tables."""
            table = f"{self._quoted}.turnout_store"
            ((oldest,),) = connection.execute(f"SELECT oldest_code FROM {table}").fetchall()  # noqa: S608 - quoted
            return str(oldest)

        return is_current(self._revision(connection), oldest_code)

    def _revision(self, connection: Any) -> str | None:
        table = f"{self._quoted}.{VERSION_TABLE}"
        if connection.execute("SELECT to_regclass(%s)", (table,)).fetchone()[0] is None:
            return None
        row = connection.execute(f"SELECT version_num FROM {table}").fetchone()  # noqa: S608 - quoted
        return None if row is None else str(row[0])

    def _read_id(self, connection: "psycopg.Connection[Row]") -> str:
        table = f"{self._quoted}.turnout_store"
        row = connection.execute(f"SELECT store_id FROM {table}").fetchone()  # noqa: S608 - quoted
        return str(row[0]) if row else ""

    def _upgrade(self) -> None:
        """Run the migrations, under a lock that other upgrades wait for."""
        engine = create_engine("postgresql+psycopg://", creator=self._connect, poolclass=NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {UPGRADE_MS}")
            lock = f"SELECT pg_advisory_xact_lock({number('upgrade:' + self.schema)})"
            connection.exec_driver_sql(lock)
            if not self._is_current(connection.connection.dbapi_connection):
                connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {self._quoted}")
                connection.exec_driver_sql(f"SET LOCAL search_path TO {self._quoted}")
                run_migrations(connection, self.schema)
            connection.exec_driver_sql("COMMIT")


def _is_pooled(connection: "psycopg.Connection[Any]") -> bool:
    return connection.prepare_threshold is None


@cache
def _statements(schema: str) -> Statements:
    """Return the compiled statements that all databases of this process with this schema share."""
    return Statements(_DIALECT, schema)


def translated(error: Exception) -> Exception:
    """Translate an error of psycopg: `Contended`, `ConnectionLost`, or the error itself."""
    if isinstance(error, _CONTENDED):
        return Contended(type(error).__name__)
    if isinstance(error, psycopg.InterfaceError):
        return ConnectionLost("the connection to PostgreSQL is closed")
    if isinstance(error, _BEYOND_LIMITS):
        return error
    if refusal := _refusal(error):
        return InvalidSettings(refusal)
    if isinstance(error, psycopg.OperationalError):
        return ConnectionLost(f"PostgreSQL: {error.diag.message_primary or type(error).__name__}")
    return error


def _refusal(error: Exception) -> str | None:
    """Say what a user or a pooler may not do, and what to do about it; None for other errors."""
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return (
            f"PostgreSQL: {error.diag.message_primary}; grant it to the user of the run store's"
            " URL, or let a user who may write open the store first: start the service"
        )
    if "statement pooling" in str(error):
        return (
            "TURNOUT_DATABASE_URL: the pooler is in statement mode, which has no transactions;"
            " use pool_mode = transaction or session"
        )
    return None


def _connect_error(error: psycopg.Error, name: str) -> Exception:
    """Return why there is no connection, without the user and password that libpq may show."""
    message = str(error)
    if "password authentication failed" in message or "no password supplied" in message:
        return InvalidSettings(f"{name}: the server refuses this user and password")
    if "does not exist" in message:
        return InvalidSettings(f"{name}: there is no such database or user; create it first")
    return ConnectionLost(f"no connection to {name}")

"""PostgreSQL: several connections commit side by side.

READ COMMITTED is enough: a run changes by one compare-and-set, and what must not happen twice at
once holds a name (an advisory lock) until it is committed. Statements of which nothing needs to be
known are sent without waiting for their answers (pipeline mode). A group waits for locks only
briefly; what finds one taken runs again alone, and waits. So a deadlock ends soon, and one busy
row does not hold up the others of its group.
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, Final

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row
from psycopg.types.numeric import Int8Dumper
from sqlalchemy import URL, NullPool, create_engine
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect
from sqlalchemy.sql.base import Executable

from turnout.errors import InvalidSettings, WrongUse
from turnout.stores.sql.callers import Runs
from turnout.stores.sql.identity import Owner, claim
from turnout.stores.sql.links import Lost
from turnout.stores.sql.migrate import is_current, run_migrations
from turnout.stores.sql.schema import VERSION_TABLE
from turnout.stores.sql.statements import Contended, Many, Params, Row, Statements, parts

HURRIED_MS: Final = 200
PATIENT_MS: Final = 5_000
"""How long a lock is waited for: by one of a group, and by an operation that runs alone."""
CONNECT_SECONDS: Final = 5
UPGRADE_MS: Final = 60_000

_CONTENDED: Final = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    psycopg.errors.LockNotAvailable,
)


class PostgresTransaction:
    """Runs statements on a connection in pipeline mode."""

    def __init__(self, connection: "psycopg.Connection[Row]", known: Statements) -> None:
        self._connection = connection
        self._known = known
        # Reused: making a cursor costs half as much as running a statement.
        self._asks = connection.cursor(binary=True)
        self._tells = connection.cursor(binary=True)
        self.untouched = True
        self.patient = True
        self.pipeline: psycopg.Pipeline | None = None

    def rows(self, statement: Executable, params: Params) -> Sequence[Row]:
        """Run a statement and read all its rows."""
        known = self._known[statement]
        return self._asks.execute(known.sql, known.values(params)).fetchall()

    def changed(self, statement: Executable, params: Params) -> int:
        """Run a statement and say how many rows it changed."""
        known = self._known[statement]
        self._asks.execute(known.sql, known.values(params))
        if self.pipeline is not None:
            self.pipeline.sync()
        if self._asks.rowcount:
            self.untouched = False
        return self._asks.rowcount

    def write(self, statement: Executable, params: Params) -> None:
        """Send a statement; that it failed is found out by the next one that is waited for."""
        self.untouched = False
        known = self._known[statement]
        self._tells.execute(known.sql, known.values(params))

    def put(self, many: Many, rows: Sequence[Row]) -> None:
        """Send a statement over these rows."""
        if rows:
            self.untouched = False
        for count, values in parts(rows):
            self._tells.execute(self._known.text(many, count), values)

    def found(self, many: Many, rows: Sequence[Row]) -> Sequence[Row]:
        """Run a statement over these rows, and read all that it returns."""
        found: list[Row] = []
        for count, values in parts(rows):
            found += self._asks.execute(self._known.text(many, count), values).fetchall()
        if found:
            self.untouched = False
        return found

    def lock(self, name: str, *, shared: bool = False) -> None:
        """Hold a name; a group does not wait long for one that it shares, and not for another."""
        if shared or self.patient:
            # Sent, not waited for: what follows is run behind it, or fails with it.
            kind = "_shared" if shared else ""
            self._tells.execute(f"SELECT pg_advisory_xact_lock{kind}(%s)", (number(name),))
            return
        found = self._asks.execute("SELECT pg_try_advisory_xact_lock(%s)", (number(name),))
        if found.fetchone() != (True,):
            raise Contended(name)


class PostgresLink:
    """A connection of our own."""

    def __init__(self, connection: "psycopg.Connection[Row]", known: Statements) -> None:
        self._connection = connection
        self._pipelining = ExitStack()
        self.tx = PostgresTransaction(connection, known)

    def begin(self, *, reading: bool, patient: bool, lightly: bool) -> None:  # noqa: ARG002 - the port's
        """Begin; a reader sees one state of the database throughout."""
        self.tx.patient = patient
        self.tx.pipeline = self._pipelining.enter_context(self._connection.pipeline())
        if reading:
            self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return
        self._connection.execute("BEGIN")
        if patient:
            self._connection.execute(f"SET LOCAL lock_timeout = {PATIENT_MS}")

    def commit(self) -> None:
        """Commit; on disk when it returns."""
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
        """Say what a driver's error means."""
        if isinstance(error, psycopg.OperationalError) and self._connection.closed:
            return Lost("the connection to PostgreSQL broke")
        return translated(error)

    def close(self) -> None:
        """Hang up."""
        with suppress(psycopg.Error):
            self._connection.close()

    def _end_pipeline(self) -> None:
        self.tx.pipeline = None
        self._pipelining.close()


class PostgresDatabase:
    """A database on a server, and the schema in it that holds our tables."""

    backend = "postgresql"
    drivers = frozenset({"psycopg"})

    def __init__(self, url: URL, schema: str) -> None:
        self._url = url.set(drivername="postgresql")
        self.schema = schema
        safe = URL.create("postgresql", host=url.host, port=url.port, database=url.database)
        self.name = f"{safe.render_as_string()} schema {schema}"
        dialect = psycopg_dialect.dialect(paramstyle="format")  # type: ignore[no-untyped-call]
        self._quoted = dialect.identifier_preparer.quote_schema(schema)
        self.statements = Statements(dialect, schema)
        self._store_id = ""

    def threads(self, writers: int) -> tuple[int, int]:
        """As many writers as are asked for, and a reader."""
        return max(1, writers), 1

    def prepare(self, owner: Owner | None) -> None:
        """Make or upgrade the tables, one process at a time."""
        with self._connect() as connection:
            try:
                if not self._is_current(connection):
                    self._upgrade()
                if owner is not None:
                    claim(PostgresLink(connection, self.statements), self.name, owner)
                self._store_id = self._read_id(connection)
            except psycopg.Error as error:
                raise translated(error) from error

    def open(self, *, reading: bool) -> PostgresLink:  # noqa: ARG002 - the port's
        """Connect; `Lost` where nothing answers."""
        return PostgresLink(self._connect(), self.statements)

    def check(self, run: Runs) -> None:
        """Refuse a connection that is on another database."""
        # Asked without an error where the table is missing: that would end the transaction.
        table = f"{self._quoted}.turnout_store"
        there = run("SELECT to_regclass(%s) IS NOT NULL, current_database()", (table,))[0][0]
        found = run(f"SELECT store_id FROM {table}", ())[0] if there[0] else ()  # noqa: S608 - quoted
        if [row[0] for row in found] != [self._store_id]:
            raise WrongUse(
                f"connection: it is on database {there[1]!r}, which is not that of the run store,"
                f" {self.name}"
            )

    def lock(self, run: Runs, name: str, *, shared: bool) -> None:
        """Hold a name until the caller's transaction ends."""
        run(f"SELECT pg_advisory_xact_lock{'_shared' if shared else ''}(%s)", (number(name),))

    def translated(self, error: Exception) -> Exception:
        """Say what an error of psycopg means."""
        return translated(error)

    def _connect(self) -> "psycopg.Connection[Row]":
        try:
            connection = psycopg.connect(
                **self._target(),
                autocommit=True,  # BEGIN and COMMIT are ours
                prepare_threshold=2,
                row_factory=tuple_row,
            )
            connection.prepared_max = 500
            # One type for every number, so that a statement is prepared once.
            connection.adapters.register_dumper(int, Int8Dumper)
            connection.execute(f"SET lock_timeout = {HURRIED_MS}")
        except psycopg.Error as error:
            raise _unconnected(error, self.name) from None
        return connection

    def _target(self) -> Mapping[str, Any]:
        url = self._url
        named = {
            "host": url.host,
            "port": url.port,
            "user": url.username,
            "password": url.password,
            "dbname": url.database,
        }
        target: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, "application_name": "turnout"}
        target |= {name: value for name, value in named.items() if value is not None}
        return target | dict(url.query)

    def _is_current(self, connection: Any) -> bool:
        def oldest_code() -> str:
            table = f"{self._quoted}.turnout_store"
            ((oldest,),) = connection.execute(f"SELECT oldest_code FROM {table}").fetchall()  # noqa: S608 - quoted
            return str(oldest)

        return is_current(self._revision(connection), oldest_code)

    def _revision(self, connection: Any) -> str | None:
        table = f"{self._quoted}.{VERSION_TABLE}"
        if connection.execute("SELECT to_regclass(%s)", (table,)).fetchone()[0] is None:
            return None
        found = connection.execute(f"SELECT version_num FROM {table}").fetchone()  # noqa: S608 - quoted
        return None if found is None else str(found[0])

    def _read_id(self, connection: "psycopg.Connection[Row]") -> str:
        table = f"{self._quoted}.turnout_store"
        found = connection.execute(f"SELECT store_id FROM {table}").fetchone()  # noqa: S608 - quoted
        return str(found[0]) if found else ""

    def _upgrade(self) -> None:
        """Run the migrations, holding a name that other upgrades wait for."""
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


def translated(error: Exception) -> Exception:
    """Say what an error of psycopg means: `Contended`, `Lost`, or the error itself."""
    if isinstance(error, _CONTENDED):
        return Contended(type(error).__name__)
    if isinstance(error, psycopg.InterfaceError):
        return Lost("the connection to PostgreSQL is closed")
    if isinstance(error, psycopg.OperationalError):
        return Lost(f"PostgreSQL: {error.diag.message_primary or type(error).__name__}")
    return error


def number(name: str) -> int:
    """The number of a name, for advisory locks: 63 bits of its digest."""
    return int.from_bytes(hashlib.sha256(f"turnout:{name}".encode()).digest()[:8]) >> 1


def _unconnected(error: psycopg.Error, name: str) -> Exception:
    """Say why there is no connection, without what libpq says of user and password."""
    told = str(error)
    if "password authentication failed" in told or "no password supplied" in told:
        return InvalidSettings(f"{name}: the server refuses this user and password")
    if "does not exist" in told:
        return InvalidSettings(f"{name}: there is no such database or user; create it first")
    return Lost(f"no connection to {name}")

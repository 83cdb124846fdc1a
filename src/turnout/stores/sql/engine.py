"""Opening a run store: its URL, its tables, its connections."""

from collections.abc import Callable
from contextlib import nullcontext
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from turnout.errors import InvalidSettings, StoreUnavailable
from turnout.ports.signals import Signals
from turnout.stores.sql import migrate
from turnout.stores.sql.caller_transactions import CallerTransactions
from turnout.stores.sql.committer import Around, Committer
from turnout.stores.sql.connections import ConnectionLost
from turnout.stores.sql.database import Database, ServedDatabase
from turnout.stores.sql.identity import Owner
from turnout.stores.sql.signals import ProcessSignals
from turnout.stores.sql.sqlite import SqliteDatabase
from turnout.stores.sql.statements import Contended
from turnout.stores.sql.store import SqlRunStore

GROUP: Final = "turnout.databases"
"""The group of entry points; the name is a backend's of SQLAlchemy, the value makes its database.

It is called with the URL and the schema of our tables, and returns a `ServedDatabase`.
"""

SCHEMA: Final = "turnout"
"""The schema of our tables on PostgreSQL, unless another is named."""

FORMS: Final = "sqlite:///path/to/file, sqlite:// (in memory) or postgresql://user@host/database"


def open_run_store(
    url: str,
    *,
    schema: str | None = None,
    app: str | None = None,
    environment: str | None = None,
    writers: int = 3,
    around: Around = nullcontext,
    made_due: Callable[[], None] = lambda: None,
) -> SqlRunStore:
    """Open the run store at a URL; makes or upgrades its tables first, under a lock.

    schema: on PostgreSQL, where the tables are: else `?schema=` of the URL says it, else `turnout`.
    app: the name of the app that opens it. A store belongs to the app that opens it first; another
    app gets InvalidSettings. None: opens the store of any app. environment: recorded with the app.
    writers: connections that commit, on PostgreSQL.
    around: makes a context that each commit happens within, like the span of a trace, from the
    operations that are committed.
    made_due: called, in any thread, after each commit that made a delivery, a wake or a stop due.
    InvalidSettings names what is wrong with the URL, or tables that are too new for this code;
    StoreUnavailable where nothing answers.
    """
    owner = None if app is None else Owner(app=app, environment=environment)
    database = _prepare(url, schema, owner)
    writing, reading = database.threads(writers)
    committer = Committer(
        database, writers=writing, readers=reading, around=around, made_due=made_due
    )
    return SqlRunStore(database.name, committer, CallerTransactions(database))


def open_signals(url: str, direct_url: str | None = None) -> Signals:
    """Open the signals between the processes that share the run store at a URL.

    direct_url: the same PostgreSQL database, past a pooler; signals need a session of their own.
    SQLite has none between processes.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        return ProcessSignals()
    direct = parsed if direct_url is None else _parsed(direct_url, "TURNOUT_DATABASE_DIRECT_URL")
    if direct.get_backend_name() != "postgresql":
        raise InvalidSettings("TURNOUT_DATABASE_DIRECT_URL: give a URL of PostgreSQL")
    return _served(direct, _schema(parsed)).signals()


def upgrade(url: str, *, schema: str | None = None) -> str:
    """Make or upgrade the tables at a URL; returns the newest revision that this code knows."""
    _prepare(url, schema, None)
    return migrate.HEAD


def shadow_url(url: str) -> str:
    """Name the store of the shadows, beside the one at a URL: another file, or another schema."""
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite":
        schema = f"{_schema(parsed)}_shadow"
        return parsed.update_query_dict({"schema": schema}).render_as_string(hide_password=False)
    if _file(parsed) is None:
        return url
    path = Path(str(parsed.database))
    return f"sqlite:///{path.with_name(path.stem + '-shadow.db')}"


def _prepare(url: str, schema: str | None, owner: Owner | None) -> Database:
    database = _database(_parsed(url), schema)
    try:
        database.prepare(owner)
    except (ConnectionLost, Contended) as error:
        raise StoreUnavailable(f"the run store {database.name} does not answer: {error}") from error
    return database


def _database(url: URL, schema: str | None) -> Database:
    if url.get_backend_name() != "sqlite":
        return _served(url, schema or _schema(url))
    if schema is not None:
        raise InvalidSettings("SQLite has no schemas: give the second run store its own file")
    return SqliteDatabase(_file(url))


def _served(url: URL, schema: str) -> ServedDatabase:
    """Open a database on a server, by the distribution that is installed for it."""
    for entry in entry_points(group=GROUP, name=url.get_backend_name()):
        database: Callable[[URL, str], ServedDatabase] = entry.load()
        return database(url.difference_update_query(["schema"]), schema)
    raise InvalidSettings(
        "for PostgreSQL, pip install 'turnout[postgres]', or ./src/turnout-postgres in a checkout"
    )


def _file(url: URL) -> Path | None:
    """Return the file of a SQLite URL; None where the database is in memory."""
    return None if url.database in {None, "", ":memory:"} else Path(str(url.database))


def _schema(url: URL) -> str:
    named = url.query.get("schema", SCHEMA)
    return named if isinstance(named, str) else named[-1]


def _parsed(url: str, setting: str = "TURNOUT_DATABASE_URL") -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Its message would show the URL, and so a password; a bad port is a ValueError.
        raise InvalidSettings(
            f"{setting}: the run store's URL cannot be read; write {FORMS}"
        ) from None
    drivers = {"sqlite", "sqlite+pysqlite", "postgresql", "postgres", "postgresql+psycopg"}
    if parsed.drivername not in drivers:
        raise InvalidSettings(f"no run store for {parsed.drivername!r}; write {FORMS}")
    return parsed.set(drivername="postgresql") if parsed.drivername == "postgres" else parsed

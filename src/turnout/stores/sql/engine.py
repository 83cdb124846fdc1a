"""Opening a run store: its URL, its tables, its connections."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from turnout.errors import InvalidSettings, StoreUnavailable
from turnout.stores.sql import migrate
from turnout.stores.sql.callers import Callers
from turnout.stores.sql.committer import Around, Committer
from turnout.stores.sql.links import Lost
from turnout.stores.sql.sqlite import SqliteDatabase
from turnout.stores.sql.statements import Contended
from turnout.stores.sql.store import SqlRunStore

if TYPE_CHECKING:
    from turnout.stores.sql.postgres import PostgresDatabase

SCHEMA: Final = "turnout"
"""The schema of our tables on PostgreSQL, unless another is named."""

FORMS: Final = "sqlite:///path/to/file, sqlite:// (in memory) or postgresql://user@host/database"


def open_run_store(
    url: str, *, schema: str | None = None, writers: int = 3, around: Around = nullcontext
) -> SqlRunStore:
    """Open the run store at a URL; makes or upgrades its tables first, under a lock.

    schema: on PostgreSQL, where the tables are (`turnout`); a second store beside the first, like
    the shadows', has a schema of its own. On SQLite it has a file of its own. writers: connections
    that commit, on PostgreSQL. around: gives what each commit happens within, like the span of a
    trace, for the operations that are committed. InvalidSettings names what is wrong with the URL,
    or a database that a newer Turnout has upgraded; StoreUnavailable where nothing answers.
    """
    database = database_at(url, schema=schema)
    try:
        database.prepare()
    except (Lost, Contended) as error:
        raise StoreUnavailable(f"the run store {database.name} does not answer: {error}") from error
    writing, reading = database.threads(writers)
    committer = Committer(database, writers=writing, readers=reading, around=around)
    return SqlRunStore(database.name, committer, Callers(database))


def upgrade(url: str, *, schema: str | None = None) -> str:
    """Make or upgrade the tables at a URL; returns the revision they have then."""
    database = database_at(url, schema=schema)
    try:
        database.prepare()
    except (Lost, Contended) as error:
        raise StoreUnavailable(f"the run store {database.name} does not answer: {error}") from error
    return migrate.HEAD


def database_at(url: str, *, schema: str | None = None) -> "SqliteDatabase | PostgresDatabase":
    """Read a run store's URL."""
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        if schema is not None:
            raise InvalidSettings("SQLite has no schemas: give the second run store its own file")
        memory = parsed.database in {None, "", ":memory:"}
        return SqliteDatabase(None if memory else Path(str(parsed.database)))
    try:
        from turnout.stores.sql.postgres import PostgresDatabase
    except ModuleNotFoundError as error:
        raise InvalidSettings(
            "PostgreSQL needs the extra: pip install 'turnout[postgres]', "
            "or '.[postgres]' in a checkout"
        ) from error
    return PostgresDatabase(parsed, schema or SCHEMA)


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        # Its message would show the URL, and so a password.
        raise InvalidSettings(f"the run store's URL cannot be read; write {FORMS}") from None
    drivers = {"sqlite", "sqlite+pysqlite", "postgresql", "postgres", "postgresql+psycopg"}
    if parsed.drivername not in drivers:
        raise InvalidSettings(f"no run store for {parsed.drivername!r}; write {FORMS}")
    return parsed

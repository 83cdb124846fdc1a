"""Making and upgrading the tables.

Expand, then contract: a migration only adds what older code does not mind (a table, a nullable
column, a column with a default, an index), so that replicas of two versions work on one database;
what no code reads any more is removed by a migration of a later release. That migration raises
`oldest_code` in `turnout_store`: code that knows this revision, or a later one, may start on the
tables, so a release can be rolled back.
"""

import logging
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection

from turnout.errors import InvalidSettings
from turnout.stores.sql.schema import VERSION_TABLE

HEAD: Final = "0006"
"""The newest revision; a test compares it with the folder of migrations."""

KNOWN: Final = frozenset({"0001", "0002", "0003", "0004", "0005", HEAD})
"""Every revision that this code can start from."""

log = logging.getLogger(__name__)


def is_current(revision: str | None, read_oldest_code: Callable[[], str]) -> bool:
    """Say whether the tables need no upgrade.

    Tables of newer code need none where `oldest_code` says that this code can work on them; else
    InvalidSettings says what to do.
    """
    if revision is None or revision in KNOWN:
        return revision == HEAD
    oldest = read_oldest_code()
    if oldest > HEAD:
        raise InvalidSettings(
            f"the run store's tables have revision {revision!r}, and code must know revision"
            f" {oldest!r} to work on them; this version of Turnout knows up to {HEAD!r}: install"
            " the version that upgraded them, or a newer one"
        )
    log.info(
        "the run store's tables were upgraded by a newer version",
        extra={"action": "newer_tables", "revision": revision, "oldest_code": oldest},
    )
    return True


def run_migrations(connection: Connection, schema: str | None = None) -> None:
    """Upgrade to the newest revision, in the transaction that is open on the connection."""
    # Imported here: Alembic takes longer to import than most commands take to run.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "turnout.stores.sql:migrations")
    config.attributes.update(connection=connection, schema=schema, version_table=VERSION_TABLE)
    command.upgrade(config, "head")

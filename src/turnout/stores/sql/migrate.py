"""Making and upgrading the tables.

Expand, then contract: a migration only adds what older code does not mind (a table, a nullable
column, a column with a default, an index), so that replicas of two versions work on one database;
what nothing reads any more is removed by a migration of a later release.
"""

from typing import Final

from sqlalchemy import Connection

from turnout.errors import InvalidSettings
from turnout.stores.sql.schema import VERSION_TABLE

HEAD: Final = "0003"
"""The newest revision; a test compares it with the folder of migrations."""

KNOWN: Final = frozenset({"0001", "0002", HEAD})
"""Every revision that this code can start from."""


def check_revision(revision: str | None) -> bool:
    """Say whether the tables are as this code needs them; refuse those of newer code."""
    if revision is not None and revision not in KNOWN:
        raise InvalidSettings(
            f"the run store's tables have revision {revision!r}, which this version of Turnout"
            f" does not know; it knows up to {HEAD!r}: install the version that upgraded them"
        )
    return revision == HEAD


def run_migrations(connection: Connection, schema: str | None = None) -> None:
    """Upgrade to the newest revision, in the transaction that is open on the connection."""
    # Late: Alembic takes longer to import than most commands take to run.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "turnout.stores.sql:migrations")
    config.attributes.update(connection=connection, schema=schema, version_table=VERSION_TABLE)
    command.upgrade(config, "head")

"""What a database is to the run store: a file of SQLite, or one on a server."""

from typing import Protocol

from turnout.ports.signals import Signals
from turnout.stores.sql.caller_transactions import StoreDatabase
from turnout.stores.sql.connections import OpensConnections
from turnout.stores.sql.identity import Owner


class Database(StoreDatabase, OpensConnections, Protocol):
    """A database with our tables in it."""

    name: str
    """Its address, without secrets."""

    def threads(self, writers: int) -> tuple[int, int]:
        """Return how many writing and reading threads to use; writers: how many are wanted."""
        ...

    def prepare(self, owner: Owner | None) -> None:
        """Make or upgrade the tables, one process at a time."""
        ...


class ServedDatabase(Database, Protocol):
    """A database on a server, which several machines use."""

    def signals(self) -> Signals:
        """Make the signals between the processes that use it; nothing is connected yet."""
        ...

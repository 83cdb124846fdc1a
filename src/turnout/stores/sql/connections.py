"""One connection to one database, as the committer uses it."""

from typing import Protocol

from turnout.stores.sql.statements import Transaction


class StoreConnection(Protocol):
    """A connection: transactions are begun and ended here, statements go through `tx`."""

    @property
    def tx(self) -> Transaction:
        """What runs statements in the open transaction."""
        ...

    def begin(self, *, reading: bool, patient: bool, lightly: bool) -> None:
        """Begin; patient: wait for locks, else give up soon with `Contended`.

        lightly: the commit may be lost with the machine's power, and with nothing less.
        """
        ...

    def commit(self) -> None:
        """Commit durably, but for what was begun lightly."""
        ...

    def rollback(self) -> None:
        """Undo the transaction, if one is open; never raises."""
        ...

    def translated(self, error: Exception) -> Exception:
        """Say what a driver's error means: `Contended`, `ConnectionLost`, or the error itself."""
        ...

    def close(self) -> None:
        """Close it; never raises."""
        ...


class ConnectionLost(Exception):
    """The connection is gone, or the database refuses to work; the text tells no secret."""


class OpensConnections(Protocol):
    """A database to which connections can be opened."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What its driver raises."""
        ...

    def open(self, *, reading: bool) -> StoreConnection:
        """Connect, or raise `ConnectionLost`."""
        ...

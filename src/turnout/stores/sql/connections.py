"""One connection to one database, as the committer uses it."""

from typing import Protocol

from turnout.stores.sql.statements import Transaction


class StoreConnection(Protocol):
    """A connection: transactions are begun and ended here, statements go through `tx`."""

    @property
    def tx(self) -> Transaction:
        """The open transaction, which runs statements."""
        ...

    def begin(self, *, reading: bool, patient: bool, lightly: bool) -> None:
        """Begin; patient: wait for locks, else give up soon with `Contended`.

        lightly: the commit may be lost when the machine loses power, and only then.
        """
        ...

    def commit(self) -> None:
        """Commit; durably, unless the transaction was begun lightly."""
        ...

    def rollback(self) -> None:
        """Undo the transaction, if one is open; never raises."""
        ...

    def translated(self, error: Exception) -> Exception:
        """Translate an error of the driver: `Contended`, `ConnectionLost`, or the error itself."""
        ...

    def close(self) -> None:
        """Close the connection; never raises."""
        ...


class ConnectionLost(Exception):
    """The connection is gone, or the database refuses to work; the text holds no secret."""


class OpensConnections(Protocol):
    """A database to which connections can be opened."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """The exceptions that its driver raises."""
        ...

    def open(self, *, reading: bool) -> StoreConnection:
        """Connect, or raise `ConnectionLost`."""
        ...

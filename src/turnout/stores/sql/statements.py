"""Statements, compiled once, and the transaction that runs them.

SQLAlchemy writes the SQL; the driver runs it as text. Executing through SQLAlchemy costs many times
as much (decision 0033), and there is nothing for it to convert: columns are text,
integers, bytes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import Any, Final, Protocol

from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.compiler import SQLCompiler

Params = Mapping[str, Any]
Row = tuple[Any, ...]

BATCH_SIZES: Final = (16, 4, 1)
"""Rows of a batch: few sizes, because each size is one more statement to compile and prepare."""


class Transaction(Protocol):
    """What an operation may do in a transaction; the committer begins and ends it."""

    untouched: bool
    """True: the operation has written nothing. False: it may have written something."""
    made_due: bool
    """Whether an operation made a delivery, a wake or a stop due at once."""

    def rows(self, statement: Executable, params: Params) -> Sequence[Row]:
        """Run a statement and read all its rows."""
        ...

    def changed(self, statement: Executable, params: Params) -> int:
        """Run a statement and say how many rows it changed."""
        ...

    def write(self, statement: Executable, params: Params) -> None:
        """Run a statement whose result is not needed."""
        ...

    def write_rows(self, batch: "BatchStatement", rows: Sequence[Row]) -> None:
        """Run a statement over these rows; its result is not needed."""
        ...

    def returning(self, batch: "BatchStatement", rows: Sequence[Row]) -> Sequence[Row]:
        """Run a statement over these rows, and read all that it returns."""
        ...

    def lock(self, name: str, *, shared: bool = False) -> None:
        """Lock a name until the transaction ends; may raise `NameHeld` instead of waiting."""
        ...


class Contended(Exception):
    """Another transaction holds a lock: run the operation again, alone."""


class NameHeld(Contended):
    """Another transaction holds a name that is to be locked; this transaction is unharmed."""


class BatchStatement:
    """A statement over several rows at once; each row is a tuple, in the order of `columns`.

    Each call of the driver releases the interpreter lock, and may wait long to get it again. So few
    calls with many rows cost less than many calls.
    """

    __slots__ = ("build", "columns")

    def __init__(self, columns: Sequence[str], build: Callable[[int], Executable]) -> None:
        """build: makes the statement over so many rows, of the parameters of `parameter`."""
        self.columns = tuple(columns)
        self.build = build


def parameter(column: str, row: int) -> str:
    """Name the parameter of a row's column in a statement over several."""
    return f"{column}_{row}"


def batches(rows: Sequence[Row]) -> Iterator[tuple[int, Row]]:
    """Cut rows into batches, each with all its values one after the other."""
    start = 0
    for size in BATCH_SIZES:
        while len(rows) - start >= size:
            yield size, tuple(chain.from_iterable(rows[start : start + size]))
            start += size


class Statement:
    """One compiled statement."""

    __slots__ = ("names", "sql", "values")

    def __init__(self, compiled: SQLCompiler) -> None:
        self.sql = compiled.string
        self.names = names = list(compiled.positiontup or ())
        binds = {name: compiled.binds[name] for name in names}
        self.values = _picker(
            names, {name: bind.value for name, bind in binds.items() if not bind.required}
        )


class Statements:
    """The statements of one database, compiled when they are first asked for."""

    def __init__(self, dialect: Dialect, schema: str | None = None) -> None:
        self._dialect = dialect
        self._schema = schema
        self._compiled: dict[int, tuple[Executable, Statement]] = {}
        self._batches: dict[tuple[BatchStatement, int], str] = {}

    def __getitem__(self, statement: Executable) -> Statement:
        """Compile a statement, or take it from the cache."""
        # By identity: statements are constants of modules, or cached by what builds them. The
        # statement is kept beside its text, so that its id is not given to another.
        entry = self._compiled.get(id(statement))
        if entry is None:
            entry = self._compiled[id(statement)] = (statement, self._compile(statement))
        return entry[1]

    def batch(self, batch: BatchStatement, size: int) -> str:
        """Compile a statement over so many rows, or take it from the cache."""
        sql = self._batches.get((batch, size))
        if sql is None:
            compiled = self._compile(batch.build(size))
            names = [parameter(column, row) for row in range(size) for column in batch.columns]
            assert compiled.names == names, "a batch's values stand row after row"
            sql = self._batches[batch, size] = compiled.sql
        return sql

    def _compile(self, statement: Any) -> Statement:
        if self._schema is None:
            return Statement(statement.compile(dialect=self._dialect))
        return Statement(
            statement.compile(
                dialect=self._dialect,
                schema_translate_map={None: self._schema},
                render_schema_translate=True,
            )
        )


@cache
def sqlite_statements() -> Statements:
    """Return the compiled statements that all SQLite databases of this process share."""
    return Statements(sqlite.dialect(paramstyle="qmark"))


def _picker(names: list[str], constants: Params) -> Callable[[Params], Row]:
    """Make a function that puts parameters, and the statement's constants, into its order."""
    if not names:
        return lambda _: ()
    if len(names) == 1:
        (name,) = names
        return lambda params: ({**constants, **params}[name],)
    pick = itemgetter(*names)
    return (lambda params: pick({**constants, **params})) if constants else pick

"""Statements, compiled once, and the transaction that runs them.

SQLAlchemy writes the SQL; the driver runs it as text. Executing through SQLAlchemy would cost more
than ten times as much, and there is nothing for it to convert: columns are text, integers, bytes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, Final, Protocol

from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.compiler import SQLCompiler

Params = Mapping[str, Any]
Row = tuple[Any, ...]


class Transaction(Protocol):
    """What a decision may do to the database, inside a transaction that others begin and end."""

    untouched: bool
    """Whether the operation under way has written nothing yet; may be False without need."""

    def rows(self, statement: Executable, params: Params) -> Sequence[Row]:
        """Run a statement and read all its rows."""
        ...

    def changed(self, statement: Executable, params: Params) -> int:
        """Run a statement and say how many rows it changed."""
        ...

    def write(self, statement: Executable, params: Params) -> None:
        """Run a statement of which nothing needs to be known."""
        ...

    def put(self, many: "Many", rows: Sequence[Row]) -> None:
        """Run a statement over these rows, of which nothing needs to be known."""
        ...

    def found(self, many: "Many", rows: Sequence[Row]) -> Sequence[Row]:
        """Run a statement over these rows, and read all that it returns."""
        ...

    def lock(self, name: str, *, shared: bool = False) -> None:
        """Hold a name until the transaction ends; `Contended` where waiting is not wanted."""
        ...


class Contended(Exception):
    """Another transaction is in the way: run this one again, alone."""


class Many:
    """A statement over several rows at once; each row is a tuple, in the order of `names`.

    At each call the driver lets go of the interpreter, and may wait long to get it back: few calls
    cost less than many, whatever the database does in them.
    """

    __slots__ = ("build", "names")

    def __init__(self, names: Sequence[str], build: Callable[[int], Executable]) -> None:
        """build: makes the statement over so many rows, of the parameters of `parameter`."""
        self.names = tuple(names)
        self.build = build


def parameter(name: str, row: int) -> str:
    """Name the parameter of a row's column in a statement over several."""
    return f"{name}_{row}"


def parts(rows: Sequence[Row]) -> Iterator[tuple[int, Row]]:
    """Cut rows into lengths of which there are few, each with its values one after the other."""
    at = 0
    for length in _LENGTHS:
        while len(rows) - at >= length:
            yield length, tuple(chain.from_iterable(rows[at : at + length]))
            at += length


_LENGTHS: Final = (64, 32, 16, 8, 4, 2, 1)


class Statement:
    """One compiled statement."""

    __slots__ = ("names", "sql", "values")

    def __init__(self, compiled: SQLCompiler) -> None:
        self.sql = compiled.string
        self.names = names = list(compiled.positiontup or ())
        literals = {name: compiled.binds[name] for name in names}
        self.values = _picker(
            names, {name: each.value for name, each in literals.items() if not each.required}
        )


class Statements:
    """The statements of one database, compiled as they are first asked for."""

    def __init__(self, dialect: Dialect, schema: str | None = None) -> None:
        self._dialect = dialect
        self._schema = schema
        self._compiled: dict[int, tuple[Executable, Statement]] = {}
        self._texts: dict[Many, dict[int, str]] = {}

    def __getitem__(self, statement: Executable) -> Statement:
        """Compile a statement, or find it compiled."""
        # By identity: statements are values of modules, or cached by whoever builds them. The
        # statement is kept beside its text, so that its id is not given to another.
        found = self._compiled.get(id(statement))
        if found is None:
            found = self._compiled[id(statement)] = (statement, self._compile(statement))
        return found[1]

    def text(self, many: Many, rows: int) -> str:
        """Compile a statement over so many rows, or find it compiled."""
        texts = self._texts.get(many)
        if texts is None:
            texts = self._texts[many] = {}
        text = texts.get(rows)
        if text is None:
            text = texts[rows] = self._repeated(many, rows) if rows > 2 else self._over(many, rows)  # noqa: PLR2004 - two show what is repeated
        return text

    def _over(self, many: Many, rows: int) -> str:
        statement = self._compile(many.build(rows))
        wanted = [parameter(name, row) for row in range(rows) for name in many.names]
        assert statement.names == wanted, "rows are given one after the other"
        return statement.sql

    def _repeated(self, many: Many, rows: int) -> str:
        """Make the text over so many rows from those over one and two: compiling takes long."""
        one, two = self.text(many, 1), self.text(many, 2)
        unlike = (at for at, (its, other) in enumerate(zip(one, two, strict=False)) if its != other)
        same = next(unlike, len(one))
        second = two[same : same + len(two) - len(one)]
        return one[:same] + second * (rows - 1) + one[same:]

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


def _picker(names: list[str], constants: Params) -> Callable[[Params], Row]:
    """Put parameters into the statement's order; literals of the statement are constants."""
    if not names:
        return lambda _: ()
    if len(names) == 1:
        (name,) = names
        return lambda params: ({**constants, **params}[name],)
    pick = itemgetter(*names)
    return (lambda params: pick({**constants, **params})) if constants else pick

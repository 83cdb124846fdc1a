"""Statements and conditions on the tables, as SQLAlchemy builds them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    CTE,
    Column,
    ColumnElement,
    LargeBinary,
    Table,
    bindparam,
    cast,
    column,
    literal_column,
    or_,
    values,
)
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.dialects.postgresql import insert as _insert
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.functions import GenericFunction

from turnout.stores.sql.statements import BatchStatement, parameter


def insert_into(table: Table) -> Insert:
    """Insert a row, each column from the parameter of its name."""
    # PostgreSQL's construct compiles for SQLite too; inline: no implicit RETURNING.
    return (
        _insert(table)
        .values({column_.name: bindparam(column_.name) for column_ in table.c})
        .inline()
    )


def put_into(table: Table) -> Insert:
    """Insert a row, or replace all of it but its primary key."""
    return _or_replace(insert_into(table), table)


def insert_rows(
    table: Table,
    *,
    without: Iterable[str] = (),
    computed: Mapping[str, Any] | None = None,
    or_replace: bool = False,
    unless_present: Column[Any] | None = None,
) -> BatchStatement:
    """Insert rows, each with all of the table's columns but these.

    computed: columns whose values are expressions. or_replace: what is there under the same primary
    key. unless_present: a unique column; a row whose value of it is there already is left alone,
    and the other rows' values are returned.
    """
    computed = computed or {}
    names = [column_.name for column_ in table.c if column_.name not in {*without, *computed}]

    def statement_over(count: int) -> Executable:
        rows: list[dict[str, Any]] = [
            {name: bindparam(parameter(name, row)) for name in names} | dict(computed)
            for row in range(count)
        ]
        statement = _insert(table).values(rows).inline()
        if or_replace:
            return _or_replace(statement, table)
        if unless_present is not None:
            skipping = statement.on_conflict_do_nothing(index_elements=[unless_present])
            return skipping.returning(unless_present)
        return statement

    return BatchStatement(names, statement_over)


def for_rows(
    table: Table, names: Sequence[str], build: Callable[[CTE], Executable]
) -> BatchStatement:
    """A statement that joins a table with rows of these of its columns, given as parameters."""

    def statement_over(count: int) -> Executable:
        columns = [column(name, table.c[name].type) for name in names]
        rows = [tuple(_typed(table.c[name], row) for name in names) for row in range(count)]
        return build(values(*columns, name="input").data(rows).cte("input"))

    return BatchStatement(names, statement_over)


def _typed(column_: Column[Any], row: int) -> ColumnElement[Any]:
    """A row's parameter; without a cast PostgreSQL takes a null for text."""
    param = bindparam(parameter(column_.name, row), type_=column_.type)
    return cast(param, column_.type) if isinstance(column_.type, LargeBinary) else param


def _or_replace(statement: Insert, table: Table) -> Insert:
    keys_ = list(table.primary_key.columns)
    values_ = {
        column_.name: statement.excluded[column_.name]
        for column_ in table.c
        if not column_.primary_key
    }
    return statement.on_conflict_do_update(index_elements=keys_, set_=values_)


def fixed(value: int | str) -> ColumnElement[Any]:
    """A constant that is part of the statement's text.

    Planners match it with the conditions of partial indexes, which a parameter they cannot.
    """
    return literal_column(repr(value))


class contains_bytes(GenericFunction[int]):  # noqa: N801 - a function of SQL
    """Where bytes, or a text, begin in others, from 1; 0 where they are not."""

    inherit_cache = True


@compiles(contains_bytes, "sqlite")
def _instr(element: Any, compiler: Any, **options: Any) -> str:
    whole, part = element.clauses
    return f"instr({compiler.process(whole, **options)}, {compiler.process(part, **options)})"


@compiles(contains_bytes, "postgresql")
def _position(element: Any, compiler: Any, **options: Any) -> str:
    whole, part = element.clauses
    return f"position({compiler.process(part, **options)} IN {compiler.process(whole, **options)})"


def among(column: Column[str], words: Iterable[str]) -> ColumnElement[bool]:
    """Whether a column has one of these words, which are part of the statement's text."""
    return or_(*(column == fixed(word) for word in words))


def equals(column: Column[Any]) -> ColumnElement[bool]:
    """Whether a column equals the parameter `of_COLUMN`, named apart from values to be written."""
    return column == bindparam(f"of_{column.name}", type_=column.type)

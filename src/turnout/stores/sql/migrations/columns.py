"""Tables that migrations make, and columns that they add to tables that are there."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import context, op

from turnout.stores.sql.schema import metadata

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A whole number of 64 bits."""


def count(name: str, comment: str) -> sa.Column[Any]:
    """Make a column of whole numbers that are 0 in the rows of a release that does not know it."""
    return sa.Column(name, WHOLE, server_default=sa.text("0"), nullable=False, comment=comment)


def text(name: str, comment: str, *, nullable: bool = False) -> sa.Column[Any]:
    """Make a column of text."""
    return sa.Column(name, sa.Text(), nullable=nullable, comment=comment)


def whole(name: str, comment: str, *, nullable: bool = False) -> sa.Column[Any]:
    """Make a column of whole numbers."""
    return sa.Column(name, WHOLE, nullable=nullable, comment=comment)


def json(name: str, comment: str, *, nullable: bool = False) -> sa.Column[Any]:
    """Make a column of canonical JSON."""
    return sa.Column(name, sa.LargeBinary(), nullable=nullable, comment=comment)


def add(table: str, *columns: sa.Column[Any]) -> None:
    """Add the columns to a table."""
    for column in columns:
        op.add_column(table, column)


def add_missing(table: str, *columns: sa.Column[Any]) -> None:
    """Add those of the columns that the table does not have."""
    schema = context.config.attributes["schema"]
    present = {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table, schema)}
    add(table, *(column for column in columns if column.name not in present))


def add_index(name: str, table: str, columns: Sequence[str], where: str) -> None:
    """Add an index over the rows that meet a condition, unless it is there."""
    partly: Any = {"sqlite_where": sa.text(where), "postgresql_where": sa.text(where)}
    op.create_index(name, table, columns, if_not_exists=True, **partly)


def make_tables(*names: str) -> None:
    """Make tables as the code has them; a later migration adds only the columns that lack then."""
    for name in names:
        metadata.tables[name].create(op.get_bind(), checkfirst=True)

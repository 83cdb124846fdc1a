"""Columns that migrations add to tables that are there."""

from typing import Any

import sqlalchemy as sa
from alembic import context, op

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A whole number of 64 bits."""


def count(name: str, comment: str) -> sa.Column[Any]:
    """Make a column of whole numbers that are 0 in the rows of a release that does not know it."""
    return sa.Column(name, WHOLE, server_default=sa.text("0"), nullable=False, comment=comment)


def add(table: str, *columns: sa.Column[Any]) -> None:
    """Add the columns to a table."""
    for column in columns:
        op.add_column(table, column)


def add_missing(table: str, *columns: sa.Column[Any]) -> None:
    """Add those of the columns that the table does not have."""
    schema = context.config.attributes["schema"]
    present = {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table, schema)}
    add(table, *(column for column in columns if column.name not in present))


def drop(table: str, *names: str) -> None:
    """Remove the columns from a table."""
    for name in names:
        op.drop_column(table, name)

"""The page that documents the tables, written from the tables themselves."""

from collections.abc import Iterator

from sqlalchemy import Column, Table

from turnout.stores.sql.schema import VERSION_TABLE, metadata

_TYPES = {"TEXT": "text", "BIGINT": "integer", "BLOB": "bytes"}
_HEAD = f"""\
# The run store's tables

The same on SQLite and PostgreSQL (there in the schema `turnout`, or the one that is named). Times
are integer milliseconds since the epoch; bytes hold canonical JSON; flags are 0 or 1. Reading them
is welcome, writing is not. `{VERSION_TABLE}` holds the revision. Migrations expand first and
contract a release later, so that two versions can work on one database.

This page is generated: `python -m scripts.tables_page > migration_docs/tables.md`.
"""


def tables_page() -> str:
    """Write the page."""
    return "\n".join([_HEAD, *(line for table in metadata.sorted_tables for line in _table(table))])


def _table(table: Table) -> Iterator[str]:
    yield f"## {table.name}"
    yield f"{table.comment}\n"
    yield "| column | type | | meaning |"
    yield "|---|---|---|---|"
    for column in table.columns:
        yield f"| `{column.name}` | {_type(column)} | {_traits(column)} | {column.comment} |"
    yield ""
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        names = ", ".join(f"`{column.name}`" for column in index.columns)
        where = index.dialect_options["sqlite"]["where"]
        yield f"- index `{index.name}`: {names}{'' if where is None else f' where {where}'}"
    if table.indexes:
        yield ""


def _type(column: Column[object]) -> str:
    return _TYPES[str(column.type)]


def _traits(column: Column[object]) -> str:
    traits = [
        "key" if column.primary_key else "",
        "unique" if column.unique else "",
        "may be null" if column.nullable else "",
    ]
    return ", ".join(trait for trait in traits if trait)


if __name__ == "__main__":
    print(tables_page(), end="")

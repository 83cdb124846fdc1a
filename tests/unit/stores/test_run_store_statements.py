"""Statements over several rows: one text for each number of rows, made from two."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import psycopg

from turnout.stores.sql import deliveries, emissions, journals, waits
from turnout.stores.sql.statements import Many, Statements, parts

MANY = {
    "insert": emissions._DELIVERIES,
    "insert unless there": emissions._RUNS,
    "insert or replace": journals._PUT_ATTEMPT,
    "update": deliveries._ACCEPTED,
    "update and return": journals._update(("state", "result", "error_name")),
    "delete": waits._CLOSE_ALL,
}
DIALECTS = {
    "sqlite": sqlite.dialect(paramstyle="qmark"),
    "postgresql": psycopg.dialect(paramstyle="format"),  # type: ignore[no-untyped-call]
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("many", MANY.values(), ids=MANY)
def test_a_text_over_many_rows_is_what_would_be_compiled(many: Many, dialect: str) -> None:
    """Repeating what a second row adds gives what the compiler writes for as many rows."""
    statements = Statements(DIALECTS[dialect], "schema" if dialect == "postgresql" else None)
    for rows in (1, 2, 3, 4, 9):
        assert statements.text(many, rows) == statements._over(many, rows)


@given(st.lists(st.tuples(st.integers(), st.text(max_size=3)), max_size=300))
def test_rows_are_cut_into_few_lengths(rows: list[tuple[Any, ...]]) -> None:
    """Every row once, in order, in parts of which seven lengths occur."""
    cut = list(parts(rows))
    assert [value for _, values in cut for value in values] == [
        each for row in rows for each in row
    ]
    assert [count * 2 for count, _ in cut] == [len(values) for _, values in cut]
    assert {count for count, _ in cut} <= {64, 32, 16, 8, 4, 2, 1}
    assert len(cut) <= len(rows) // 64 + 6

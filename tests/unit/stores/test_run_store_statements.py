"""Statements over several rows: one text for each size of a batch."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import psycopg

from turnout.stores.sql import deliveries, emissions, journals, waits
from turnout.stores.sql.statements import BATCH_SIZES, BatchStatement, Statements, batches

BATCHES = {
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
@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_a_batch_takes_its_values_row_after_row(batch: BatchStatement, dialect: str) -> None:
    """Compiling asserts the order of the parameters; each size is compiled once."""
    statements = Statements(DIALECTS[dialect], "schema" if dialect == "postgresql" else None)
    mark = "?" if dialect == "sqlite" else "%s"
    for size in BATCH_SIZES:
        sql = statements.batch(batch, size)
        assert sql.count(mark) == size * len(batch.columns)
        assert statements.batch(batch, size) is sql


@given(st.lists(st.tuples(st.integers(), st.text(max_size=3)), max_size=300))
def test_rows_are_cut_into_few_sizes(rows: list[tuple[Any, ...]]) -> None:
    """Every row once, in order, in batches of which three sizes occur."""
    cut = list(batches(rows))
    assert [value for _, values in cut for value in values] == [
        value for row in rows for value in row
    ]
    assert [size * 2 for size, _ in cut] == [len(values) for _, values in cut]
    assert {size for size, _ in cut} <= set(BATCH_SIZES)
    assert len(cut) <= len(rows) // 16 + 3 + 3

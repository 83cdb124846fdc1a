"""Reading a run store's tables past Turnout."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any


def rows(url: str, query: str) -> Sequence[tuple[Any, ...]]:
    """Read rows; tables are written `{table}`."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=20)) as connection:
            return connection.execute(query.replace("{", "turnout_").replace("}", "")).fetchall()
    import psycopg

    with psycopg.connect(url) as connection:
        text = query.replace("{", "turnout.turnout_").replace("}", "")
        return connection.execute(text.encode()).fetchall()


def own_table(url: str) -> None:
    """Make a table of the user's own beside Turnout's."""
    command = "CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY)"
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=20)) as connection:
            connection.execute(command)
        return
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(command)

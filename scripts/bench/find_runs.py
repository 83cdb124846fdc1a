"""How fast runs are found among a million, by what is known of them.

    python scripts/bench/find_runs.py [--runs N] [--rounds N] [--postgres URL | --no-postgres]

Fills an empty database by SQL: 500 tags, and one that a fifth of the runs have, 5,000 users, 20
tasks, one run in a hundred failed, one in five hundred live. Then asks for pages of 100, each
question with other values in every round. Prints one JSON object:
milliseconds, median and 95th percentile.
"""

import argparse
import asyncio
import contextlib
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
from run_store import postgres

from turnout.model.runs import RunFilter
from turnout.model.status import RunStatus
from turnout.stores.sql import open_run_store, upgrade

T0: Final = 1_700_000_000_000
FAILED: Final = frozenset({RunStatus.FAILED})
LIVE: Final = frozenset({RunStatus.QUEUED, RunStatus.RUNNING})

_FAILS: Final = "n * 7919 / 13 % 100 = 7"
_LIVES: Final = "n * 6007 / 17 % 500 = 3"
_STATE: Final = (
    f"CASE WHEN {_FAILS} THEN 'failed' WHEN {_LIVES} THEN 'running' ELSE 'completed' END"
)
_RUNS: Final = f"""
INSERT INTO {{schema}}turnout_runs (emit_seq, run_id, task, provider, payload, event, event_id,
  emitted_at, due_at, state, seq, fence, delivery, definition, code_version, started_at, ended_at,
  parked, parked_for, result, error_name, error_message, wake_sent, projected_seq, user_id)
SELECT n, 'run-' || n, 'task-' || (n * 7001 / 23 % 20), CASE WHEN n % 3 = 0 THEN 'x' ELSE 'y' END,
  {{json}}, 'go', 'event-' || n, {T0} + n * 100, {T0} + n * 100, {_STATE}, 4, 0, 1, 'd', 'c', {T0},
  CASE WHEN {_LIVES} THEN NULL ELSE {T0} + n * 100 + 50 END, 0, '',
  CASE WHEN {_FAILS} OR {_LIVES} THEN NULL ELSE {{json}} END,
  CASE WHEN {_FAILS} THEN 'ValueError' END,
  CASE WHEN {_FAILS} THEN 'no order ' || n END, 0, 4, 'u' || (n * 7919 / 7 % 5000)
FROM {{numbers}}
"""
_TAGS: Final = (
    "INSERT INTO {schema}turnout_tags SELECT 'tag-' || (n * 7907 / 11 % 500), n FROM {numbers}",
    "INSERT INTO {schema}turnout_tags SELECT 'common', n FROM {numbers} WHERE n * 53 / 19 % 5 = 0",
)


def questions(count: int, number: int) -> dict[str, RunFilter]:
    """Give what is asked in a round."""
    tag, user, task = f"tag-{number % 500}", f"u{number * 37 % 5000}", f"task-{number % 20}"
    middle = T0 + count * 50
    return {
        "tag": RunFilter(tags=(tag,)),
        "user": RunFilter(user_id=user),
        "task": RunFilter(task=task),
        "state": RunFilter(states=FAILED),
        "live": RunFilter(states=LIVE),
        "tag user state": RunFilter(tags=(tag,), user_id=user, states=FAILED),
        "common tag, state": RunFilter(tags=("common",), states=FAILED),
        "common tag, user": RunFilter(tags=("common",), user_id=user),
        "tag state": RunFilter(tags=(tag,), states=FAILED),
        "two tags": RunFilter(tags=("common", tag)),
        "task state": RunFilter(task=task, states=FAILED),
        "error": RunFilter(error=f"order {number}7"),
        "newest minute": RunFilter(since=T0 + count * 100 - 60_000),
        "a minute in the middle": RunFilter(since=middle, until=middle + 60_000),
        "page in the middle": RunFilter(tags=("common",), before=count // 2),
    }


async def ask(url: str, count: int, rounds: int) -> dict[str, Any]:
    """Ask every question once a round, and give the figures."""
    store = open_run_store(url)
    took: dict[str, list[float]] = {}
    for number in range(rounds + 2):
        for name, run_filter in questions(count, number).items():
            began = time.perf_counter()
            await store.runs.find(run_filter)
            took.setdefault(name, []).append((time.perf_counter() - began) * 1e3)
    await store.close()
    return {
        name: {
            "median_ms": round(statistics.median(times[2:]), 2),
            "p95_ms": round(statistics.quantiles(times[2:], n=20)[-1], 2),
        }
        for name, times in took.items()
    }


@contextlib.contextmanager
def sqlite_url(count: int) -> Iterator[str]:
    """Give a filled file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.db"
        url = f"sqlite:///{path}"
        upgrade(url)
        series = (
            f"WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count})"
        )
        numbers = f"({series} SELECT n FROM s)"
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA synchronous = OFF")
        for statement in (_RUNS, *_TAGS):
            connection.execute(statement.format(schema="", json="x'7b7d'", numbers=numbers))
        connection.commit()
        connection.close()
        yield url


def fill_postgres(url: str, count: int) -> None:
    """Fill a database on a server, as it would be after autovacuum."""
    upgrade(url)
    numbers = f"generate_series(1::bigint, {count}) AS s(n)"
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in (_RUNS, *_TAGS):
            text = statement.format(schema="turnout.", json="'{}'::bytea", numbers=numbers)
            connection.execute(text.encode())
        connection.execute("VACUUM ANALYZE")


def main() -> None:
    """Parse, fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--postgres")
    parser.add_argument("--no-postgres", action="store_true")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    with sqlite_url(options.runs) as url:
        figures["sqlite"] = asyncio.run(ask(url, options.runs, options.rounds))
    if not options.no_postgres:
        with postgres(options.postgres) as server:
            if server is not None:
                fill_postgres(server, options.runs)
                figures["postgres"] = asyncio.run(ask(server, options.runs, options.rounds))
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()

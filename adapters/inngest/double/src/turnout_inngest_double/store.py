"""Keeps documents in one SQLite file, written behind in groups.

`mark` says that a document changed; whatever has been marked when the writer is free is written in
one transaction, in the state that it then has. `settled` waits until all that was marked is on the
file. A killed process loses at most what was not settled; a killed machine may lose the last
transactions (WAL, synchronous=NORMAL).
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from turnout.errors import StoreUnavailable

DocSource = Callable[[], Any]
_Row = tuple[str, str, bytes | None]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    kind TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, key)
) WITHOUT ROWID
"""
_FORMAT = 2
logger = logging.getLogger(__name__)


class Store:
    """Documents by kind and key; a document is what `orjson` can write."""

    def __init__(self, path: Path | None) -> None:
        """Keep documents in the file; in memory when there is none."""
        self._connection = sqlite3.connect(path or ":memory:", check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in {0, _FORMAT}:
            raise RuntimeError(f"{path} was written by another version; start with a new --data")
        self._connection.execute(f"PRAGMA user_version={_FORMAT}")
        self._connection.execute(_SCHEMA)
        self._marked: dict[tuple[str, str], DocSource | None] = {}
        self._waiters: list[asyncio.Future[None]] = []
        self._writer: asyncio.Task[None] | None = None

    def load(self, kind: str) -> Iterator[Any]:
        """Every document of the kind, in order of key."""
        query = "SELECT body FROM documents WHERE kind = ? ORDER BY key"
        for (body,) in self._connection.execute(query, (kind,)):
            yield orjson.loads(body)

    def load_keys(self, kind: str) -> Iterator[tuple[str, bytes]]:
        """Every key and document of the kind, the latter unparsed."""
        query = "SELECT key, body FROM documents WHERE kind = ? ORDER BY key"
        yield from self._connection.execute(query, (kind,))

    def mark(self, kind: str, key: str, doc: DocSource) -> None:
        """Note that the document has changed; `doc` gives it when it is written."""
        self._marked[kind, key] = doc
        self._wake()

    def forget(self, kind: str, key: str) -> None:
        """Delete the document."""
        self._marked[kind, key] = None
        self._wake()

    async def settled(self) -> None:
        """Wait until everything marked before this call is on the file."""
        if self._writer is None:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    async def close(self) -> None:
        """Write what is left and close the file."""
        await self.settled()
        self._connection.close()

    def _wake(self) -> None:
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write_all())

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._marked or self._waiters:
                # One turn of the loop lets the changes that belong together gather.
                await asyncio.sleep(0)
                rows, waiters = self._take(), self._waiters
                self._waiters = []
                try:
                    await loop.run_in_executor(None, self._write, rows)
                except sqlite3.Error as error:
                    logger.exception("cannot write", extra={"action": "write"})
                    _answer(waiters, StoreUnavailable(str(error)))
                else:
                    _answer(waiters, None)
        finally:
            self._writer = None

    def _take(self) -> list[_Row]:
        marked, self._marked = self._marked, {}
        return [
            (kind, key, None if doc is None else orjson.dumps(doc()))
            for (kind, key), doc in marked.items()
        ]

    def _write(self, rows: list[_Row]) -> None:
        deleted = [(kind, key) for kind, key, body in rows if body is None]
        replaced = [row for row in rows if row[2] is not None]
        with self._connection:
            self._connection.executemany("DELETE FROM documents WHERE kind=? AND key=?", deleted)
            self._connection.executemany("REPLACE INTO documents VALUES (?, ?, ?)", replaced)


def _answer(waiters: list[asyncio.Future[None]], error: Exception | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)

"""Keeps the records in one SQLite file; writes are grouped, and an answer waits for its group."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from turnout_triggerdev_double.server.records import (
    Batch,
    BulkAction,
    ConcurrencyLimit,
    Deployment,
    RunRecord,
    ScheduleRecord,
    TaskQueue,
    Variable,
    Waitpoint,
    WorkerVersion,
)

KINDS = {
    "Run": RunRecord,
    "Waitpoint": Waitpoint,
    "Batch": Batch,
    "Schedule": ScheduleRecord,
    "Worker": WorkerVersion,
    "Queue": TaskQueue,
    "Limit": ConcurrencyLimit,
    "Variable": Variable,
    "BulkAction": BulkAction,
    "Deployment": Deployment,
}
"""What each kind of record is called in the file."""
NAMES = {kind: name for name, kind in KINDS.items()}

Record = (
    RunRecord
    | Waitpoint
    | Batch
    | ScheduleRecord
    | WorkerVersion
    | TaskQueue
    | ConcurrencyLimit
    | Variable
    | BulkAction
    | Deployment
)

_TABLES = """
CREATE TABLE IF NOT EXISTS records (kind TEXT, id TEXT, body BLOB, PRIMARY KEY (kind, id))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spans (trace TEXT, span TEXT, body BLOB, PRIMARY KEY (trace, span));
CREATE TABLE IF NOT EXISTS parts (number INTEGER PRIMARY KEY, run TEXT, stream TEXT, client TEXT,
    part TEXT);
CREATE INDEX IF NOT EXISTS parts_of_a_stream ON parts (run, stream, number);
CREATE TABLE IF NOT EXISTS typed_packets (name TEXT PRIMARY KEY, body BLOB, type TEXT);
"""


class RecordStore:
    """The records on disk.

    What was changed before `committed` returned survives a killed process, but not a crash of the
    machine: the server is a double.
    """

    def __init__(self, folder: Path | None) -> None:
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
        self._sql = sqlite3.connect(folder / "triggerdev.sqlite" if folder else ":memory:")
        self._sql.execute("PRAGMA journal_mode=WAL")
        self._sql.execute("PRAGMA synchronous=OFF")
        self._sql.executescript(_TABLES)
        self._changed: dict[tuple[str, str], Record | None] = {}
        self._spans: list[tuple[str, str, bytes]] = []
        self._group: asyncio.Future[None] | None = None
        self.on_put: Callable[[Record], None] = lambda _record: None
        """Is told of every record that is put."""

    def records(self) -> Iterator[Record]:
        """Read all records."""
        for kind, body in self._sql.execute("SELECT kind, body FROM records ORDER BY kind, id"):
            yield KINDS[kind](**orjson.loads(body))

    def put(self, record: Record) -> None:
        """Store the record with the next group, as it is then."""
        self._changed[(NAMES[type(record)], record.id)] = record
        self.on_put(record)

    def drop(self, record: Record) -> None:
        """Delete the record with the next group."""
        self._changed[(NAMES[type(record)], record.id)] = None

    def put_spans(self, spans: Iterable[dict[str, Any]]) -> None:
        """Store spans with the next group; each has `traceId` and `spanId`, the last one wins."""
        self._spans.extend((span["traceId"], span["spanId"], orjson.dumps(span)) for span in spans)

    def spans(self, trace: str) -> list[dict[str, Any]]:
        """All spans of a trace."""
        self.commit()
        rows = self._sql.execute("SELECT body FROM spans WHERE trace = ?", (trace,))
        return [orjson.loads(body) for (body,) in rows]

    def put_packet(self, name: str, body: bytes, kind: str) -> None:
        """Store a large payload or output, and its content type."""
        with self._sql:
            self._sql.execute(
                "INSERT OR REPLACE INTO typed_packets VALUES (?,?,?)", (name, body, kind)
            )

    def packet(self, name: str) -> tuple[bytes, str] | None:
        """The large payload or output of this name, and its content type."""
        rows = self._sql.execute("SELECT body, type FROM typed_packets WHERE name = ?", (name,))
        row: tuple[bytes, str] | None = rows.fetchone()
        return row

    def put_part(self, run: str, stream: str, client: str, part: str) -> None:
        """Store the next part of a run's stream."""
        with self._sql:
            row = (run, stream, client, part)
            self._sql.execute("INSERT INTO parts (run, stream, client, part) VALUES (?,?,?,?)", row)

    def stream(self, run: str, stream: str, after: int) -> list[tuple[int, str]]:
        """The parts of a stream after a number, as (number, part)."""
        rows = self._sql.execute(
            "SELECT number, part FROM parts WHERE run=? AND stream=? AND number>? ORDER BY number",
            (run, stream, after),
        )
        return list(rows)

    def stream_length(self, run: str, stream: str, client: str) -> int:
        """How many parts of a stream came from that client."""
        rows = self._sql.execute(
            "SELECT count(*) FROM parts WHERE run=? AND stream=? AND client=?",
            (run, stream, client),
        )
        return int(rows.fetchone()[0])

    async def committed(self) -> None:
        """Return once all changes made until now are written."""
        if not self._changed and not self._spans:
            return
        if self._group is None:
            loop = asyncio.get_running_loop()
            self._group = loop.create_future()
            loop.call_soon(self.commit)
        await asyncio.shield(self._group)

    def commit(self) -> None:
        """Write all changes in one transaction."""
        group, self._group = self._group, None
        changed, self._changed = self._changed, {}
        spans, self._spans = self._spans, []
        written = [(kind, key, orjson.dumps(r)) for (kind, key), r in changed.items() if r]
        dropped = [key for key, record in changed.items() if record is None]
        with self._sql:
            self._sql.executemany("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", written)
            self._sql.executemany("DELETE FROM records WHERE kind = ? AND id = ?", dropped)
            self._sql.executemany("INSERT OR REPLACE INTO spans VALUES (?, ?, ?)", spans)
        if group and not group.done():
            group.set_result(None)

    def close(self) -> None:
        """Write what is left and close the file."""
        self.commit()
        self._sql.close()

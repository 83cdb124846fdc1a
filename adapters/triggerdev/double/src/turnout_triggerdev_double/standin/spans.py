"""Spans of runs and steps, exported in groups as OTLP JSON."""

import asyncio
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from turnout_triggerdev_double.standin.http_client import NoResponse
from turnout_triggerdev_double.standin.server import VendorServer

FLUSH_SECONDS = 0.25
MAX_PENDING = 10_000
BATCH_SIZE = 500


class Spans:
    """Exports ended spans; while the server is away, it keeps the newest."""

    def __init__(self, server: VendorServer) -> None:
        self._server = server
        self._ended: list[dict[str, Any]] = []

    @contextmanager
    def span(
        self, run: str, attempt: int, parent: tuple[str, str], name: str, icon: str
    ) -> Iterator[dict[str, Any]]:
        """A span that ends with the block; entries of the dict become its attributes."""
        view: dict[str, Any] = {}
        span_id, start = secrets.token_hex(8), time.time_ns()
        view["$id"] = span_id
        failed = True
        try:
            yield view
            failed = False
        finally:
            del view["$id"]
            failed = failed or view.get("outcome") in {"failed", "retry", "timed_out"}
            attributes = {
                "ctx.run.id": run,
                "ctx.attempt.number": attempt,
                "$style.icon": icon,
                **{f"turnout.{key}": value for key, value in view.items() if value is not None},
            }
            span = {
                "traceId": parent[0],
                "spanId": span_id,
                "parentSpanId": parent[1],
                "name": name,
                "kind": 1,
                "startTimeUnixNano": str(start),
                "endTimeUnixNano": str(time.time_ns()),
                "attributes": [_attribute(key, value) for key, value in attributes.items()],
                "status": {"code": 2 if failed else 1},
            }
            self._ended.append(span)
            del self._ended[:-MAX_PENDING]

    async def run(self) -> None:
        """Export periodically, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Export the ended spans."""
        while self._ended:
            group, self._ended = self._ended[:BATCH_SIZE], self._ended[BATCH_SIZE:]
            scope = {"scope": {"name": "turnout"}, "spans": group}
            export = {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [scope]}]}
            try:
                await self._server.send_spans(export)
            except NoResponse:
                self._ended = group + self._ended
                return


def _attribute(key: str, value: Any) -> dict[str, Any]:
    match value:
        case bool():
            kind: dict[str, Any] = {"boolValue": value}
        case int():
            kind = {"intValue": str(value)}
        case float():
            kind = {"doubleValue": value}
        case dict():
            kind = {"stringValue": str(value.get("message") or value)[:1000]}
        case _:
            kind = {"stringValue": str(value)[:1000]}
    return {"key": key, "value": kind}

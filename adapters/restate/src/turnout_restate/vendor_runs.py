"""The vendor's invocations: reads, ends and lists those that carry our runs.

They are found by their ids or, before an id is known, by the idempotency key, which is the
delivery's. What the admin API's table `sys_invocation` says is read by SQL; a completed invocation
stays in it for a day (`RETENTION` in `serving`).
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from turnout.errors import ProviderRefused
from turnout.model.providers import Sighting
from turnout.model.runs import Delivery
from turnout.model.time import Millis
from turnout.ports.clock import Clock
from turnout_restate.api import RestateApi, Row, literal, text_in, time_in
from turnout_restate.statuses import state_of, word_of

PAGE: Final = 500
EVIDENCE: Final = ("id", "idempotency_key", "status", "created_at", "running_at", "completed_at")
"""Columns that are kept with a sighting; a failure's text may hold what a task has said."""
COLUMNS: Final = ", ".join((*EVIDENCE, "completion_result", "completion_failure"))
ENDING_LOOKS: Final = (0.02, 0.05, 0.1, 0.2)
"""Seconds between looks whether an invocation that was cancelled has ended."""


class VendorRuns:
    """The invocations of one app's runs."""

    def __init__(self, api: RestateApi, service: str, clock: Clock) -> None:
        """service: the vendor's name of the service that they invoke."""
        self._api = api
        self._service = service
        self._clock = clock

    async def look(self, delivery: Delivery) -> Sighting:
        """Read the state of a delivery's invocation."""
        row = await self._find(delivery)
        if row is None:
            return Sighting(state=None, word="not found", seen_at=self._clock.now())
        return self._sighting(row)

    async def stop(self, delivery: Delivery) -> bool:
        """Cancel the invocation, and kill one that does not end; True once the server says so.

        A cancelled invocation ends when it next waits. One that is in a call cannot notice it over
        HTTP/1.1; it keeps nothing that killing would break.
        """
        row = await self._find(delivery)
        for ending in ("cancel", "kill"):
            if row is None or state_of(row).terminal:
                return True
            invocation = text_in(row, "id")
            await self._api.admin("PATCH", f"/invocations/{quote(invocation, safe='')}/{ending}")
            row = await self._ended(invocation)
        return row is None or state_of(row).terminal

    async def list_page(
        self, since: Millis | None, after: str
    ) -> tuple[Mapping[str, Sighting], str]:
        """Read a page in order of ids; what `Lists.list_runs` gives.

        ProviderRefused for a page in another order, whose end would lead back to it.
        """
        condition = "status != 'completed'"
        if since is not None:
            text = datetime.fromtimestamp(since / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            condition = f"created_at >= {literal(text)}"
        rows = await self._rows(f"{condition} AND id > {literal(after)} ORDER BY id LIMIT {PAGE}")
        ids = [text_in(row, "id") for row in rows]
        if sorted({after, *ids}) != [after, *ids] or len(ids) > PAGE:
            raise ProviderRefused("Restate answered a page of invocations that is not in order")
        following = ids[-1] if len(ids) == PAGE else ""
        return dict(zip(ids, map(self._sighting, rows), strict=True)), following

    async def newest_open(self, count: int) -> Sequence[str]:
        """Return the runs that the newest open invocations carry, by their idempotency keys."""
        rows = await self._rows(f"status != 'completed' ORDER BY created_at DESC LIMIT {count}")
        keys = [str(row["idempotency_key"]) for row in rows if row.get("idempotency_key")]
        return [key.rpartition(".")[0] for key in keys]

    async def _ended(self, invocation: str) -> Row | None:
        """Read an invocation again and again until it has ended, or it takes too long."""
        for pause in ENDING_LOOKS:
            row = await self._row(f"id = {literal(invocation)}")
            if row is None or state_of(row).terminal:
                break
            await asyncio.sleep(pause)
        return row

    async def _find(self, delivery: Delivery) -> Row | None:
        if delivery.provider_run_id is not None:
            return await self._row(f"id = {literal(delivery.provider_run_id)}")
        return await self._row(f"idempotency_key = {literal(delivery.key)}")

    async def _row(self, condition: str) -> Row | None:
        rows = await self._rows(condition)
        return rows[0] if rows else None

    async def _rows(self, condition: str) -> Sequence[Row]:
        return await self._api.query(
            f"SELECT {COLUMNS} FROM sys_invocation"  # noqa: S608 - literals are quoted
            f" WHERE target_service_name = {literal(self._service)} AND {condition}"
        )

    def _sighting(self, row: Row) -> Sighting:
        return Sighting(
            state=state_of(row),
            word=word_of(row),
            seen_at=self._clock.now(),
            started_at=time_in(row, "running_at"),
            ended_at=time_in(row, "completed_at"),
            evidence={"source": "sys_invocation", **{name: row.get(name) for name in EVIDENCE}},
            key=str(row.get("idempotency_key") or ""),
        )

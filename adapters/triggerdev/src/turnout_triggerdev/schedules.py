"""Schedules at the server: one imperative, exact schedule for each of the app's.

A deduplication key is unique in a project, so ours contains the environment and its branch. The
external id is our schedule's id.
By default the server spreads the starts over an hour; the window `0m` makes them exact. It may
make a run up to half a minute early, so the worker reports the nominal due time.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from turnout.errors import InvalidDefinition, ProviderRefused, ProviderUnavailable
from turnout.model.schedules import ArmedSchedule, Schedule
from turnout_triggerdev.api import Api, flag_of, text_of
from turnout_triggerdev.definition import TICK_TASK
from turnout_triggerdev.moments import moment_of
from turnout_triggerdev.settings import TriggerdevSettings
from turnout_triggerdev.zones import Zones

PATH = "/api/v1/schedules"
EXACT = "0m"


class VendorSchedules:
    """The schedules of one app in one environment."""

    def __init__(self, api: Api, settings: TriggerdevSettings, app: str) -> None:
        self._api = api
        self._zones = Zones(api)
        self._arming = asyncio.Lock()
        self._prefix = f"turnout:{settings.scope}:{app}:"

    async def arm(self, schedules: Sequence[Schedule]) -> None:
        """Create or update these, delete the app's others; send nothing that has not changed.

        One call at a time: of two simultaneous requests with a new key the server fails one (500).
        """
        async with self._arming:
            await self._arm(schedules)

    async def _arm(self, schedules: Sequence[Schedule]) -> None:
        standing = {text_of(armed, "deduplicationKey"): armed for armed in await self._of_app()}
        for schedule in schedules:
            existing = standing.pop(self._prefix + schedule.id, None)
            if existing is None and schedule.paused:
                continue
            zone = await self._zones.vendor_name(schedule.zone)
            if existing is None or not _stands(existing, schedule, zone):
                await self._put(schedule, zone)
            await self._activate(existing, active=not schedule.paused)
        for armed in standing.values():
            await self._api.delete(f"{PATH}/{text_of(armed, 'id')}")

    async def armed(self) -> Sequence[ArmedSchedule]:
        """Read the app's schedules from the server."""
        return [
            ArmedSchedule(
                id=text_of(schedule, "deduplicationKey").removeprefix(self._prefix),
                task=None,
                cron=text_of(schedule.get("generator"), "expression"),
                zone=self._zones.our_name(str(schedule.get("timezone", "UTC"))),
                active=flag_of(schedule, "active"),
                next_at=moment_of(schedule.get("nextRun")),
                provider_id=text_of(schedule, "id"),
            )
            for schedule in await self._of_app()
        ]

    async def _of_app(self) -> list[dict[str, Any]]:
        return [
            schedule
            async for schedule in self._api.pages(PATH)
            if str(schedule.get("deduplicationKey", "")).startswith(self._prefix)
        ]

    async def _put(self, schedule: Schedule, zone: str) -> None:
        body = {
            "task": TICK_TASK,
            "cron": schedule.five_fields,
            "timezone": zone,
            "externalId": schedule.id,
            "deduplicationKey": self._prefix + schedule.id,
            "window": EXACT,
        }
        try:
            await self._put_twice(body)
        except ProviderRefused as error:
            raise InvalidDefinition(f"schedule {schedule.id!r}: {error}") from None

    async def _put_twice(self, body: dict[str, Any]) -> None:
        """Create or update; repeat a failure once, since another replica may have been first."""
        try:
            await self._api.post(PATH, body)
        except ProviderUnavailable as error:
            if error.retry_after is not None:
                raise
            await self._api.post(PATH, body)

    async def _activate(self, existing: dict[str, Any] | None, *, active: bool) -> None:
        """Pause or resume an existing schedule; a new schedule is active."""
        if existing is not None and flag_of(existing, "active") is not active:
            word = "activate" if active else "deactivate"
            await self._api.post(f"{PATH}/{text_of(existing, 'id')}/{word}")


def _stands(existing: dict[str, Any], schedule: Schedule, zone: str) -> bool:
    """Whether the server has this schedule already; before 4.8 it has, and shows, no window."""
    expected = (TICK_TASK, schedule.five_fields, zone, schedule.id, EXACT)
    return expected == (
        existing.get("task"),
        text_of(existing.get("generator"), "expression"),
        existing.get("timezone", "UTC"),
        existing.get("externalId"),
        existing.get("window", EXACT),
    )

"""Schedules at the server: imperative, exact, one for each of ours.

A deduplication key is per project, so it carries the environment and its branch; the external id
carries ours.
The server's default window spreads firing over an hour; `0m` is exact. Runs may be made up to
half a minute early, so the worker sends the nominal time and the run store claims it.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from turnout.errors import InvalidDefinition, ProviderRefused, ProviderUnavailable
from turnout.model.schedules import ArmedSchedule, Schedule
from turnout_triggerdev.api import Api, flag_of, text_of
from turnout_triggerdev.definition import TICK_TASK
from turnout_triggerdev.moments import moment_of
from turnout_triggerdev.settings import Settings
from turnout_triggerdev.zones import Zones

PATH = "/api/v1/schedules"
EXACT = "0m"


class Schedules:
    """The schedules of one app in one environment."""

    def __init__(self, api: Api, settings: Settings, app: str) -> None:
        self._api = api
        self._zones = Zones(api)
        self._arming = asyncio.Lock()
        self._prefix = f"turnout:{settings.scope}:{app}:"

    async def arm(self, schedules: Sequence[Schedule]) -> None:
        """Create or update these, and remove the app's others; nothing is sent that stands.

        One at a time: of two requests with one new key at once, the server answers 500 to one.
        """
        async with self._arming:
            await self._arm(schedules)

    async def _arm(self, schedules: Sequence[Schedule]) -> None:
        standing = {text_of(each, "deduplicationKey"): each for each in await self._ours()}
        for schedule in schedules:
            found = standing.pop(self._prefix + schedule.id, None)
            if found is None and schedule.paused:
                continue
            zone = await self._zones.theirs(schedule.zone)
            if found is None or not _stands(found, schedule, zone):
                await self._put(schedule, zone)
            await self._activate(found, active=not schedule.paused)
        for each in standing.values():
            await self._api.delete(f"{PATH}/{text_of(each, 'id')}")

    async def armed(self) -> Sequence[ArmedSchedule]:
        """Read back what the server will fire."""
        return [
            ArmedSchedule(
                id=text_of(each, "deduplicationKey").removeprefix(self._prefix),
                task=None,
                cron=text_of(each.get("generator"), "expression"),
                zone=self._zones.ours(str(each.get("timezone", "UTC"))),
                active=flag_of(each, "active"),
                next_at=moment_of(each.get("nextRun")),
                provider_id=text_of(each, "id"),
            )
            for each in await self._ours()
        ]

    async def _ours(self) -> list[dict[str, Any]]:
        return [
            each
            async for each in self._api.pages(PATH)
            if str(each.get("deduplicationKey", "")).startswith(self._prefix)
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
            await self._put_again(body)
        except ProviderRefused as error:
            raise InvalidDefinition(f"schedule {schedule.id!r}: {error}") from error

    async def _put_again(self, body: dict[str, Any]) -> None:
        """Create or update; once more if it fails, since another replica may have been first."""
        try:
            await self._api.post(PATH, body)
        except ProviderUnavailable as error:
            if error.retry_after is not None:
                raise
            await self._api.post(PATH, body)

    async def _activate(self, found: dict[str, Any] | None, *, active: bool) -> None:
        """Pause or resume; a new one is active, and so is one that was only updated."""
        if found is not None and flag_of(found, "active") is not active:
            word = "activate" if active else "deactivate"
            await self._api.post(f"{PATH}/{text_of(found, 'id')}/{word}")


def _stands(found: dict[str, Any], schedule: Schedule, zone: str) -> bool:
    """Whether the server has it so; servers before 4.8 show no window, and have none."""
    wanted = (TICK_TASK, schedule.five_fields, zone, schedule.id, EXACT)
    return wanted == (
        found.get("task"),
        text_of(found.get("generator"), "expression"),
        found.get("timezone", "UTC"),
        found.get("externalId"),
        found.get("window", EXACT),
    )

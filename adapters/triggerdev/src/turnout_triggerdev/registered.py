"""Which tasks the environment has registered, so that none is triggered that nobody would run."""

import asyncio
from collections.abc import Set as AbstractSet
from typing import Any, Final

from turnout.errors import ProviderUnavailable
from turnout.model.time import Millis
from turnout.ports.clock import Clock
from turnout_triggerdev.api import Api, items_of, text_of
from turnout_triggerdev.definition import queue_of
from turnout_triggerdev.settings import Settings

BELIEVED: Final[Millis] = 30_000
"""What was read is believed for so long: a deployment may have taken a task away."""


class Registered:
    """The registered tasks of one environment, read when they are needed."""

    def __init__(self, api: Api, settings: Settings, clock: Clock) -> None:
        self._api = api
        self._settings = settings
        self._clock = clock
        self._known: frozenset[str] = frozenset()
        self._read_at: Millis | None = None
        self._reading = asyncio.Lock()

    async def missing(self, wanted: AbstractSet[str]) -> AbstractSet[str]:
        """Tell which of these tasks are not registered; reads again before it says so."""
        if self._believed(wanted):
            return frozenset()
        async with self._reading:
            if not self._believed(wanted):
                self._known = await self._read(wanted)
                self._read_at = self._clock.now()
            return wanted - self._known

    async def _read(self, wanted: AbstractSet[str]) -> frozenset[str]:
        if self._settings.project_ref is None or self._settings.access_token is None:
            queues = await self._queues()
            return frozenset(each for each in wanted if queues & {each, queue_of(each)})
        return await self._of_current_worker(self._settings.project_ref)

    def _believed(self, wanted: AbstractSet[str]) -> bool:
        fresh = self._read_at is not None and self._clock.now() - self._read_at < BELIEVED
        return fresh and wanted <= self._known

    async def _of_current_worker(self, project_ref: str) -> frozenset[str]:
        name = self._settings.environment_name
        path = f"/api/v1/projects/{project_ref}/{name}/workers/current"
        found = await self._api.get(path, token=True)
        if found is None:
            return frozenset()
        return frozenset(_id_of(each) for each in items_of(found.get("worker") or found, "tasks"))

    async def _queues(self) -> frozenset[str]:
        """Every task has a queue: the one that it declares, or one with its own name."""
        pages = self._api.pages("/api/v1/queues")
        return frozenset([text_of(each, "name").removeprefix("task/") async for each in pages])


def _id_of(task: dict[str, Any]) -> str:
    value = task.get("slug") or task.get("id")
    if not isinstance(value, str):
        raise ProviderUnavailable("triggerdev answered with a task that has no 'slug'")
    return value

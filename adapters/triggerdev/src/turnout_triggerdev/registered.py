"""Which tasks the environment has registered: no other task may be triggered."""

import asyncio
from collections.abc import Set as AbstractSet
from typing import Any, Final

from turnout.errors import ProviderUnavailable
from turnout.model.time import Millis
from turnout.ports.clock import Clock
from turnout_triggerdev.api import Api, items_of, text_of
from turnout_triggerdev.definition import queue_of
from turnout_triggerdev.settings import TriggerdevSettings

BELIEVED: Final[Millis] = 30_000
"""How long a reading is valid: a deployment may remove a task."""


class RegisteredTasks:
    """The registered tasks of one environment, read on demand."""

    def __init__(self, api: Api, settings: TriggerdevSettings, clock: Clock) -> None:
        self._api = api
        self._settings = settings
        self._clock = clock
        self._registered: frozenset[str] = frozenset()
        self._read_at: Millis | None = None
        self._reading = asyncio.Lock()

    async def missing(self, tasks: AbstractSet[str]) -> AbstractSet[str]:
        """Return those of the tasks that are not registered, by a fresh reading."""
        if self._believed(tasks):
            return frozenset()
        async with self._reading:
            if not self._believed(tasks):
                self._registered = await self._read(tasks)
                self._read_at = self._clock.now()
            return tasks - self._registered

    async def _read(self, tasks: AbstractSet[str]) -> frozenset[str]:
        if self._settings.project_ref is None or self._settings.access_token is None:
            queues = await self._queues()
            return frozenset(task for task in tasks if queues & {task, queue_of(task)})
        return await self._of_current_worker(self._settings.project_ref)

    def _believed(self, tasks: AbstractSet[str]) -> bool:
        fresh = self._read_at is not None and self._clock.now() - self._read_at < BELIEVED
        return fresh and tasks <= self._registered

    async def _of_current_worker(self, project_ref: str) -> frozenset[str]:
        name = self._settings.environment_name
        path = f"/api/v1/projects/{project_ref}/{name}/workers/current"
        answer = await self._api.get(path, token=True)
        if answer is None:
            return frozenset()
        return frozenset(_id_of(task) for task in items_of(answer.get("worker") or answer, "tasks"))

    async def _queues(self) -> frozenset[str]:
        """Read the queues: every task has one, either declared or of the task's name."""
        pages = self._api.pages("/api/v1/queues")
        return frozenset([text_of(queue, "name").removeprefix("task/") async for queue in pages])


def _id_of(task: dict[str, Any]) -> str:
    value = task.get("slug") or task.get("id")
    if not isinstance(value, str):
        raise ProviderUnavailable("triggerdev answered with a task that has no 'slug'")
    return value

"""Makes the app's tasks and schedules known to the providers, and keeps at it until they are."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from turnout.errors import TurnoutError
from turnout.model.tasks import App
from turnout.ports.caller import DurableCaller

log = logging.getLogger(__name__)

FIRST, LONGEST = 0.2, 10.0
"""Seconds between tries: a provider may be down, and our own endpoint not be up yet."""


class Registrar:
    """Registers in the background; a provider is ready once it knows the app."""

    def __init__(
        self, app: App, callers: Mapping[str, DurableCaller], arm: Callable[[str], Awaitable[None]]
    ) -> None:
        self._app = app
        self._callers = callers
        self._arm = arm
        self._tasks: list[asyncio.Task[None]] = []
        self.problems: dict[str, str] = dict.fromkeys(callers, "not registered yet")
        """Why a provider is not ready, by name."""

    def ready(self, name: str) -> bool:
        """Whether the provider knows the app's tasks."""
        return name in self._callers and name not in self.problems

    def start(self) -> None:
        """Begin to register with every provider, each on its own."""
        self._tasks = [asyncio.create_task(self._register(name)) for name in self._callers]

    async def close(self) -> None:
        """Stop trying."""
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _register(self, name: str) -> None:
        pause = FIRST
        while True:
            try:
                await self._callers[name].define(self._app)
                await self._arm(name)
            except Exception as error:  # noqa: BLE001 - the edge of an adapter: it is tried again
                self._note(name, error)
            else:
                self.problems.pop(name, None)
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST)

    def _note(self, name: str, error: Exception) -> None:
        known = isinstance(error, TurnoutError)
        problem = str(error) if known else f"{type(error).__name__}: {error}"
        if self.problems.get(name) != problem:
            log.warning(
                "not registered; tried again",
                extra={"action": "define", "provider": name, "error": problem},
                exc_info=None if known else error,
            )
        self.problems[name] = problem

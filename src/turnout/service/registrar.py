"""Registers the app's tasks and schedules with the providers, and retries until it succeeds."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from turnout.errors import TurnoutError, foreign_errors_translated
from turnout.model.tasks import App
from turnout.ports.caller import DurableCaller

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Seconds between tries: a provider may be down, and our own endpoint not be up yet."""


class Registrar:
    """Registers the app with each provider; a provider is ready once it knows the app."""

    def __init__(
        self, app: App, callers: Mapping[str, DurableCaller], arm: Callable[[str], Awaitable[None]]
    ) -> None:
        self._app = app
        self._callers = callers
        self._arm = arm
        self.problems: dict[str, str] = dict.fromkeys(callers, "not registered yet")
        """Why a provider is not ready, by name."""

    def ready(self, name: str) -> bool:
        """Whether the provider knows the app's tasks."""
        return name in self._callers and name not in self.problems

    async def register_all(self) -> None:
        """Register with every provider at the same time; returns when all are ready."""
        await asyncio.gather(*map(self._register, self._callers))

    async def _register(self, name: str) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                with foreign_errors_translated():
                    await self._callers[name].define(self._app)
                    await self._arm(name)
            except TurnoutError as error:
                self._note(name, error)
            else:
                self.problems.pop(name, None)
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _note(self, name: str, error: TurnoutError) -> None:
        problem = str(error)
        if self.problems.get(name) != problem:
            log.warning(
                "the tasks are not registered with a provider; tried again",
                extra={"action": "define", "provider": name, "error": problem},
                exc_info=error.__cause__,
            )
        self.problems[name] = problem

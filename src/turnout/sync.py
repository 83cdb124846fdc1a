"""The door: calls for code that is not async, in Flask, Django and scripts.

A loop in one thread runs the async objects; there is no second, sync implementation.
"""

import asyncio
import os
import threading
from collections.abc import Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from turnout.bootstrap.live import open_turnout
from turnout.errors import WrongUse
from turnout.model.events import Emitted, Event
from turnout.model.reports import Cancelled, RunReport
from turnout.model.schedules import Schedule
from turnout.model.tasks import App
from turnout.service.process import Turnout

Answer = TypeVar("Answer")


class SyncDoor:
    """The orchestrator's calls, each of which waits for its answer; safe from any thread.

    `serve=True` also runs the pump and the callers in the door's thread.
    """

    def __init__(
        self, app: App, environ: Mapping[str, str] | None = None, *, serve: bool = False
    ) -> None:
        self._process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="turnout-door", daemon=True
        )
        self._thread.start()
        try:
            self.turnout: Turnout = self.call(_opened(app, environ, serve=serve))
        except BaseException:
            self._end()
            raise

    def call(self, coroutine: Coroutine[Any, Any, Answer]) -> Answer:
        """Run a coroutine in the door's loop, and wait for its answer.

        WrongUse in a process that was forked after the door was opened: its thread stayed behind.
        """
        if os.getpid() != self._process:
            coroutine.close()
            raise WrongUse("this door was opened in another process; open one in each process")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def emit(self, *events: Event, connection: Any = None) -> Sequence[Emitted]:
        """As `Emits.emit`; connection: the caller's own sync SQL transaction."""
        return self.call(self.turnout.orchestrator.emit(*events, connection=connection))

    def cancel(self, run_id: str, *, by: str | None = None) -> Cancelled:
        """As `Cancels.cancel`."""
        return self.call(self.turnout.orchestrator.cancel(run_id, by=by))

    def status(self, run_id: str, *, look: bool = False) -> RunReport:
        """As `ReportsStatus.status`."""
        return self.call(self.turnout.orchestrator.status(run_id, look=look))

    def schedule_recurring(self, schedule: Schedule) -> None:
        """As `SchedulesRecurring.schedule_recurring`."""
        self.call(self.turnout.orchestrator.schedule_recurring(schedule))

    def close(self) -> None:
        """Close the live objects and end the thread; a fork leaves both to the first process."""
        if os.getpid() != self._process:
            return
        self.call(self.turnout.close())
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def sync_door(
    app: App, environ: Mapping[str, str] | None = None, *, serve: bool = False
) -> SyncDoor:
    """Open a door; close it, or use it as a context manager."""
    return SyncDoor(app, environ, serve=serve)


async def _opened(app: App, environ: Mapping[str, str] | None, *, serve: bool) -> Turnout:
    turnout = open_turnout(app, environ, serve=serve)
    await turnout.start()
    return turnout

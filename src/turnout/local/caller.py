"""`local`: a durable caller in this process, made durable by the run store alone.

Its queue of calls is in memory only. What is lost from it the pump delivers again, in this process
or in another one that shares the run store.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from turnout.errors import Refused, TurnoutError, WrongUse
from turnout.local.call import LocalCall
from turnout.local.ticker import Ticker, armed_schedules
from turnout.model.providers import Delivered, Sighting
from turnout.model.runs import Delivery, Wake
from turnout.model.schedules import ArmedSchedule, Schedule
from turnout.model.status import Capability, Held, RunStatus
from turnout.model.tasks import App, Task
from turnout.model.time import Millis
from turnout.ports.caller import Surroundings

log = logging.getLogger(__name__)

CAPABILITIES: Mapping[Capability, Held] = dict.fromkeys(Capability, Held.OURS)


class LocalCaller:
    """Calls the worker in this process, at most `width` runs at once."""

    recovery: Millis = 10_000

    def __init__(self, name: str, surroundings: Surroundings, *, width: int = 64) -> None:
        self.name = name
        self._app = surroundings.app
        if surroundings.runs_on is None:
            raise WrongUse("the embedded provider calls a worker in its own process: give runs_on")
        self._worker = surroundings.worker
        self._runs_on = surroundings.runs_on
        self._clock = surroundings.clock
        self._width = width
        self._waiting: asyncio.Queue[Delivery] = asyncio.Queue()
        self._queued: set[str] = set()
        self._calls: dict[str, LocalCall] = {}
        self._woken: dict[str, Delivery] = {}
        self._callers: set[asyncio.Task[None]] = set()
        self._closing = False
        self._living_schedules = surroundings.living_schedules
        self._ticker = Ticker(name, surroundings)

    @property
    def capabilities(self) -> Mapping[Capability, Held]:
        """Turnout holds every capability itself."""
        return CAPABILITIES

    async def start(self) -> None:
        """Begin to call."""
        for _ in range(self._width):
            self._add_caller()
        self._ticker.start()

    async def close(self) -> None:
        """Stop calling; a call under way is cancelled, and its claim left to its lease."""
        self._closing = True
        await self._ticker.close()
        callers = list(self._callers)
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)

    async def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Delivered]:
        """Call each run, soon."""
        for delivery in deliveries:
            self._enqueue(delivery)
        return [Delivered(key=item.key, provider_run_id=item.key) for item in deliveries]

    async def wake(self, wakes: Sequence[Wake]) -> None:
        """Call each run again, soon."""
        for wake in wakes:
            if wake.delivery is not None:
                self._enqueue(wake.delivery)

    async def stop(self, delivery: Delivery) -> bool:
        """Confirm at once: calls for a run that has ended are refused, so nothing is stopped."""
        del delivery
        return True

    async def look(self, delivery: Delivery) -> Sighting:
        """Report the run as running: only the run store knows more, and it is not asked here."""
        del delivery
        return Sighting(state=RunStatus.RUNNING, word="embedded", seen_at=self._clock.now())

    async def arm(self, schedules: Sequence[Schedule]) -> None:
        """Tick these schedules, and no others."""
        self._ticker.arm(schedules)

    async def armed(self) -> Sequence[ArmedSchedule]:
        """Read back the schedules that are ticked: in this process, else in the living replicas."""
        if self._ticker.started or self._living_schedules is None:
            return self._ticker.armed()
        return armed_schedules(await self._living_schedules(self.name), self._clock.now())

    def check(self, task: Task) -> None:
        """Refuse nothing: Turnout keeps every policy itself."""

    async def define(self, app: App) -> None:
        """Do nothing: the tasks are in this process."""

    async def defined(self) -> Sequence[str]:
        """Name the tasks of this process's app."""
        return [task.id for task in self._app.tasks]

    def _enqueue(self, delivery: Delivery) -> None:
        """Queue a call, or wake the one that is under way, so that no wake is lost."""
        call = self._calls.get(delivery.key)
        if call is not None:
            call.wake()
            self._woken[delivery.key] = delivery
        elif delivery.key not in self._queued:
            self._queued.add(delivery.key)
            self._waiting.put_nowait(delivery)

    def _add_caller(self) -> None:
        caller = asyncio.create_task(self._call_all())
        self._callers.add(caller)
        caller.add_done_callback(self._replace)

    def _replace(self, ended: asyncio.Task[None]) -> None:
        """Start another caller in place of one that a task function cancelled, or that failed."""
        self._callers.discard(ended)
        if self._closing:
            return
        if ended.cancelled():
            log.warning(
                "a task function cancelled its call; the pump calls again", extra={"action": "call"}
            )
        else:
            log.error(
                "a call failed unexpectedly; the pump calls again",
                exc_info=ended.exception(),
                extra={"action": "call"},
            )
        self._add_caller()

    async def _call_all(self) -> None:
        while True:
            delivery = await self._waiting.get()
            self._queued.discard(delivery.key)
            call = LocalCall(
                delivery, self._app.definition, self._worker, self._runs_on, self._clock
            )
            self._calls[delivery.key] = call
            try:
                await self._guarded(call, delivery.run_id)
            finally:
                del self._calls[delivery.key]
                woken = self._woken.pop(delivery.key, None)
                if woken is not None:
                    self._enqueue(woken)

    async def _guarded(self, call: LocalCall, run_id: str) -> None:
        try:
            await call.run()
        except Refused:
            pass
        except TurnoutError as error:
            log.warning(
                "call failed; the pump calls again",
                extra={"action": "call", "run_id": run_id, "error": str(error)},
            )

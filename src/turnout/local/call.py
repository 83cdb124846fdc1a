"""Calls the worker for one run until it parks or ends, as a vendor's worker does."""

import asyncio
import contextlib
from functools import partial
from typing import Any, Final, TypeAlias

from turnout.errors import Unavailable
from turnout.model.protocol import Advance, Execute, Next, Start
from turnout.model.runs import Delivery
from turnout.model.time import Millis
from turnout.ports.clock import Clock, happened
from turnout.ports.worker import RunsOn, Worker

RETRY_PAUSE: Final[Millis] = 500
"""The pause before a call that was answered Unavailable is made again."""

Key: TypeAlias = tuple[str, int]
"""An attempt: the step's id and the attempt's number."""


class LocalCall:
    """Calls the worker for one delivery; several attempts may be under way at once."""

    def __init__(
        self, delivery: Delivery, definition: str, worker: Worker, runs_on: RunsOn, clock: Clock
    ) -> None:
        self._common: dict[str, Any] = {
            "task": delivery.task,
            "definition": definition,
            "run_id": delivery.run_id,
            "delivery": delivery.number,
            "provider_run_id": delivery.key,
        }
        self._delivered = delivery.run
        """The run as it came with its delivery; None once the worker has it."""
        self._worker = worker
        self._runs_on = runs_on
        self._clock = clock
        self._executing: dict[Key, asyncio.Task[Next]] = {}
        self._ended: list[Key] = []
        self._woken = False
        self._changed = asyncio.Event()
        """Set when an attempt has ended, and by a wake."""

    def wake(self) -> None:
        """Advance the run again, beside what is under way."""
        self._woken = True
        self._changed.set()

    async def run(self) -> None:
        """Do what the worker answers until the run parks or ends."""
        try:
            answer = await self._run_on(Advance(**self._common))
            while answer.run or self._executing:
                if len(answer.run) == 1 and not self._executing and answer.park is None:
                    answer = await self._run_on(self._execution(answer.run[0]))
                else:
                    answer = await self._run_beside(answer)
        finally:
            if self._executing:
                for task in self._executing.values():
                    task.cancel()
                await asyncio.gather(*self._executing.values(), return_exceptions=True)

    async def _run_beside(self, answer: Next) -> Next:
        """Start the attempts of an answer; return the next answer, after an end or a wake."""
        for start in answer.run:
            key = (start.step, start.attempt)
            if key not in self._executing:
                self._executing[key] = task = asyncio.create_task(self._execute(start))
                task.add_done_callback(partial(self._end, key))
        if not (self._ended or self._woken):
            await self._change(answer)
        if not self._ended:
            self._woken = False
            return await self._advance()
        ended, self._ended = self._ended, []
        answers = [self._executing.pop(key).result() for key in ended]
        return max(answers, key=lambda latest: latest.seq)

    def _end(self, key: Key, _task: asyncio.Task[Next]) -> None:
        self._ended.append(key)
        self._changed.set()

    async def _change(self, answer: Next) -> None:
        """Wait for the end of an attempt, a wake, or the park's time."""
        self._changed.clear()
        if answer.park is None or answer.park.until is None:
            await self._changed.wait()
        else:
            pause = max(1, answer.park.until - self._clock.now())
            await happened(self._changed, self._clock, pause)

    async def _run_on(self, call: Advance | Execute) -> Next:
        while True:
            with contextlib.suppress(Unavailable):
                delivered, self._delivered = self._delivered, None
                return await self._runs_on.run_on(call, delivered=delivered)
            await self._clock.sleep(RETRY_PAUSE)

    async def _advance(self) -> Next:
        call = Advance(**self._common)
        while True:
            with contextlib.suppress(Unavailable):
                return await self._worker.answer(call)
            await self._clock.sleep(RETRY_PAUSE)

    async def _execute(self, start: Start) -> Next:
        call = self._execution(start)
        while True:
            with contextlib.suppress(Unavailable):
                return (await self._worker.answer(call)).next
            await self._clock.sleep(RETRY_PAUSE)

    def _execution(self, start: Start) -> Execute:
        return Execute(**self._common, step=start.step, attempt=start.attempt)

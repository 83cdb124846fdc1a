"""Calls the worker for one run until it parks or ends, as a vendor's worker does."""

import asyncio
import contextlib
from typing import Any, Final, TypeAlias

from turnout.errors import Unavailable
from turnout.model.protocol import Advance, Execute, Next, Start
from turnout.model.runs import Delivery
from turnout.model.time import Millis
from turnout.ports.clock import Clock
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
        self._woken = asyncio.Event()
        self._executing: dict[Key, asyncio.Task[Next]] = {}

    def wake(self) -> None:
        """Advance the run again, beside what is under way."""
        self._woken.set()

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
                self._executing[key] = asyncio.create_task(self._execute(start))
        ended = await self._first_ended(answer)
        if not ended:
            self._woken.clear()
            return await self._advance()
        answers = [self._executing.pop(key).result() for key in ended]
        return max(answers, key=lambda latest: latest.seq)

    async def _first_ended(self, answer: Next) -> list[Key]:
        """Wait for an attempt, a wake or the park's time; return the attempts that have ended."""
        alarms: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._woken.wait())]
        if answer.park is not None and answer.park.until is not None:
            pause = max(1, answer.park.until - self._clock.now())
            alarms.append(asyncio.ensure_future(self._clock.sleep(pause)))
        try:
            await asyncio.wait(
                {*self._executing.values(), *alarms}, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for alarm in alarms:
                alarm.cancel()
            await asyncio.gather(*alarms, return_exceptions=True)
        return [key for key, task in self._executing.items() if task.done()]

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

"""One run, called until it parks or ends: what a vendor's worker does, in process."""

import asyncio
import contextlib
from typing import Any

from turnout.errors import Unavailable
from turnout.model.protocol import PROTOCOL, Advance, Execute, Next, Start
from turnout.model.runs import Delivery
from turnout.model.time import Millis
from turnout.ports.clock import Clock
from turnout.ports.worker import RunsOn, Worker

PAUSE: Millis = 500
"""Before a call that met something unavailable is made again."""

Key = tuple[str, int]


class RunCalls:
    """Calls the worker for one delivery; several attempts may be under way at once."""

    def __init__(
        self, delivery: Delivery, definition: str, worker: Worker, runs_on: RunsOn, clock: Clock
    ) -> None:
        self._common: dict[str, Any] = {
            "protocol": PROTOCOL,
            "provider_attempt": 1,
            "task": delivery.task,
            "definition": definition,
            "run_id": delivery.run_id,
            "delivery": delivery.number,
            "provider_run_id": delivery.key,
        }
        self._known = delivery.run
        self._worker = worker
        self._runs_on = runs_on
        self._clock = clock
        self._woken = asyncio.Event()
        self._flights: dict[Key, asyncio.Task[Next]] = {}

    def wake(self) -> None:
        """Look at the run again, beside what is under way."""
        self._woken.set()

    async def go(self) -> None:
        """Do what the worker says until nothing is left to do here."""
        try:
            said = await self._run_on(Advance(op="advance", **self._common))
            while said.run or self._flights:
                if len(said.run) == 1 and not self._flights and said.park is None:
                    said = await self._run_on(self._execution(said.run[0]))
                else:
                    said = await self._several(said)
        finally:
            if self._flights:
                for flight in self._flights.values():
                    flight.cancel()
                await asyncio.gather(*self._flights.values(), return_exceptions=True)

    async def _several(self, said: Next) -> Next:
        """Start what is to start, and come back when something has ended, is due or was woken."""
        for start in said.run:
            key = (start.step, start.attempt)
            if key not in self._flights:
                self._flights[key] = asyncio.create_task(self._execute(start))
        ended = await self._something(said)
        if not ended:
            self._woken.clear()
            return await self._advance()
        answers = [self._flights.pop(key).result() for key in ended]
        return max(answers, key=lambda each: each.seq)

    async def _something(self, said: Next) -> list[Key]:
        waits: set[asyncio.Future[Any]] = {*self._flights.values()}
        beside: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._woken.wait())]
        if said.park is not None and said.park.until is not None:
            pause = max(1, said.park.until - self._clock.now())
            beside.append(asyncio.ensure_future(self._clock.sleep(pause)))
        try:
            await asyncio.wait({*waits, *beside}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in beside:
                each.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        return [key for key, flight in self._flights.items() if flight.done()]

    async def _run_on(self, call: Advance | Execute) -> Next:
        while True:
            with contextlib.suppress(Unavailable):
                known, self._known = self._known, None
                return await self._runs_on.run_on(call, delivered=known)
            await self._clock.sleep(PAUSE)

    async def _advance(self) -> Next:
        call = Advance(op="advance", **self._common)
        while True:
            with contextlib.suppress(Unavailable):
                return await self._worker.answer(call)
            await self._clock.sleep(PAUSE)

    async def _execute(self, start: Start) -> Next:
        call = self._execution(start)
        while True:
            with contextlib.suppress(Unavailable):
                return (await self._worker.answer(call)).next
            await self._clock.sleep(PAUSE)

    def _execution(self, start: Start) -> Execute:
        return Execute(op="execute", **self._common, step=start.step, attempt=start.attempt)

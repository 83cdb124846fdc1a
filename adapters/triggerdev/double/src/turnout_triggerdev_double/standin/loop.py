"""The worker loop: advance, execute, park, until the run ends. It keeps no state of its own."""

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from turnout_triggerdev_double.standin.messages import (
    ENDED,
    NextAnswer,
    StepStart,
    UnreadableAnswer,
    read_next,
)
from turnout_triggerdev_double.standin.pauses import Pauses
from turnout_triggerdev_double.standin.service import ServiceRefused, StepService

SHORT_SLEEP_MS = 5_000
"""A pure sleep up to this is slept in process."""
SHORTEST_SLEEP = 0.005
"""The first pause when nothing is left of a wait by this clock; it grows while that is so."""
LONGEST_TOKEN_MS = 24 * 3_600_000
TIMED = frozenset({"sleep", "backoff"})
"""Reasons that only time ends."""
IDLE_PAUSE = 0.05
"""Seconds before asking again when an answer says neither what to run nor what to wait for."""


class LoopHost(Protocol):
    """What the loop needs of the vendor's run that it is in."""

    async def new_token(self, key: str, until_ms: int) -> str:
        """A token that a wake completes, or time; the same key gives the same token."""
        ...

    async def wait(self, token: str) -> None:
        """Return when the token is completed or timed out."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Sleep in process."""
        ...

    def step_span(self, label: str) -> AbstractAsyncContextManager[dict[str, Any]]:
        """A span of the trace; entries of the dict become its attributes."""
        ...

    def progress(self, progress: dict[str, Any]) -> None:
        """Show how far the run is."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What every message of a vendor attempt carries."""

    task: str
    definition: str
    run_id: str
    delivery: int
    provider_run_id: str
    provider_attempt: int

    def message(self, op: str, **fields: Any) -> dict[str, Any]:
        """A message of this attempt."""
        return {
            "protocol": 1,
            "op": op,
            "task": self.task,
            "definition": self.definition,
            "run_id": self.run_id,
            "delivery": self.delivery,
            "provider_run_id": self.provider_run_id,
            "provider_attempt": self.provider_attempt,
            **fields,
        }


async def drive(identity: Identity, service: StepService, host: LoopHost) -> NextAnswer:
    """Work on the run until it ends, and return its last Next.

    Raises EndQuietly and ServiceRefused. Cancelling it closes all calls.
    """
    loop = _Loop(identity, service, host)
    try:
        return await loop.run()
    except UnreadableAnswer as error:
        raise ServiceRefused("unreadable", str(error)) from error
    finally:
        await loop.close()


class _Loop:
    def __init__(self, identity: Identity, service: StepService, host: LoopHost) -> None:
        self._identity = identity
        self._service = service
        self._host = host
        self._next: NextAnswer | None = None
        self._calls: dict[tuple[str, int], asyncio.Task[NextAnswer]] = {}
        self._waits: dict[int, int] = {}
        self._pauses = Pauses()

    async def run(self) -> NextAnswer:
        await self._advance()
        while True:
            current = self._next
            assert current is not None
            if current.state in ENDED:
                return current
            if self._calls:
                await self._answers(current)
            elif current.park is not None:
                await self._park(current)
            else:
                await self._host.sleep(self._pauses.least(current, IDLE_PAUSE))
                await self._advance()

    async def close(self) -> None:
        for call in self._calls.values():
            call.cancel()
        await asyncio.gather(*self._calls.values(), return_exceptions=True)

    async def _advance(self) -> None:
        self._take(read_next(await self._service.say(self._identity.message("advance"))))

    def _take(self, answer: NextAnswer) -> None:
        """Take the answer over unless it is outdated; start its steps that do not run yet."""
        if self._next is not None and answer.seq < self._next.seq:
            return
        self._next = answer
        self._host.progress(answer.progress)
        for start in answer.run:
            if start.key not in self._calls:
                self._calls[start.key] = asyncio.create_task(self._execute(start))

    async def _execute(self, start: StepStart) -> NextAnswer:
        message = self._identity.message("execute", step=start.step, attempt=start.attempt)
        async with self._host.step_span(start.label) as view:
            answer = await self._service.say(message)
            receipt = answer.get("receipt")
            if isinstance(receipt, dict):
                view.update(receipt)
        return read_next(answer.get("next"))

    async def _answers(self, current: NextAnswer) -> None:
        """Wait for the calls in flight; a park beside them is a timer, never the vendor's wait."""
        seconds = None
        if current.park is not None and current.park.until is not None:
            least = self._pauses.least(current, IDLE_PAUSE)
            seconds = max(least, (current.park.until - now_ms()) / 1000)
        completed, _ = await asyncio.wait(
            self._calls.values(), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        if not completed:
            await self._advance()
            return
        finished = [key for key, call in self._calls.items() if call in completed]
        answers = [self._calls.pop(key).result() for key in finished]
        for answer in sorted(answers, key=lambda item: -item.seq):
            self._take(answer)

    async def _park(self, current: NextAnswer) -> None:
        park = current.park
        assert park is not None
        least = self._pauses.least(current, SHORTEST_SLEEP)
        remaining = None if park.until is None else park.until - now_ms()
        if remaining is not None and remaining <= SHORT_SLEEP_MS and park.reasons <= TIMED:
            await self._host.sleep(max(least, remaining / 1000))
            await self._advance()
            return
        if self._pauses.is_repeated:
            # The last token ended at once: by the vendor's clock, or by a wake without a change.
            await self._host.sleep(least)
        until = now_ms() + LONGEST_TOKEN_MS
        if park.until is not None:
            until = min(until, max(park.until, now_ms()))
        token = await self._host.new_token(self._token_key(current.seq), until)
        message = self._identity.message("park", seq=current.seq, token=token)
        answer = await self._service.say(message)
        if answer.get("go") is not True:
            self._take(read_next(answer.get("next")))
            return
        await self._host.wait(token)
        await self._advance()

    def _token_key(self, seq: int) -> str:
        """A key of its own for each wait: a completed token would end the next wait at once."""
        number = self._waits.get(seq, 0)
        self._waits[seq] = number + 1
        key = f"{self._identity.run_id}.{self._identity.delivery}.{seq}"
        return key if number == 0 else f"{key}.{number}"


def now_ms() -> int:
    """The wall clock in milliseconds."""
    return time.time_ns() // 1_000_000

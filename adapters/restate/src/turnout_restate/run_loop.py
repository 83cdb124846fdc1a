"""The conversation of one invocation with the worker, on the vendor's SDK.

The handler runs again from the top whenever the invocation goes on, with the recorded results of
its earlier calls. What is recorded is each answer of the worker, under the step's label. A handler
over HTTP/1.1 goes on only when all of its calls in progress are over, so parallel attempts are one
recorded call together: within it, each branch goes on by itself.

A recorded call costs a request of the server's. So a call that is young and short makes the
attempts that it leads to as well, and a recorded note names them for the vendor's dashboard.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeAlias

import restate
from restate.exceptions import RetryableError
from restate.serde import JsonSerde

from turnout.errors import DefinitionMismatch, Refused, Unavailable, UnknownRun, WrongUse
from turnout.model.protocol import (
    Advance,
    Execute,
    Next,
    Park,
    Progress,
    Report,
    ReportEvent,
    Start,
)
from turnout.model.status import TIMED, RunStatus
from turnout.model.time import Millis
from turnout.ports.clock import Clock
from turnout.ports.worker import Worker

MAX_CALLS: Final = 100
"""Recorded calls after which the run goes on in another invocation: all are sent each time."""
LONGEST_CHAIN: Final[Millis] = 100
"""How long an attempt leads to the next one within one recorded call."""
MOST_CHAINED: Final = 10
"""Attempts in one recorded call after which it leads to no next one."""
LONGEST_NAME: Final = 200
LONGEST_GROUP: Final[Millis] = 60_000
"""How long parallel attempts lead to further ones within one recorded call."""
PAUSES: Final[tuple[Millis, ...]] = (50, 100, 200, 500, 1_000)
"""Waits before the same question is asked again, when the answer was that nothing has changed."""

Memo: TypeAlias = dict[str, Any]
"""What is recorded of one call: an answer without values, and when it came; or a refusal."""
_AS_JSON: Final = restate.RunOptions(serde=JsonSerde[Memo]())
"""Given to each call, because the SDK would else read its signature at each call and replay."""


class _Over(Exception):
    """This invocation must end without a failure, though the run goes on or was refused."""


class RunLoop:
    """One pass over one invocation, from its start to the first call that is not recorded."""

    def __init__(self, ctx: restate.Context, fields: Memo, *, worker: Worker, clock: Clock) -> None:
        """fields: what every message of this invocation carries."""
        self._ctx = ctx
        self._fields = fields
        self._worker = worker
        self._clock = clock
        self._calls = 0
        self._repeats = 0
        self._labels: list[str] = []
        """Labels of the attempts that the call in progress has begun."""
        self._at: Millis = 0
        """When the newest answer came."""

    async def run(self) -> Memo:
        """Make the pass; the invocation's result, or the error that fails it."""
        try:
            answer = await self._record_answer("advance", self._advance)
            while not answer.state.terminal:
                answer = await self._follow(answer)
        except _Over as over:
            return self._result(ended=str(over))
        if answer.state is RunStatus.COMPLETED:
            return self._result(sha256=answer.result.sha256 if answer.result else None)
        if answer.state is RunStatus.CANCELLED:
            return self._result(ended=answer.state.value)
        problem = answer.error
        text = f"{problem.name}: {problem.message}" if problem else answer.state.value
        raise restate.TerminalError(text)

    async def _follow(self, answer: Next) -> Next:
        """Do what the answer says, and return the next one."""
        if self._calls >= MAX_CALLS:
            await self._hand_over()
        if answer.run:
            named = [start.label for start in answer.run]
            attempts = partial(self._attempts, answer, self._pause())
            following = await self._record_answer(_joined(named), attempts, named=named)
        elif answer.park is not None:
            following = await self._park(answer)
        else:
            following = await self._record_answer("advance", partial(self._advance, self._pause()))
        self._repeats = self._repeats + 1 if following.seq == answer.seq else 0
        return following

    def _result(self, **fields: Any) -> Memo:
        return {"turnout": 1, "run_id": self._fields["run_id"], **fields}

    # -- waits --------------------------------------------------------------------------------

    async def _park(self, answer: Next) -> Next:
        """Wait as the answer says, then ask again."""
        park = answer.park
        assert park is not None
        delay = None
        if park.until is not None:
            delay = timedelta(milliseconds=max(0, park.until - self._at) + self._pause())
        if park.until is not None and TIMED.issuperset(park.reasons):
            assert delay is not None
            await self._ctx.sleep(delay)
        else:
            token, woken = self._awakeable()
            parked = await self._record_park(answer.seq, token)
            if parked is not None:
                return parked
            timer = [] if delay is None else [self._ctx.sleep(delay)]
            await restate.wait_completed(woken, *timer)
        return await self._record_answer("advance", partial(self._advance, until=park.until))

    def _awakeable(self) -> tuple[str, restate.RestateDurableFuture[Any]]:
        return self._ctx.awakeable()

    def _pause(self) -> Millis:
        """How long to wait before a question is repeated that has the same answer again."""
        return PAUSES[min(self._repeats, len(PAUSES)) - 1] if self._repeats else 0

    async def _record_park(self, seq: int, token: str) -> Next | None:
        """Register the token; the newer answer where the run is not to wait any more."""

        async def park() -> Memo:
            """Register the token, or read what to do instead."""
            answer = await self._worker.answer(Park(**self._fields, seq=seq, token=token))
            if answer.go or answer.next is None:
                return {"go": True}
            return _memo(answer.next, self._clock.now())

        memo = await self._record_memo("park", park)
        return None if memo.get("go") else self._read(memo)

    # -- calls --------------------------------------------------------------------------------

    async def _record_answer(
        self, name: str, call: Callable[[], Awaitable[Next]], *, named: Sequence[str] = ()
    ) -> Next:
        """Make a call and have the vendor record its answer, or return the recorded one.

        named: labels of attempts that are in the call's name. A note after it lists the others.
        """

        async def recorded() -> Memo:
            """Make the call; note when its answer came, and the attempts that have no name yet."""
            self._labels.clear()
            memo = _memo(await call(), self._clock.now())
            unnamed = [label for label in self._labels if label not in named]
            return {**memo, "unnamed": unnamed} if unnamed else memo

        memo = await self._record_memo(name, recorded)
        if unnamed := memo.get("unnamed"):
            await self._record_memo(_joined(unnamed), _nothing)
        return self._read(memo)

    async def _record_memo(self, name: str, call: Callable[[], Awaitable[Memo]]) -> Memo:
        self._calls += 1

        async def guarded() -> Memo:
            """Make the call; its errors become the vendor's, or a recorded refusal."""
            try:
                return await call()
            except (Refused, UnknownRun) as error:
                return {"refused": error.code}
            except Unavailable as error:
                raise RetryableError(str(error), retry_after=error.retry_after) from None
            except DefinitionMismatch as error:
                raise RetryableError(str(error), retry_after=timedelta(seconds=15)) from None
            except WrongUse as error:
                raise restate.TerminalError(f"{error.code}: {error}") from None

        memo = await self._ctx.run_typed(name, guarded, _AS_JSON)
        if "refused" in memo:
            raise _Over(memo["refused"])
        return memo

    def _read(self, memo: Memo) -> Next:
        self._at = memo["at"]
        return Next.model_validate(memo["next"])

    async def _advance(self, pause: Millis = 0, *, until: Millis | None = None) -> Next:
        """Ask what to do, after a pause, and make the attempts that the answer starts.

        until: a time at the vendor, which our clock may not have reached.
        """
        if until is not None:
            pause = max(pause, min(until - self._clock.now(), PAUSES[-1]))
        await self._clock.sleep(max(0, pause))
        answer = await self._worker.answer(Advance(**self._fields))
        return await self._attempts(answer) if answer.run else answer

    async def _attempts(self, answer: Next, pause: Millis = 0) -> Next:
        """Make the attempts of an answer; return the newest answer once none is in progress.

        What follows from an answer begins in the same call for a bounded time: a short one where
        no other attempt is in progress, and a longer one where it begins beside others.
        """
        await self._clock.sleep(pause)
        began = self._clock.now()
        calls: dict[asyncio.Task[Next], tuple[str, int]] = {}
        self._begin(answer, calls)
        try:
            while calls:
                ended = await self._first_ended(answer, set(calls))
                answers = [call.result() for call in ended]
                for call in ended:
                    calls.pop(call, None)
                # Of equal numbers the later answer counts.
                newest = max(answer, *answers, key=lambda item: (item.seq, item is not answer))
                bound = LONGEST_GROUP if calls else self._chain_bound(answer, newest)
                answer = newest
                if self._clock.now() < began + bound and not answer.state.terminal:
                    self._begin(answer, calls)
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        return answer

    def _chain_bound(self, before: Next, answer: Next) -> Millis:
        """For how long this call may begin what follows, where no attempt is in progress."""
        is_chained = answer.seq > before.seq and len(self._labels) < MOST_CHAINED
        return LONGEST_CHAIN if is_chained else 0

    async def _first_ended(
        self, answer: Next, calls: set[asyncio.Task[Next]]
    ) -> set[asyncio.Task[Next]]:
        """Wait for an answer; a park beside attempts is a timer, after which to ask what to do."""
        timer = None
        if answer.park is not None and answer.park.until is not None:
            timer = asyncio.create_task(self._advance_at(answer.park.until))
        try:
            waited = calls if timer is None else {*calls, timer}
            ended, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            return ended
        finally:
            if timer is not None and not timer.done():
                timer.cancel()
                await asyncio.gather(timer, return_exceptions=True)

    async def _advance_at(self, until: Millis) -> Next:
        await self._clock.sleep(max(PAUSES[0], until - self._clock.now()))
        return await self._worker.answer(Advance(**self._fields))

    def _begin(self, answer: Next, calls: dict[asyncio.Task[Next], tuple[str, int]]) -> None:
        """Begin the attempts of an answer that are not in progress."""
        for start in answer.run:
            key = (start.step, start.attempt)
            if key not in calls.values():
                self._labels.append(start.label)
                calls[asyncio.create_task(self._execute(start))] = key

    async def _execute(self, start: Start) -> Next:
        message = Execute(**self._fields, step=start.step, attempt=start.attempt)
        return (await self._worker.answer(message)).next

    async def _hand_over(self) -> None:
        """End this invocation: the run is delivered again, and goes on with an empty record."""

        async def report() -> Memo:
            """Have the run delivered again."""
            message = Report(**self._fields, event=ReportEvent.HANDED_OVER, at=self._clock.now())
            await self._worker.answer(message)
            return {}

        await self._record_memo("hand over", report)
        raise _Over("handed over")


def _joined(labels: Sequence[str]) -> str:
    return " | ".join(labels)[:LONGEST_NAME]


async def _nothing() -> Memo:
    """Record nothing: a note is an entry whose name alone matters."""
    return {}


def _memo(answer: Next, at: Millis) -> Memo:
    """What is recorded of an answer: no value, so that payloads and results stay with us."""
    result = answer.result
    bare = answer.model_copy(
        update={
            "progress": Progress(completed=answer.progress.completed, current=[]),
            "result": None if result is None else result.model_copy(update={"inline": None}),
        }
    )
    return {"next": bare.model_dump(mode="json"), "at": at}

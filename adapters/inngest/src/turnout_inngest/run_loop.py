"""The durable caller's loop, on the vendor's SDK.

After every vendor step the SDK calls the handler again from the top, with the results of completed
steps: one such call is a *pass*. A pass depends only on the worker's earlier answers. Each answer
is recorded as a vendor step, whose id depends on the call, and never on its place in the pass. If
two branches reach the same call, the first one makes it, and the other ends.

The first `advance` of a run has no vendor step of its own: that would cost one more call of the
vendor, and a wait in its queue, before any work is done. Its answer is recorded beside that of the
first attempt, or as a step where there is more to do than one attempt.
"""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeAlias

import inngest

from turnout.errors import (
    DefinitionMismatch,
    Refused,
    TurnoutError,
    Unavailable,
    UnknownRun,
    WrongUse,
)
from turnout.model.protocol import Advance, Execute, Executed, Next, Report, ReportEvent
from turnout.model.status import TIMED, RunStatus
from turnout.model.time import Millis, as_datetime
from turnout.ports.clock import Clock
from turnout.ports.worker import Worker
from turnout_inngest.memos import (
    UNDER_WAY,
    AttemptCall,
    NextMemo,
    memo_of,
    next_of,
    receipt_of,
)
from turnout_inngest.wakes import wake_name

log = logging.getLogger(__name__)

MAX_STEPS: Final = 900
"""Vendor steps after which a vendor run starts no more attempts: the vendor fails a run that has
over 1,000."""
SPARE_STEPS: Final = 50
"""Further vendor steps, for waits: a run that is not waiting is handed over sooner."""
MAX_HOLD: Final[Millis] = 1_000
"""How long a call waits in process: the vendor's own waits are of whole seconds."""
MAX_WAIT: Final[Millis] = 24 * 60 * 60 * 1_000

FIRST: Final = "first"
"""Where the memo of the first attempt carries the answer before it."""
_OPENING: Final = "advance"

WorkResult: TypeAlias = tuple[NextMemo, list["Work"]]
Work: TypeAlias = Callable[[], Awaitable[WorkResult]]
"""One call, with the waits before it: its answer, and what only this branch can do next."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """The recorded first answer of a vendor run, if there is one."""

    is_first: bool
    """Whether the vendor run has no recorded step yet."""
    first_answer: dict[str, Any] | None = None
    """That answer, where the first attempt carries it; otherwise it is a vendor step."""


class _RunOver(Exception):
    """The run has ended."""

    def __init__(self, next_memo: NextMemo) -> None:
        self.next_memo = next_memo


class _EndQuietly(Exception):
    """This vendor run must end without a failure, for a reason of ours."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class _HandedOver(Exception):
    """The vendor run is near its limit of steps; the run goes on in the next delivery."""


class RunLoop:
    """One pass over one vendor run, from its start to the first vendor step that is not done."""

    def __init__(
        self,
        ctx: inngest.Context,
        *,
        worker: Worker,
        clock: Clock,
        definition: str,
        opening: Opening,
        offset: Callable[[], Millis] = lambda: 0,
    ) -> None:
        """offset: gives the milliseconds to add to a time of ours to get the vendor's time."""
        self._ctx = ctx
        self._worker = worker
        self._clock = clock
        self._run_id = str(ctx.event.data["run_id"])
        self._call_fields: dict[str, Any] = {
            "task": str(ctx.event.data["task"]),
            "definition": definition,
            "run_id": self._run_id,
            "delivery": int(str(ctx.event.data["delivery"])),
            "provider_run_id": ctx.run_id,
            "provider_attempt": ctx.attempt + 1,
        }
        self._opening = opening
        self._offset = offset
        self._first_answer: dict[str, Any] | None = None
        """The answer to the first call, until the first attempt carries it."""
        self._claimed: set[str] = set()
        self._count = 0
        self._depth = 0
        self._last_answers: list[list[NextMemo]] = []
        """By group of branches: the answers after which nothing else of the run was under way."""
        self._has_raced = False
        self._waiting = 0
        """How many of the vendor's waits this pass has come upon that are not over."""
        self._seq: int | None = None
        """The run's seq as the worker says now, if this pass has asked for it."""

    async def run(self) -> dict[str, Any]:
        """Make the pass; the vendor run's result, or the error that fails it."""
        try:
            await self._flow(self._open)
        except _RunOver as over:
            return self._ended(over.next_memo)
        except _EndQuietly as quiet:
            log.info(
                "the vendor run ends quietly",
                extra={"action": "walk", "run_id": self._run_id, "reason": quiet.reason},
            )
            return self._result(ended=quiet.reason)
        except _HandedOver:
            await self._report()
            return self._result(ended="handed over")
        except BaseException as interrupt:
            if self._has_raced:
                _let_race(interrupt)
            raise
        raise inngest.RetryAfterError("the worker gave the run nothing to do", 1_000, quiet=True)

    def _ended(self, next_memo: NextMemo) -> dict[str, Any]:
        if next_memo.state is RunStatus.COMPLETED:
            return self._result(sha256=next_memo.sha256)
        if next_memo.state is RunStatus.CANCELLED:
            return self._result(ended=next_memo.state.value)
        raise inngest.NonRetriableError(next_memo.error or next_memo.state.value, quiet=True)

    def _result(self, **fields: Any) -> dict[str, Any]:
        return {"turnout": 1, "run_id": self._run_id, **fields}

    # -- branches -----------------------------------------------------------------------------

    async def _flow(self, work: Work) -> NextMemo:
        """Make a call, and those that follow from its answer, until this branch is done."""
        return await self._follow([work], None)

    async def _follow(self, works: list[Work], next_memo: NextMemo | None) -> NextMemo:
        while works:
            if len(works) == 1:
                next_memo, branch_works = await works[0]()
            else:
                next_memo, branch_works = await self._follow_group(works), []
            if next_memo.state.terminal:
                raise _RunOver(next_memo)
            if self._is_last(next_memo, branch_works):
                self._last_answers[-1].append(next_memo)
                return next_memo
            works = [*branch_works, *self._unclaimed(next_memo, always=False)]
            if not works and not self._depth:
                works = self._next_of_single_branch(next_memo)
        assert next_memo is not None
        return next_memo

    def _is_last(self, next_memo: NextMemo, branch_works: list[Work]) -> bool:
        """Whether nothing else of the run is under way, so that the pass goes on behind the group.

        A start that this pass has called for already is another branch's, and under way.
        """
        if not self._depth or branch_works or next_memo.parked is not None:
            return False
        return all(attempt.label not in self._claimed for attempt in next_memo.starts)

    def _next_of_single_branch(self, next_memo: NextMemo) -> list[Work]:
        """List what the run's only branch does next; never nothing."""
        works = self._unclaimed(next_memo, always=True)
        name = f"advance {next_memo.seq} again"
        if not works and self._claim(name):
            works = [partial(self._advance, name, not_before=next_memo.at + MAX_HOLD)]
        return works

    def _unclaimed(self, next_memo: NextMemo, *, always: bool) -> list[Work]:
        """Return the work that no branch of this pass has begun.

        always: whether to wait for whatever the run waits for; otherwise the branches of steps
        that are under way see to these themselves.
        """
        works: list[Work] = [
            partial(self._execute, attempt)
            for attempt in next_memo.starts
            if self._claim(attempt.label)
        ]
        waits = next_memo.parked is not None and bool(always or next_memo.parked - UNDER_WAY)
        if waits and self._claim(f"park {next_memo.seq}"):
            works.append(partial(self._park, next_memo, 0))
        return works

    async def _follow_group(self, works: list[Work]) -> NextMemo:
        """Follow several branches at once, each with its own waits; return the newest answer."""
        self._has_raced = True
        self._depth += 1
        self._last_answers.append([])
        try:
            branches: tuple[Callable[[], Awaitable[NextMemo | None]], ...]
            branches = (*(partial(self._flow, work) for work in works), self._closing)
            # Race: the vendor calls again as soon as any branch has news, not only when all have.
            answers = await self._ctx.group.parallel(branches, inngest.ParallelMode.RACE)
        finally:
            self._last_answers.pop()
            self._depth -= 1
        if len(answers) < len(branches):
            # The vendor asks for one step of another branch: this one is left out of the call.
            await self._ctx.step.run("not called for", _no_op)
        return max(
            (answer for answer in answers if answer is not None), key=lambda answer: answer.seq
        )

    async def _closing(self) -> NextMemo | None:
        """Go on within the group where nothing but waits is left that nobody will end in time.

        Another branch was given what they wait for. This branch is visited last, so that all waits
        have been counted.
        """
        latest = max(self._last_answers[-1], key=lambda answer: answer.seq, default=None)
        if latest is None or not self._waiting:
            return None
        return await self._follow(self._unclaimed(latest, always=False), latest)

    def _claim(self, name: str) -> bool:
        if name in self._claimed:
            return False
        self._claimed.add(name)
        return True

    # -- calls and waits ----------------------------------------------------------------------

    async def _open(self) -> WorkResult:
        """Ask what the run does first, or recall the answer."""
        memo = self._opening.first_answer
        if memo is None and not self._opening.is_first:
            return await self._advance(_OPENING)
        if memo is None:
            memo = self._first_answer = await self._ask_first()
        next_memo = next_of(memo)
        if next_memo.state.terminal:
            return next_memo, []
        if self._first_answer is not None and not _is_single_attempt(next_memo):
            # The vendor calls again for what comes next.
            await self._step(_OPENING, partial(_recalled, self._first_answer))
        return next_memo, self._unclaimed(next_memo, always=True)

    async def _ask_first(self) -> dict[str, Any]:
        memo = await self._call_worker(
            lambda: self._worker.answer(Advance(**self._call_fields)), None
        )
        if "refused" in memo:
            raise _EndQuietly(str(memo["refused"]))
        return memo

    async def _advance(
        self, name: str, *, not_before: Millis | None = None, parked: tuple[int, int] | None = None
    ) -> WorkResult:
        """Ask what to do. parked: the seq that was waited on, and how often before."""

        async def call() -> dict[str, Any]:
            message = Advance(**self._call_fields)
            return await self._call_worker(lambda: self._worker.answer(message), not_before)

        memo = await self._step(name, call)
        next_memo = next_of(memo)
        if parked is not None and parked[0] == next_memo.seq and next_memo.parked is not None:
            # Woken for nothing, or a part of a long wait is over: this branch waits on.
            return next_memo, [partial(self._park, next_memo, parked[1] + 1)]
        return next_memo, self._unclaimed(next_memo, always=not self._depth)

    async def _execute(
        self, attempt: AttemptCall, *, not_before: Millis | None = None
    ) -> WorkResult:
        if self._count >= MAX_STEPS:
            raise _HandedOver
        name = f"{attempt.label} again {attempt.repeat}" if attempt.repeat else attempt.label

        async def call() -> dict[str, Any]:
            message = Execute(**self._call_fields, step=attempt.step, attempt=attempt.attempt)
            answer = await self._call_worker(lambda: self._worker.answer(message), not_before)
            return answer if self._first_answer is None else {**answer, FIRST: self._first_answer}

        memo = await self._step(name, call)
        next_memo, receipt = next_of(memo), receipt_of(memo)
        if receipt.is_open:
            return next_memo, [partial(self._repeat_call, attempt, next_memo)]
        following = AttemptCall(step=attempt.step, attempt=attempt.attempt + 1)
        if receipt.retry_at is not None and self._claim(following.label):
            return next_memo, [
                partial(self._back_off, attempt, following, receipt.retry_at, next_memo.at)
            ]
        return next_memo, []

    async def _back_off(
        self, failed: AttemptCall, following: AttemptCall, until: Millis, at: Millis
    ) -> WorkResult:
        await self._sleep(f"{failed.label} back-off", until, at)
        return await self._execute(following, not_before=until)

    async def _repeat_call(self, attempt: AttemptCall, next_memo: NextMemo) -> WorkResult:
        """Wait for a step that goes on by itself, or that another caller holds."""
        repeated = replace(attempt, repeat=attempt.repeat + 1)
        due = await self._wait(f"{attempt.label} wait {repeated.repeat}", next_memo)
        return await self._execute(repeated, not_before=due)

    async def _park(self, next_memo: NextMemo, repeat: int) -> WorkResult:
        """Wait as the worker's answer says, then ask it again."""
        suffix = f"{next_memo.seq} again {repeat}" if repeat else str(next_memo.seq)
        assert next_memo.parked is not None
        if next_memo.parked <= TIMED and next_memo.until is not None:
            await self._sleep(f"park {suffix}", next_memo.until, next_memo.at)
            due: Millis | None = next_memo.until
        else:
            due = await self._wait(f"park {suffix}", next_memo)
        name = f"advance {suffix}"
        return await self._advance(name, not_before=due, parked=(next_memo.seq, repeat))

    async def _sleep(self, name: str, until: Millis, at: Millis) -> None:
        """Sleep at the vendor, never past `until`: it rounds to whole seconds."""
        if until - at > MAX_HOLD:
            self._spend()
            self._waiting += 1
            ends = until - MAX_HOLD // 2 + self._offset()
            await self._ctx.step.sleep_until(name, as_datetime(ends))
            self._waiting -= 1

    async def _wait(self, name: str, next_memo: NextMemo) -> Millis | None:
        """Wait for a wake or a time; return the time if no wake came: it may not be over yet."""
        remaining = (
            MAX_WAIT if next_memo.until is None else min(next_memo.until - next_memo.at, MAX_WAIT)
        )
        seconds = remaining // 1_000
        if seconds < 1:
            return next_memo.until
        if await self._has_gone_on(next_memo):
            return None
        self._spend()
        self._waiting += 1
        woken = await self._ctx.step.wait_for_event(
            name,
            event=wake_name(self._run_id),
            if_exp=f'async.data.run_id == "{self._run_id}" && async.data.seq >= {next_memo.seq}',
            timeout=timedelta(seconds=seconds),
        )
        self._waiting -= 1
        return next_memo.until if woken is None else None

    async def _has_gone_on(self, next_memo: NextMemo) -> bool:
        """Whether a run has gone on since an answer, where the vendor makes this call again.

        The call before was lost, with the wait that it was to register. By now the wakes may have
        been sent that would end the wait, and the next one is sent only minutes later.
        """
        if not self._ctx.attempt:
            return False
        if self._seq is None:
            message = Advance(**self._call_fields)
            memo = await self._call_worker(lambda: self._worker.answer(message), None)
            self._seq = -1 if "refused" in memo else next_of(memo).seq
        return self._seq != next_memo.seq

    # -- the two sides ------------------------------------------------------------------------

    def _spend(self) -> None:
        self._count += 1
        if self._count > MAX_STEPS + SPARE_STEPS:
            raise _HandedOver

    async def _step(
        self, name: str, call: Callable[[], Awaitable[dict[str, Any]]]
    ) -> dict[str, Any]:
        """Call the worker as a vendor step: the vendor remembers the answer."""
        self._spend()
        memo = await self._ctx.step.run(name, call)
        if "refused" in memo:
            raise _EndQuietly(str(memo["refused"]))
        return memo

    async def _call_worker(
        self, call: Callable[[], Awaitable[Next | Executed]], not_before: Millis | None
    ) -> dict[str, Any]:
        """Call the worker once it is time, and translate its errors into the SDK's."""
        if not_before is not None:
            remaining = not_before - self._clock.now()
            await self._clock.sleep(max(0, min(remaining, MAX_HOLD)))
        try:
            answer = await call()
        except (Refused, UnknownRun) as error:
            return {"refused": error.code}
        except Unavailable as error:
            raise inngest.RetryAfterError(str(error), self._pause(error), quiet=True) from None
        except DefinitionMismatch as error:
            raise inngest.RetryAfterError(str(error), timedelta(seconds=15), quiet=True) from None
        except WrongUse as error:
            raise inngest.NonRetriableError(f"{error.code}: {error}", quiet=True) from None
        return memo_of(answer, self._clock.now())

    async def _report(self) -> None:
        """Have the run delivered again; where that fails, this vendor run's end is noticed."""
        at = self._clock.now()
        with suppress(TurnoutError):
            message = Report(**self._call_fields, event=ReportEvent.HANDED_OVER, at=at)
            await self._worker.answer(message)

    def _pause(self, error: Unavailable) -> timedelta:
        """How long until the vendor calls again: longer each time, as its retries are limited."""
        if error.retry_after is not None:
            return max(error.retry_after, timedelta(seconds=1))
        return timedelta(seconds=min(2**self._ctx.attempt, 60))


def _let_race(interrupt: BaseException) -> None:
    """Have the vendor call again after each of these steps, whatever steps it lists as open.

    When the vendor asks for a plan, another branch ends meanwhile, and the plan arrives after that,
    the vendor lists steps as open that have ended. After a step that does not race it would wait
    for them for ever. The SDK marks only steps of a group as racing; its interrupts carry the mark.
    """
    for response in getattr(interrupt, "responses", ()):
        response.step.set_parallel_mode(inngest.ParallelMode.RACE)


def _is_single_attempt(next_memo: NextMemo) -> bool:
    return next_memo.parked is None and len(next_memo.starts) == 1


async def _recalled(memo: dict[str, Any]) -> dict[str, Any]:
    return memo


async def _no_op() -> None:
    pass

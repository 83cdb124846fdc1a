"""The durable caller's loop, on the vendor's SDK.

The SDK calls the handler from the top again after every vendor step, with the outcomes of those
that are done. So a walk is a pure function of what the worker said before: every answer of the
worker is remembered as a vendor step, whose id depends on what is called for and never on where
in the walk. Two branches may come upon the same call; the first one makes it, the other ends.

What a run does first is asked without a vendor step of its own, which would cost a call of the
vendor's, and so a turn of its queue, before anything is done. The answer is remembered beside that
of the first try, or as a step where there is more to do than one try.
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
from turnout.model.status import RunStatus
from turnout.model.time import Millis, as_datetime
from turnout.ports.clock import Clock
from turnout.ports.worker import Worker
from turnout_inngest.said import TIMED, UNDER_WAY, Said, Try, receipt_of, said_of, told

log = logging.getLogger(__name__)

WAKE: Final = "turnout/wake"
MOST_STEPS: Final = 900
"""Vendor steps of one vendor run, after which it begins no more of the task's; over 1,000 of them
the vendor fails it."""
SPARE_STEPS: Final = 50
"""Further ones, for waits: best handed over is a run that does not wait, as that is seen soon."""
LONGEST_HOLD: Final[Millis] = 1_000
"""How long a call waits in process: the vendor's own waits are of whole seconds."""
LONGEST_WAIT: Final[Millis] = 24 * 60 * 60 * 1_000

FIRST: Final = "first"
"""Where the first try's answer carries what was said before it."""
_OPENING: Final = "advance"

Found: TypeAlias = tuple[Said, list["Work"]]
Work: TypeAlias = Callable[[], Awaitable[Found]]
"""One call, with the waits before it: what was said, and what only this branch can do next."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """What is remembered of a vendor run's first answer.

    is_first: nothing at all is remembered yet. said: that answer, where the first try carries it;
    otherwise it is a vendor step.
    """

    is_first: bool
    said: dict[str, Any] | None = None


class _Over(Exception):
    """The run has ended."""

    def __init__(self, said: Said) -> None:
        self.said = said


class _Quiet(Exception):
    """This vendor run must end without a failure; `why` is a word of ours."""

    def __init__(self, why: str) -> None:
        self.why = why


class _HandedOver(Exception):
    """The vendor run is near its limit of steps; the run goes on in the next delivery."""


class Walk:
    """One walk through one vendor run, from its start to the first vendor step that is not done."""

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
        """offset: what to add to a moment of ours, so that the vendor means the same by it."""
        self._ctx = ctx
        self._worker = worker
        self._clock = clock
        self._run_id = str(ctx.event.data["run_id"])
        self._common: dict[str, Any] = {
            "task": str(ctx.event.data["task"]),
            "definition": definition,
            "run_id": self._run_id,
            "delivery": int(str(ctx.event.data["delivery"])),
            "provider_run_id": ctx.run_id,
            "provider_attempt": ctx.attempt + 1,
        }
        self._opening = opening
        self._offset = offset
        self._opened: dict[str, Any] | None = None
        """What was said first, until the first try carries it."""
        self._asked: set[str] = set()
        self._count = 0
        self._depth = 0
        self._last: list[list[Said]] = []
        """By group: what was said to branches that ended as the last ones."""
        self._has_raced = False
        self._waiting = 0
        """The vendor's waits that this walk has come upon and that are not over."""

    async def run(self) -> dict[str, Any]:
        """Walk; the vendor run's result, or the error that fails it."""
        try:
            await self._flow(self._open)
        except _Over as over:
            return self._ended(over.said)
        except _Quiet as quiet:
            log.info(
                "the vendor run ends quietly",
                extra={"action": "walk", "run_id": self._run_id, "why": quiet.why},
            )
            return self._result(ended=quiet.why)
        except _HandedOver:
            await self._report()
            return self._result(ended="handed over")
        except BaseException as interrupt:
            if self._has_raced:
                _let_race(interrupt)
            raise
        raise inngest.RetryAfterError("the worker gave the run nothing to do", 1_000, quiet=True)

    def _ended(self, said: Said) -> dict[str, Any]:
        if said.state is RunStatus.COMPLETED:
            return self._result(sha256=said.sha256)
        if said.state is RunStatus.CANCELLED:
            return self._result(ended=said.state.value)
        raise inngest.NonRetriableError(said.error or said.state.value, quiet=True)

    def _result(self, **more: Any) -> dict[str, Any]:
        return {"turnout": 1, "run_id": self._run_id, **more}

    # -- branches -----------------------------------------------------------------------------

    async def _flow(self, work: Work) -> Said:
        """Follow a call and all that comes of it, until nothing is left to this branch."""
        return await self._follow([work], None)

    async def _follow(self, found: list[Work], said: Said | None) -> Said:
        while found:
            if len(found) == 1:
                said, own = await found[0]()
            else:
                said, own = await self._together(found), []
            if said.state.terminal:
                raise _Over(said)
            if self._is_last(said, own):
                self._last[-1].append(said)
                return said
            found = [*own, *self._news(said, always=False)]
            if not found and not self._depth:
                found = self._onward(said)
        assert said is not None
        return said

    def _is_last(self, said: Said, own: list[Work]) -> bool:
        """Whether nothing else of the run is under way, so that the walk goes on behind the group.

        A start that this walk has called for already is another branch's, and under way.
        """
        if not self._depth or own or said.parked is not None:
            return False
        return all(each.label not in self._asked for each in said.starts)

    def _onward(self, said: Said) -> list[Work]:
        """Find what the run's only branch does next: there is always something."""
        found = self._news(said, always=True)
        name = f"advance {said.seq} again"
        if not found and self._claim(name):
            found = [partial(self._advance, name, not_before=said.at + LONGEST_HOLD)]
        return found

    def _news(self, said: Said, *, always: bool) -> list[Work]:
        """Find what nobody in this walk has called for yet.

        always: whether to wait for whatever the run waits for; otherwise the branches of steps
        that are under way see to these themselves.
        """
        found: list[Work] = [
            partial(self._execute, each) for each in said.starts if self._claim(each.label)
        ]
        waits = said.parked is not None and bool(always or said.parked - UNDER_WAY)
        if waits and self._claim(f"park {said.seq}"):
            found.append(partial(self._park, said, 0))
        return found

    async def _together(self, works: list[Work]) -> Said:
        """Follow several at once; each has its own waits. The newest of what was said last."""
        self._has_raced = True
        self._depth += 1
        self._last.append([])
        try:
            branches: tuple[Callable[[], Awaitable[Said | None]], ...]
            branches = (*(partial(self._flow, each) for each in works), self._closing)
            # Race: the vendor calls again as soon as any branch has news, not only when all have.
            told = await self._ctx.group.parallel(branches, inngest.ParallelMode.RACE)
        finally:
            self._last.pop()
            self._depth -= 1
        if len(told) < len(branches):
            # The vendor asks for one step of another branch: this one is left out of the call.
            await self._ctx.step.run("not called for", _nothing)
        return max((each for each in told if each is not None), key=lambda each: each.seq)

    async def _closing(self) -> Said | None:
        """Go on within the group where only waits hold it up that nothing will end in time.

        What they waited for was told to another branch. Visited last, so all waits are known.
        """
        last = max(self._last[-1], key=lambda each: each.seq, default=None)
        if last is None or not self._waiting:
            return None
        return await self._follow(self._news(last, always=False), last)

    def _claim(self, name: str) -> bool:
        if name in self._asked:
            return False
        self._asked.add(name)
        return True

    # -- calls and waits ----------------------------------------------------------------------

    async def _open(self) -> Found:
        """Ask what the run does first, or recall what was said."""
        memo = self._opening.said
        if memo is None and not self._opening.is_first:
            return await self._advance(_OPENING)
        if memo is None:
            memo = self._opened = await self._told_first()
        said = said_of(memo)
        if said.state.terminal:
            return said, []
        if self._opened is not None and not _is_one_try(said):
            # The vendor calls again for what comes next.
            await self._step(_OPENING, partial(_known, self._opened))
        return said, self._news(said, always=True)

    async def _told_first(self) -> dict[str, Any]:
        memo = await self._said(lambda: self._worker.answer(Advance(**self._common)), None)
        if "refused" in memo:
            raise _Quiet(str(memo["refused"]))
        return memo

    async def _advance(
        self, name: str, *, not_before: Millis | None = None, parked: tuple[int, int] | None = None
    ) -> Found:
        """Ask what to do. parked: the seq that was waited on, and how often before."""

        async def call() -> dict[str, Any]:
            message = Advance(**self._common)
            return await self._said(lambda: self._worker.answer(message), not_before)

        memo = await self._step(name, call)
        said = said_of(memo)
        if parked is not None and parked[0] == said.seq and said.parked is not None:
            # Woken for nothing, or a part of a long wait is over: this branch waits on.
            return said, [partial(self._park, said, parked[1] + 1)]
        return said, self._news(said, always=not self._depth)

    async def _execute(self, which: Try, *, not_before: Millis | None = None) -> Found:
        if self._count >= MOST_STEPS:
            raise _HandedOver
        name = f"{which.label} again {which.again}" if which.again else which.label

        async def call() -> dict[str, Any]:
            message = Execute(**self._common, step=which.step, attempt=which.attempt)
            answer = await self._said(lambda: self._worker.answer(message), not_before)
            return answer if self._opened is None else {**answer, FIRST: self._opened}

        memo = await self._step(name, call)
        said, receipt = said_of(memo), receipt_of(memo)
        if receipt.is_open:
            return said, [partial(self._call_again, which, said)]
        following = Try(step=which.step, attempt=which.attempt + 1)
        if receipt.retry_at is not None and self._claim(following.label):
            return said, [partial(self._back_off, which, following, receipt.retry_at, said.at)]
        return said, []

    async def _back_off(self, failed: Try, following: Try, until: Millis, at: Millis) -> Found:
        await self._sleep(f"{failed.label} back-off", until, at)
        return await self._execute(following, not_before=until)

    async def _call_again(self, which: Try, said: Said) -> Found:
        """Wait for a step that goes on by itself, or that another caller holds."""
        again = replace(which, again=which.again + 1)
        due = await self._wait(f"{which.label} wait {again.again}", said)
        return await self._execute(again, not_before=due)

    async def _park(self, said: Said, again: int) -> Found:
        """Wait as the worker says, then ask it."""
        suffix = f"{said.seq} again {again}" if again else str(said.seq)
        assert said.parked is not None
        if said.parked <= TIMED and said.until is not None:
            await self._sleep(f"park {suffix}", said.until, said.at)
            due: Millis | None = said.until
        else:
            due = await self._wait(f"park {suffix}", said)
        name = f"advance {suffix}"
        return await self._advance(name, not_before=due, parked=(said.seq, again))

    async def _sleep(self, name: str, until: Millis, at: Millis) -> None:
        """Sleep at the vendor, never past `until`: it rounds to whole seconds."""
        if until - at > LONGEST_HOLD:
            self._spend()
            self._waiting += 1
            ends = until - LONGEST_HOLD // 2 + self._offset()
            await self._ctx.step.sleep_until(name, as_datetime(ends))
            self._waiting -= 1

    async def _wait(self, name: str, said: Said) -> Millis | None:
        """Wait for a wake or for a time; the time, if it was that and is not quite over."""
        left = LONGEST_WAIT if said.until is None else min(said.until - said.at, LONGEST_WAIT)
        seconds = left // 1_000
        if seconds < 1:
            return said.until
        self._spend()
        self._waiting += 1
        woken = await self._ctx.step.wait_for_event(
            name,
            event=WAKE,
            if_exp=f'async.data.run_id == "{self._run_id}" && async.data.seq >= {said.seq}',
            timeout=timedelta(seconds=seconds),
        )
        self._waiting -= 1
        return said.until if woken is None else None

    # -- the two sides ------------------------------------------------------------------------

    def _spend(self) -> None:
        self._count += 1
        if self._count > MOST_STEPS + SPARE_STEPS:
            raise _HandedOver

    async def _step(
        self, name: str, call: Callable[[], Awaitable[dict[str, Any]]]
    ) -> dict[str, Any]:
        """Call the worker as a vendor step: what it says is remembered."""
        self._spend()
        memo = await self._ctx.step.run(name, call)
        if "refused" in memo:
            raise _Quiet(str(memo["refused"]))
        return memo

    async def _said(
        self, call: Callable[[], Awaitable[Next | Executed]], not_before: Millis | None
    ) -> dict[str, Any]:
        """Make a call of the worker, once it is time, and translate what it raises."""
        if not_before is not None:
            left = not_before - self._clock.now()
            await self._clock.sleep(max(0, min(left, LONGEST_HOLD)))
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
        return told(answer, self._clock.now())

    async def _report(self) -> None:
        """Have the run looked at soon: it is to be delivered again once this vendor run is over."""
        at = self._clock.now()
        with suppress(TurnoutError):
            message = Report(**self._common, event=ReportEvent.COMPLETED, at=at)
            await self._worker.answer(message)

    def _pause(self, error: Unavailable) -> timedelta:
        """How long until the vendor calls again: longer each time, as its patience is counted."""
        if error.retry_after is not None:
            return max(error.retry_after, timedelta(seconds=1))
        return timedelta(seconds=min(2**self._ctx.attempt, 60))


def _let_race(interrupt: BaseException) -> None:
    """Have the vendor call again after each of these steps, whatever else it thinks is open.

    A plan that it asked for before another branch was done, and that it is told afterwards, leaves
    steps in its list of open ones that are done. It would wait for them, for ever, after a step
    that does not race. The SDK races steps of a group alone; these interrupts are how it tells.
    """
    for each in getattr(interrupt, "responses", ()):
        each.step.set_parallel_mode(inngest.ParallelMode.RACE)


def _is_one_try(said: Said) -> bool:
    return said.parked is None and len(said.starts) == 1


async def _known(memo: dict[str, Any]) -> dict[str, Any]:
    return memo


async def _nothing() -> None:
    pass

"""The change, run by run: the native functions, which hand new runs over to Turnout.

The vendor goes on deciding which runs there are, by its own triggers, ids and limits. A run that it
made before a moment is run natively to its end, and one that it made since starts the task, under
the event's own key. So each is run by one side, whichever replica is asked, however often.
"""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

import inngest

from turnout.errors import InvalidDefinition, TurnoutError, WrongUse
from turnout.model.events import Event
from turnout.model.schedules import Schedule
from turnout.model.tasks import Task
from turnout.ports.caller import Emit
from turnout_inngest.adoption.events import INVOKED, TIMER
from turnout_inngest.adoption.options import MAX_RETRIES, tries_of
from turnout_inngest.adoption.sdk import Declared, last_try, limit_tries, with_handler
from turnout_inngest.ingress import event_key
from turnout_inngest.settings import STARTS

log = logging.getLogger(__name__)

_ULID_DIGITS: Final = {
    digit: value for value, digit in enumerate("0123456789ABCDEFGHJKMNPQRSTVWXYZ")
}
_MAX_PAUSE: Final = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class HandoverPlan:
    """Which runs of one function are handed over, and how."""

    task: str
    sole_events: frozenset[str]
    """The events that start this task and no other."""
    schedules: tuple[Schedule, ...]
    after: datetime
    """Runs that the vendor made since this moment are handed over."""
    emit: Emit
    until: datetime | None = None
    """Runs that it made since this moment are native again."""
    loop: asyncio.AbstractEventLoop | None = None
    """Where `emit` is to be called from."""

    def is_new(self, ctx: Any) -> bool:
        """Whether this run is Turnout's. What a native run invokes is native, too."""
        if ctx.event.name == INVOKED[1]:
            return False
        created = created_at(ctx.run_id)
        return created >= self.after and (self.until is None or created < self.until)

    def events(self, ctx: Any) -> list[Event]:
        """Write the events of a run, as they start the task and no other."""
        return [self._event(event) for event in ctx.events or [ctx.event]]

    async def start(self, ctx: Any) -> str:
        """Start the task once for ever; says why not, where it is to be tried again."""
        try:
            emitted = await self.emit(self.events(ctx))
        except WrongUse as error:
            raise inngest.NonRetriableError(f"{error.code}: {error}", quiet=True) from None
        except TurnoutError as error:
            return str(error) or error.code
        runs = [run.run_id for event in emitted for run in event.runs]
        if not runs:
            problem = (
                f"the app that emits has no task {self.task!r} that starts on {ctx.event.name!r}"
            )
            raise inngest.NonRetriableError(problem, quiet=True)
        log.info("handed over", extra={"action": "handover", "runs": runs})
        return ""

    def start_sync(self, ctx: Any) -> str:
        """Start the task from a sync function's thread, in the loop of `emit` if it has one."""
        if self.loop is None or self.loop.is_closed():
            return asyncio.run(self.start(ctx))
        return asyncio.run_coroutine_threadsafe(self.start(ctx), self.loop).result()

    def _event(self, event: inngest.Event) -> Event:
        if event.name == TIMER:
            return self._slot(event.data)
        name = event.name if event.name in self.sole_events else STARTS + self.task
        return Event(name=name, payload=dict(event.data), key=event_key(event.name, event.id))

    def _slot(self, timer: Mapping[str, Any]) -> Event:
        """Write a slot of a schedule: its key is the one that Turnout's own has."""
        for schedule in self.schedules:
            if schedule.payload["cron"] == timer.get("cron"):
                slot = _moment(str(timer["scheduledAt"]))
                key = f"{schedule.id}@{round(slot.timestamp() * 1_000)}"
                return Event(name=STARTS + self.task, payload=schedule.payload, key=key)
        raise WrongUse(f"task {self.task!r} has no schedule {timer.get('cron')!r}")


def with_handover(declared: Declared, plan: HandoverPlan) -> inngest.Function[Any]:
    """Give a function that hands its new runs over, and runs the others as ever.

    The vendor tries it as often as it does at all, so a process that dies as it hands over loses
    nothing. What is run natively has the tries that the function declares.
    """
    original, tries = declared.handler, tries_of(declared)

    @functools.wraps(original)
    async def handed_over(ctx: Any) -> Any:
        if not plan.is_new(ctx):
            with _declared_tries(ctx, tries):
                return await original(ctx)
        numbers = count(1)
        while await ctx.step.run(f"turnout start {(number := next(numbers))}", plan.start, ctx):
            await ctx.step.sleep(f"turnout pause {number}", _pause(number))
        return None

    @functools.wraps(original)
    def handed_over_sync(ctx: Any) -> Any:
        if not plan.is_new(ctx):
            with _declared_tries(ctx, tries):
                return original(ctx)
        numbers = count(1)
        while ctx.step.run(f"turnout start {(number := next(numbers))}", plan.start_sync, ctx):
            ctx.step.sleep(f"turnout pause {number}", _pause(number))
        return None

    handler = handed_over if declared.is_async else handed_over_sync
    return with_handler(declared.function, handler, retries=MAX_RETRIES)


@contextlib.contextmanager
def _declared_tries(ctx: Any, tries: int) -> Iterator[None]:
    """Limit a native run to the tries that its function declares: the vendor would make more.

    A try past the last one is made where that one did not answer: the code is not run again.
    """
    if ctx.attempt >= tries:
        problem = f"no answer to the last of {tries} tries"
        raise inngest.NonRetriableError(problem, quiet=True)
    limit_tries(ctx, tries)
    try:
        yield
    except Exception as error:
        if ctx.attempt + 1 < tries:
            raise
        raise last_try(error) from error.__cause__


def sole_events_of(tasks: Sequence[Task], needed: Mapping[str, str]) -> frozenset[str]:
    """Say which events start one task, and without a condition: they are handed over as they are.

    needed: the events that cancel a task or are awaited by it. InvalidDefinition where one of them
    starts several: it cannot be both let in for the one and kept from the others.
    """
    started = [event for task in tasks for event in task.on]
    bound = {condition.event for task in tasks for condition in task.only}
    sole_events = frozenset(
        event for event in started if started.count(event) == 1 and event not in bound
    )
    for event, task in needed.items():
        if event in started and event not in sole_events:
            raise InvalidDefinition(
                f"event {event!r} cancels {task!r}, or is awaited by it, and starts several"
                " functions or one on a condition; for the time of the change, use two events"
            )
    return sole_events


def created_at(run_id: str) -> datetime:
    """Say when the vendor made a run: its id is a ULID, whose first ten characters are the time."""
    try:
        digits = [_ULID_DIGITS[character] for character in run_id[:10].upper()]
    except KeyError:
        raise WrongUse(f"run id {run_id!r} is no ULID, so it does not tell its time") from None
    ms = functools.reduce(lambda value, digit: value * 32 + digit, digits, 0)
    return datetime.fromtimestamp(ms / 1_000, UTC)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the running event loop, or None."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def check_moments(after: datetime, until: datetime | None) -> None:
    """Check the moments of a change, which must be the same on all replicas."""
    if any(moment is not None and moment.tzinfo is None for moment in (after, until)):
        raise InvalidDefinition("after and until: give them a zone, like datetime(…, tzinfo=UTC)")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _pause(number: int) -> timedelta:
    return min(timedelta(seconds=2 ** min(number, 9)), _MAX_PAUSE)

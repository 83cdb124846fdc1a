"""Starts shadows when they are due, and repeats what came to their primaries from outside.

A shadow is due a constant lag after its primary's emit, so that arrivals and contention are kept.
A primary that has not ended by then is late: counted, not compared. All that is held here can be
read again from the two stores, so a feeder may die at any point.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from turnout.errors import TurnoutError, UnknownRun
from turnout.model.events import StoredEvent
from turnout.model.ids import primary_id, shadow_id
from turnout.model.runs import Emission, Failure, Journal, NewRun, Run, RunFilter
from turnout.model.status import AttemptState, RunStatus
from turnout.model.tasks import App, Task
from turnout.model.time import Millis, millis
from turnout.model.transitions import cancel
from turnout.ports.clock import Clock
from turnout.ports.run_store import RunStore

log = logging.getLogger(__name__)

PAGE = 200
OVERLAP: Millis = 60_000
"""Primaries are looked for again for so long, because emits may commit out of order."""

AGAIN: Millis = 5_000
"""After which a shadow that could not be begun is tried again."""

Reason = Literal["late", "provider_failure", "unsupported"]
NOT_COMPARABLE = "NotComparable"
"""The error's name of a shadow that was ended before it began; its message is the reason."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """How a window of a dual run is run."""

    lag: Millis
    idle: Millis = 100


class Feeder:
    """Feeds one shadow store from one primary store; starting a shadow twice changes nothing."""

    def __init__(
        self,
        *,
        primaries: RunStore,
        shadows: RunStore,
        app: App,
        clock: Clock,
        window: Window,
        nudge: Callable[[], None] = lambda: None,
    ) -> None:
        self._primaries = primaries
        self._shadows = shadows
        self._app = app
        self._clock = clock
        self._window = window
        self._nudge = nudge
        self._after = 0
        self._waiting: dict[str, Millis] = {}
        self._fed: dict[str, Millis] = {}
        self._cancels: dict[str, Millis] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to feed."""
        self._task = asyncio.create_task(self._feed())

    async def close(self) -> None:
        """Stop feeding; what is not fed yet is found again at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def turn(self) -> None:
        """Look for new primaries, start the shadows that are due, repeat cancels."""
        now = self._clock.now()
        await self._look(now)
        due = [run_id for run_id, at in self._waiting.items() if at <= now]
        for run_id in due:
            self._waiting[run_id] = now + AGAIN
            with _logged("begin", run_id):
                await self._begin(run_id, now)
                del self._waiting[run_id]
                self._fed[run_id] = now
        if due:
            self._nudge()
        await self._repeat_cancels(now)

    async def _feed(self) -> None:
        """Turn for ever. Nothing that goes wrong here may reach the primary's side."""
        resumed = False
        while True:
            try:
                if not resumed:
                    await self._resume()
                    resumed = True
                await self.turn()
            except TurnoutError as error:
                log.warning("shadows wait", extra={"action": "feed", "error": str(error)})
            except Exception:
                log.exception("feeding broke; it goes on", extra={"action": "feed"})
            await self._clock.sleep(self._window.idle)

    async def _resume(self) -> None:
        """Find out what has a shadow already; all other primaries are found by looking.

        A delayed start may be older than any number of others, so all are looked through, once.
        """
        after, now = 0, self._clock.now()
        while True:
            page = await self._shadows.runs.find(RunFilter(after=after, limit=PAGE))
            for shadow in page:
                after = shadow.emit_seq
                self._fed[primary_id(shadow.run_id)] = now
                if not shadow.state.terminal:
                    with _logged("resume", shadow.run_id):
                        journal = await self._primaries.journals.load(primary_id(shadow.run_id))
                        self._plan_cancel(journal.run, shadow.run_id, shadow.due_at)
            if len(page) < PAGE:
                return

    async def _look(self, now: Millis) -> None:
        after = self._after
        while True:
            wanted = RunFilter(shadowed=True, after=after, limit=PAGE)
            page = await self._primaries.runs.find(wanted)
            for run in page:
                if run.run_id not in self._fed:
                    self._waiting.setdefault(run.run_id, self._due_at(run))
                after = run.emit_seq
                if self._due_at(run) < now - OVERLAP:
                    self._after = max(self._after, after)
            if len(page) < PAGE:
                break
        forgotten = now - 2 * OVERLAP - self._window.lag
        self._fed = {run_id: at for run_id, at in self._fed.items() if at > forgotten}

    def _due_at(self, run: Run) -> Millis:
        """A delayed start is part of the run: its lag counts from then."""
        return max(run.emitted_at, run.due_at) + self._window.lag

    async def _begin(self, run_id: str, now: Millis) -> None:
        """Start a shadow, or record one that has ended already; in one commit."""
        if await self._begun(run_id):
            return
        journal = await self._primaries.journals.load(run_id)
        primary = journal.run
        start = max(self._due_at(primary), now)
        task = next((each for each in self._app.tasks if each.id == primary.task), None)
        reason: Reason | None = "unsupported" if task is None else not_comparable(journal)
        if task is None or reason is not None:
            await self._set_aside(self._shadow(primary, task, start), reason or "unsupported", now)
            return
        shadow = self._shadow(primary, task, start)
        concurrency = task.policies.concurrency
        slotted = concurrency is not None and concurrency.counts == "runs"
        await self._shadows.events.emit([_emission(shadow, slotted=slotted)])
        self._plan_cancel(primary, shadow.run_id, shadow.due_at)

    async def _set_aside(self, shadow: Run, reason: Reason, now: Millis) -> None:
        """Record a shadow that is not to be compared as ended before it began.

        Its delivery is not due before it is withdrawn; one that is never withdrawn is refused.
        """
        ended = shadow._replace(
            state=RunStatus.CANCELLED,
            due_at=now + OVERLAP,
            ended_at=now,
            deadline_at=None,
            error=Failure(name=NOT_COMPARABLE, message=reason),
        )
        await self._shadows.events.emit([_emission(ended, slotted=False)])
        await self._shadows.deliveries.mark_stopped(ended.run_id, ended.delivery)

    def _plan_cancel(self, primary: Run, shadow: str, start: Millis) -> None:
        """Repeat a primary's cancel as long after the shadow's start as it came after its own."""
        if primary.state is RunStatus.CANCELLED and primary.ended_at is not None:
            offset = primary.ended_at - max(primary.emitted_at, primary.due_at)
            self._cancels[shadow] = start + offset

    async def _begun(self, run_id: str) -> bool:
        try:
            await self._shadows.journals.load(shadow_id(run_id))
        except UnknownRun:
            return False
        return True

    def _shadow(self, primary: Run, task: Task | None, start: Millis) -> Run:
        queue = None if task is None else task.policies.timeouts.queue
        return Run(
            run_id=shadow_id(primary.run_id),
            task=primary.task,
            provider=primary.shadow or primary.provider,
            payload=primary.payload,
            event=primary.event,
            event_id=shadow_id(primary.run_id),
            emitted_at=start,
            due_at=start,
            definition=self._app.definition,
            code_version="" if task is None else task.code_version,
            limit_key=primary.limit_key,
            deadline_at=None if queue is None else start + millis(queue),
        )

    async def _repeat_cancels(self, now: Millis) -> None:
        for run_id, at in list(self._cancels.items()):
            if at > now:
                continue
            with _logged("cancel", run_id):
                change = cancel((await self._shadows.journals.load(run_id)).run, now)
                if change is None or await self._shadows.journals.apply(change):
                    del self._cancels[run_id]
                    self._nudge()


def not_comparable(primary: Journal) -> Literal["late", "provider_failure"] | None:
    """Say why a pair cannot be compared: the primary was late, or its machinery was disturbed."""
    if primary.run.ended_at is None:
        return "late"
    disturbed = {AttemptState.LOST, AttemptState.INTERRUPTED}
    hurt = primary.run.delivery > 1 or any(
        attempt.state in disturbed for tried in primary.attempts.values() for attempt in tried
    )
    return "provider_failure" if hurt else None


def reason_of(shadow: Run) -> Reason | None:
    """Read back why a shadow was ended before it began; None for every other run."""
    if shadow.error is None or shadow.error.name != NOT_COMPARABLE:
        return None
    match shadow.error.message:
        case "late" | "unsupported" as reason:
            return reason
        case _:
            return "provider_failure"


def _emission(shadow: Run, *, slotted: bool) -> Emission:
    event = StoredEvent(
        event_id=shadow.event_id,
        name=shadow.event,
        payload=shadow.payload,
        emitted_at=shadow.emitted_at,
    )
    return Emission(event=event, runs=(NewRun(run=shadow, slotted=slotted),))


@contextlib.contextmanager
def _logged(action: str, run_id: str) -> Iterator[None]:
    """Log what goes wrong with one run, and go on with the others."""
    try:
        yield
    except TurnoutError as error:
        extra = {"action": action, "run_id": run_id, "error": str(error)}
        log.warning("a shadow waits; tried again later", extra=extra)
    except Exception:
        log.exception("a shadow broke; tried again", extra={"action": action, "run_id": run_id})

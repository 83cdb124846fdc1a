"""Starts shadows when they are due, and repeats the cancels of their primaries.

A shadow is due a constant lag after its primary's emit, so that shadows arrive and compete as their
primaries did. A primary that has not ended by then is late: counted, not compared. A feeder
reads all it needs from the two stores, so it may be killed at any point.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from turnout.errors import FailureLog, UnknownRun
from turnout.model.events import StoredEvent
from turnout.model.ids import primary_id, shadow_id
from turnout.model.runs import Delivery, Emission, Failure, Journal, NewRun, Run, RunFilter
from turnout.model.status import AttemptState, DeliveryReason, RunStatus
from turnout.model.tasks import App, Task
from turnout.model.time import Millis, millis
from turnout.model.transitions import cancel
from turnout.ports.clock import Clock
from turnout.ports.run_store import RunStore

log = logging.getLogger(__name__)

PAGE = 200
"""Runs that are read in one query."""
OVERLAP: Millis = 60_000
"""How long primaries are listed again, because emits may commit out of order."""

RETRY_DELAY: Millis = 5_000
"""How long after a failure to begin a shadow the next try follows."""

Reason = Literal["late", "provider_failure", "unsupported"]
NOT_COMPARABLE = "NotComparable"
"""The name of the error of a shadow that was ended before it began; the message is the reason."""


@dataclass(frozen=True, kw_only=True)
class FeedTiming:
    """When shadows start."""

    lag: Millis
    """From a primary's emit to its shadow's start."""
    idle: Millis = 100
    """From one search for new primaries to the next."""


class Feeder:
    """Feeds one shadow store from one primary store; starting a shadow twice changes nothing."""

    def __init__(
        self,
        *,
        primaries: RunStore,
        shadows: RunStore,
        app: App,
        clock: Clock,
        timing: FeedTiming,
    ) -> None:
        self._primaries = primaries
        self._shadows = shadows
        self._app = app
        self._clock = clock
        self._timing = timing
        self._after = 0
        """The place in the order of emits behind which new primaries are listed."""
        self._planned: dict[str, Millis] = {}
        """When the shadow of each primary is to begin."""
        self._begun: dict[str, Millis] = {}
        """When the shadow of each recent primary began."""
        self._cancels: dict[str, Millis] = {}
        """When each shadow is to be cancelled."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to feed."""
        self._task = asyncio.create_task(self._feed())

    async def close(self) -> None:
        """Stop; the next start finds the primaries whose shadows have not begun."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def feed_due(self) -> None:
        """Look for new primaries, start the shadows that are due, repeat cancels."""
        now = self._clock.now()
        await self._look(now)
        due = [run_id for run_id, at in self._planned.items() if at <= now]
        for run_id in due:
            self._planned[run_id] = now + RETRY_DELAY
            with _contained("begin_shadow", run_id):
                await self._begin(run_id, now)
                del self._planned[run_id]
                self._begun[run_id] = now
        await self._repeat_cancels(now)

    async def _feed(self) -> None:
        """Feed for ever. Nothing that goes wrong here may reach the primary's side."""
        resumed = False
        while True:
            with _contained("feed_shadows"):
                if not resumed:
                    await self._resume()
                    resumed = True
                await self.feed_due()
            await self._clock.sleep(self._timing.idle)

    async def _resume(self) -> None:
        """Read which primaries have a shadow; all others are found by looking for new ones.

        A delayed start may be older than any number of others, so all shadows are read, once.
        """
        after, now = 0, self._clock.now()
        while True:
            page = await self._shadows.runs.find(RunFilter(after=after, limit=PAGE))
            for shadow in page:
                after = shadow.emit_seq
                self._begun[primary_id(shadow.run_id)] = now
                if not shadow.state.terminal:
                    with _contained("resume_shadow", shadow.run_id):
                        journal = await self._primaries.journals.load(primary_id(shadow.run_id))
                        self._plan_cancel(journal.run, shadow.run_id, shadow.due_at)
            if len(page) < PAGE:
                return

    async def _look(self, now: Millis) -> None:
        after = self._after
        while True:
            run_filter = RunFilter(shadowed=True, after=after, limit=PAGE)
            page = await self._primaries.runs.find(run_filter)
            for run in page:
                if run.run_id not in self._begun:
                    self._planned.setdefault(run.run_id, self._due_at(run))
                after = run.emit_seq
                if self._due_at(run) < now - OVERLAP:
                    self._after = max(self._after, after)
            if len(page) < PAGE:
                break
        oldest = now - 2 * OVERLAP - self._timing.lag
        self._begun = {run_id: at for run_id, at in self._begun.items() if at > oldest}

    def _due_at(self, run: Run) -> Millis:
        """A delayed start is part of the run: its lag counts from then."""
        return max(run.emitted_at, run.due_at) + self._timing.lag

    async def _begin(self, run_id: str, now: Millis) -> None:
        """Start a shadow, or record one that has ended already; in one commit."""
        if await self._has_begun(run_id):
            return
        journal = await self._primaries.journals.load(run_id)
        primary = journal.run
        start = max(self._due_at(primary), now)
        task = next((task for task in self._app.tasks if task.id == primary.task), None)
        reason: Reason | None = (
            "unsupported"
            if task is None
            else not_comparable(journal, await self._primaries.deliveries.read(run_id))
        )
        if task is None or reason is not None:
            await self._set_aside(self._shadow(primary, task, start), reason or "unsupported", now)
            return
        shadow = self._shadow(primary, task, start)
        concurrency = task.policies.concurrency
        slotted = concurrency is not None and concurrency.counts == "runs"
        await self._shadows.events.emit([_emission(shadow, slotted=slotted)])
        self._plan_cancel(primary, shadow.run_id, shadow.due_at)

    async def _set_aside(self, shadow: Run, reason: Reason, now: Millis) -> None:
        """Record a shadow that must not be compared as ended before it began.

        Its delivery is withdrawn before it is due; should that fail, the worker refuses it.
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
        """Plan a shadow's cancel: as long after its start as the primary's was after its own."""
        if primary.state is RunStatus.CANCELLED and primary.ended_at is not None:
            offset = primary.ended_at - max(primary.emitted_at, primary.due_at)
            self._cancels[shadow] = start + offset

    async def _has_begun(self, run_id: str) -> bool:
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
            with _contained("cancel_shadow", run_id):
                change = cancel((await self._shadows.journals.load(run_id)).run, now)
                if change is None or await self._shadows.journals.apply(change):
                    del self._cancels[run_id]


def not_comparable(
    primary: Journal, deliveries: Sequence[Delivery]
) -> Literal["late", "provider_failure"] | None:
    """Say why a pair cannot be compared: the primary is late, or its provider or process failed.

    An attempt that a graceful stop interrupted has no outcome, so there is nothing to repeat.
    """
    if primary.run.ended_at is None:
        return "late"
    attempts = chain.from_iterable(primary.attempts.values())
    lost = any(delivery.reason is DeliveryReason.LOST for delivery in deliveries)
    if lost or any(attempt.state is AttemptState.LOST for attempt in attempts):
        return "provider_failure"
    return None


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


def _contained(action: str, run_id: str | None = None) -> FailureLog:
    """Log what goes wrong with shadows, and go on: it must not reach primaries, or other runs."""
    return FailureLog(log, "shadow failed, will retry", action=action, run_id=run_id)

"""Starts shadows when they are due, and repeats what came to their primaries from outside.

A shadow is due a constant lag after its primary's emit, so that arrivals and contention are kept.
A primary that has not ended by then is late: counted, not compared.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from turnout.errors import TurnoutError, UnknownRun
from turnout.model.events import StoredEvent
from turnout.model.ids import primary_id, shadow_id
from turnout.model.runs import Emission, Failure, Journal, NewRun, Run
from turnout.model.status import AttemptState, RunStatus
from turnout.model.tasks import App
from turnout.model.time import Millis, millis
from turnout.model.transitions import cancel, end
from turnout.ports.clock import Clock
from turnout.ports.run_store import RunFilter, RunStore

log = logging.getLogger(__name__)

PAGE = 200
OVERLAP: Millis = 60_000
"""Primaries are looked for again for so long, because emits may commit out of order."""

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
        self._waiting: dict[str, Run] = {}
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
        due = [run for run in self._waiting.values() if self._due_at(run) <= now]
        for run in due:
            await self._begin(run, now)
            del self._waiting[run.run_id]
            self._fed[run.run_id] = now
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
        """Begin a little before the newest primary that has a shadow already."""
        for shadow in await self._shadows.runs(RunFilter(limit=1)):
            primary = (await self._primaries.load(primary_id(shadow.run_id))).run
            self._after = max(0, primary.emit_seq - 10 * PAGE)

    async def _look(self, now: Millis) -> None:
        after = self._after
        while True:
            wanted = RunFilter(shadowed=True, after=after, limit=PAGE)
            page = await self._primaries.runs(wanted)
            for run in page:
                if run.run_id not in self._fed:
                    self._waiting[run.run_id] = run
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

    async def _begin(self, primary: Run, now: Millis) -> None:
        if await self._begun(primary):
            return
        journal = await self._primaries.load(primary.run_id)
        shadow = self._shadow(primary, max(self._due_at(primary), now))
        await self._shadows.emit([self._emission(shadow)])
        reason = not_comparable(journal)
        if reason is not None:
            await self._give_up(shadow.run_id, reason, now)
        elif journal.run.state is RunStatus.CANCELLED:
            offset = (journal.run.ended_at or now) - max(primary.emitted_at, primary.due_at)
            self._cancels[shadow.run_id] = shadow.due_at + offset

    async def _begun(self, primary: Run) -> bool:
        try:
            await self._shadows.load(shadow_id(primary.run_id))
        except UnknownRun:
            return False
        return True

    def _shadow(self, primary: Run, start: Millis) -> Run:
        task = self._app.task(primary.task)
        queue = task.policies.timeouts.queue
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
            code_version=task.code_version,
            limit_key=primary.limit_key,
            deadline_at=None if queue is None else start + millis(queue),
        )

    def _emission(self, shadow: Run) -> Emission:
        concurrency = self._app.task(shadow.task).policies.concurrency
        slotted = concurrency is not None and concurrency.counts == "runs"
        event = StoredEvent(
            event_id=shadow.event_id,
            name=shadow.event,
            payload=shadow.payload,
            emitted_at=shadow.emitted_at,
        )
        return Emission(event=event, runs=(NewRun(run=shadow, slotted=slotted),))

    async def _give_up(self, run_id: str, reason: str, now: Millis) -> None:
        """End a shadow that is not to be compared before it has begun."""
        journal = await self._shadows.load(run_id)
        error = Failure(name=NOT_COMPARABLE, message=reason)
        change = end(journal.run, RunStatus.CANCELLED, now, error=error, by_us=True)
        if change is not None:
            await self._shadows.apply(change)

    async def _repeat_cancels(self, now: Millis) -> None:
        for run_id, at in list(self._cancels.items()):
            if at > now:
                continue
            change = cancel((await self._shadows.load(run_id)).run, now)
            if change is None or await self._shadows.apply(change):
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


def reason_of(shadow: Run) -> Literal["late", "provider_failure"] | None:
    """Read back why a shadow was ended before it began; None for every other run."""
    if shadow.error is None or shadow.error.name != NOT_COMPARABLE:
        return None
    return "late" if shadow.error.message == "late" else "provider_failure"

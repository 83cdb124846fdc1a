"""Calls applications as soon as there is room, and again after a failed attempt."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from turnout_inngest_double import backoff, concurrency, ids, outcome, sdk_request
from turnout_inngest_double.capacity import Capacity, ConcurrencySlot, Waiting
from turnout_inngest_double.clock import Clock
from turnout_inngest_double.options import Options
from turnout_inngest_double.outcome import Failed, Outcome
from turnout_inngest_double.scheduler import Scheduler
from turnout_inngest_double.sdk_request import Caller
from turnout_inngest_double.state import JOINING_VERSION, ROOT_STEP, Job, Run, Span
from turnout_inngest_double.world import World

logger = logging.getLogger(__name__)

Started = Callable[[Run], None]
Answered = Callable[[Run, Job, Span, Outcome], None]


class Calls:
    """The queue of calls. Says when a run's first call goes out, and what every call came to."""

    def __init__(
        self,
        world: World,
        clock: Clock,
        scheduler: Scheduler,
        capacity: Capacity,
        caller: Caller,
        options: Options,
        *,
        started: Started,
        answered: Answered,
    ) -> None:
        self._world = world
        self._clock = clock
        self._scheduler = scheduler
        self._capacity = capacity
        self._caller = caller
        self._options = options
        self._started = started
        self._answered = answered
        self._slots: dict[str, tuple[ConcurrencySlot, ...]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def discover(self, run: Run) -> None:
        """Ask the function for what comes next; branches that race may ask at the same time."""
        self.enqueue(run, ROOT_STEP)

    def discover_after(self, run: Run, step: str, *, races: bool) -> None:
        """Ask for what comes after a step, once, as soon as nothing is open that it waits for."""
        if step in run.gone_on or (run.open and not races):
            return
        run.gone_on.append(step)
        run.plans_all = run.plans_all and run.version < JOINING_VERSION
        self.discover(run)

    def enqueue(self, run: Run, step: str) -> None:
        """Call the application as soon as there is room, targeting the step."""
        now = self._clock.now()
        job = Job(id=ids.job_id(), step=step, at=now, queued_at=now, group=ids.span_id())
        run.jobs[job.id] = job
        self._await_turn(run, job)

    def retry(self, run: Run, job: Job, failed: Failed | None) -> None:
        """Make the attempt again, later."""
        job.queued_at = self._clock.now()
        job.at = backoff.retry_at(failed, job.attempt, self._clock, self._options.retry_interval_s)
        job.attempt += 1
        job.running = False
        self._scheduler.at(job.at, lambda: self._await_turn(run, job))

    def resume(self, run: Run) -> None:
        """After a restart: make the calls that were under way or waiting."""
        for job in list(run.jobs.values()):
            self._scheduler.at(job.at, partial(self._await_turn, run, job))

    def is_last_attempt(self, run: Run, job: Job) -> bool:
        """Whether the job has used up its function's retries."""
        return job.attempt >= self._world.function_of(run).retries

    def forget(self, run: Run) -> None:
        """Forget a run that has ended."""
        self._slots.pop(run.id, None)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work in the background, until the server closes."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    async def close(self) -> None:
        """Stop calling; what is under way is asked again after the restart."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a task broke", exc_info=error, extra={"action": "run"})

    def _await_turn(self, run: Run, job: Job) -> None:
        if run.ended:
            return
        function = self._world.function_of(run)
        event = self._world.event_of(run) if function.step_limits or function.priority else {}
        slots = self._slots.get(run.id)
        if slots is None:
            slots = concurrency.call_slots(function, event, self._options.workers)
            self._slots[run.id] = slots
        waiting = Waiting(slots=slots, go=lambda: self._go(run, job, slots))
        self._capacity.request(waiting, concurrency.rank(function, run, event))

    def _go(self, run: Run, job: Job, slots: tuple[ConcurrencySlot, ...]) -> bool:
        if run.ended:
            return False
        job.running = True
        self._started(run)
        self.spawn(self._call(run, job, slots))
        return True

    async def _call(self, run: Run, job: Job, slots: tuple[ConcurrencySlot, ...]) -> None:
        span = Span(
            id=ids.span_id(),
            group=job.group,
            kind="call",
            queued_at=job.queued_at,
            started_at=self._clock.now(),
            attempt=job.attempt,
        )
        run.spans.append(span)
        function = self._world.function_of(run)
        try:
            await self._world.matching.done()
            request = sdk_request.build(self._world, function, run, job, self._clock.now())
            answer = await self._caller.send(request)
        except asyncio.CancelledError:
            raise
        except Exception:
            # The outermost edge of a run: a fault of the server itself fails the attempt, loudly.
            logger.exception("a call broke", extra={"action": "call", "run_id": run.id})
            answer = outcome.unreachable("the offline server failed; see its log")
        finally:
            self._capacity.release(slots)
        span.ended_at = self._clock.now()
        span.describe(outcome.summary(answer))
        self._answered(run, job, span, answer)
        if span in run.spans:
            self._world.save_span(run, span)

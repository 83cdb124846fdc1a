"""Takes runs through their life: queued, called step by step, ended."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

import orjson

from turnout_inngest_double import backoff, ids, outcome, sdk_call, slots
from turnout_inngest_double.capacity import Capacity, Slot, Waiting
from turnout_inngest_double.clock import Clock
from turnout_inngest_double.functions import Function
from turnout_inngest_double.options import Options
from turnout_inngest_double.outcome import Completed, Failed, Outcome
from turnout_inngest_double.scheduler import Scheduler
from turnout_inngest_double.sdk_call import Caller
from turnout_inngest_double.state import ROOT_STEP, Event, Job, Parent, Run, RunStatus, Span
from turnout_inngest_double.steps import Steps
from turnout_inngest_double.store import Store
from turnout_inngest_double.world import World

logger = logging.getLogger(__name__)
START_PAUSE_S = 0.04
"""The vendor takes 40 ms to 200 ms from an event to its runs; senders count on being first."""

Ended = Callable[[Run, dict[str, Any] | None], None]


class Invoke(Protocol):
    """How a function is started directly."""

    def __call__(
        self,
        function: Function,
        data: dict[str, Any],
        *,
        version: str | None = None,
        parent: Parent | None = None,
    ) -> Run | str:
        """Start the function directly; the run, or the word for why there is none."""
        ...


class Runner:
    """Owns every run from `start` to its end, and says so through `on_ended`."""

    def __init__(
        self,
        world: World,
        store: Store,
        clock: Clock,
        scheduler: Scheduler,
        caller: Caller,
        options: Options,
    ) -> None:
        self.world = world
        self._store = store
        self.clock = clock
        self.scheduler = scheduler
        self.caller = caller
        self._options = options
        self._capacity = Capacity()
        self._held: dict[str, tuple[Slot, ...]] = {}
        self._step_slots: dict[str, tuple[Slot, ...]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._fresh: list[Run] = []
        self._steps = Steps(self)
        self.on_ended: Ended = lambda _run, _failure: None
        self.throttled: Callable[[Function, Run], int] = lambda _function, run: run.due_at
        self.invoke: Invoke

    # -- start ----------------------------------------------------------------------------------

    def start(self, run: Run) -> None:
        """Queue a new run; it begins when it is due and there is room."""
        run.trace = sdk_call.new_trace()
        self.world.add_run(run)
        if run.parent is not None:
            self._queue(run)
            return
        self._fresh.append(run)
        if len(self._fresh) == 1:
            self._spawn(self._queue_fresh())

    async def _queue_fresh(self) -> None:
        """Begin when the event is safe, and its sender has heard so: as on the vendor's server."""
        await self._store.settled()
        await asyncio.sleep(START_PAUSE_S)
        fresh, self._fresh = self._fresh, []
        for run in fresh:
            self._queue(run)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a task broke", exc_info=error, extra={"action": "run"})

    def _queue(self, run: Run) -> None:
        function = self.function_of(run)
        if function.start_timeout_ms is not None:
            deadline = run.due_at + function.start_timeout_ms
            self.scheduler.at(deadline, lambda: self._start_timed_out(run))
        if run.due_at > self.clock.now():
            self.scheduler.at(run.due_at, lambda: self._due(run))
        else:
            self._due(run)

    def _due(self, run: Run) -> None:
        if run.ended:
            return
        at = self.throttled(self.function_of(run), run)
        if at > self.clock.now():
            self.scheduler.at(at, lambda: self._ask_for_room(run))
        else:
            self._ask_for_room(run)

    def _ask_for_room(self, run: Run) -> None:
        function = self.function_of(run)
        wanted = slots.run_slots(function, self.world.payload(run.events[0]))
        waiting = Waiting(slots=wanted, go=lambda: self._begin(run, wanted))
        self._capacity.request(waiting, self._rank(function, run))

    def _begin(self, run: Run, held: tuple[Slot, ...]) -> bool:
        if run.ended:
            return False
        self._held[run.id] = held
        self.discover(run)
        self.world.save_run(run)
        return True

    def _rank(self, function: Function, run: Run) -> int:
        """Runs of higher priority count as queued that many seconds earlier."""
        if not function.priority:
            return run.due_at
        return run.due_at - self._steps.priority_ms(function.priority, run)

    def _start_timed_out(self, run: Run) -> None:
        if run.status == "QUEUED":
            self.cancel(run)

    # -- calls ----------------------------------------------------------------------------------

    def discover(self, run: Run) -> None:
        """Ask the function for what comes next; branches that race may ask at the same time."""
        self.enqueue(run, ROOT_STEP)

    def enqueue(self, run: Run, step: str) -> None:
        """Call the application as soon as there is room, targeting the step."""
        now = self.clock.now()
        job = Job(id=ids.job_id(), step=step, at=now, queued_at=now, group=ids.span_id())
        run.jobs[job.id] = job
        self._await_turn(run, job)

    def retry(self, run: Run, job: Job, failed: Failed | None) -> None:
        """Make the attempt again, later."""
        job.queued_at = self.clock.now()
        job.at = backoff.retry_at(failed, job.attempt, self.clock, self._options.retry_interval_s)
        job.attempt += 1
        job.running = False
        self.scheduler.at(job.at, lambda: self._await_turn(run, job))

    def is_last_attempt(self, run: Run, job: Job) -> bool:
        """Whether the job has used up its function's retries."""
        return job.attempt >= self.function_of(run).retries

    def _await_turn(self, run: Run, job: Job) -> None:
        if run.ended:
            return
        function = self.function_of(run)
        wanted = self._step_slots.get(run.id)
        if wanted is None:
            payload = self.world.payload(run.events[0]) if function.step_limits else {}
            wanted = slots.step_slots(function, payload, self._options.workers)
            self._step_slots[run.id] = wanted
        waiting = Waiting(slots=wanted, go=lambda: self._go(run, job, wanted))
        self._capacity.request(waiting, self._rank(function, run))

    def _go(self, run: Run, job: Job, held: tuple[Slot, ...]) -> bool:
        if run.ended:
            return False
        job.running = True
        if run.status == "QUEUED":
            self._mark_started(run)
        self._spawn(self._call(run, job, held))
        return True

    def _mark_started(self, run: Run) -> None:
        run.status, run.started_at = "RUNNING", self.clock.now()
        self._arm_finish(run)
        self.world.save_run(run)

    def _arm_finish(self, run: Run) -> None:
        limit = self.function_of(run).finish_timeout_ms
        if limit is not None and run.started_at is not None:
            self.scheduler.at(run.started_at + limit, lambda: self.cancel(run))

    async def _call(self, run: Run, job: Job, held: tuple[Slot, ...]) -> None:
        span = Span(
            id=ids.span_id(),
            group=job.group,
            kind="call",
            queued_at=job.queued_at,
            started_at=self.clock.now(),
            attempt=job.attempt,
        )
        run.spans.append(span)
        try:
            call = sdk_call.build(self.world, self.function_of(run), run, job, self.clock.now())
            answer = await self.caller.send(call)
        except asyncio.CancelledError:
            raise
        except Exception:
            # The outermost edge of a run: a fault of the server itself fails the attempt, loudly.
            logger.exception("a call broke", extra={"action": "call", "run_id": run.id})
            answer = outcome.unreachable("the offline server failed; see its log")
        finally:
            self._capacity.release(held)
        span.ended_at = self.clock.now()
        if not run.ended:
            self._apply(run, job, span, answer)
        else:
            self._steps.describe(span, answer)
        if span in run.spans:
            self.world.save_span(run, span)

    # -- answers --------------------------------------------------------------------------------

    def _apply(self, run: Run, job: Job, span: Span, answer: Outcome) -> None:
        self._steps.describe(span, answer)
        if isinstance(answer, Completed):
            run.version = answer.version
            self.end(run, "COMPLETED", answer.output)
        elif isinstance(answer, Failed):
            self._function_failed(run, job, answer)
        else:
            run.version = answer.version
            self._steps.apply(run, job, span, answer)
        if not run.ended:
            self.world.save_run(run)

    def _function_failed(self, run: Run, job: Job, failed: Failed) -> None:
        if failed.no_retry or self.is_last_attempt(run, job):
            self.fail(run, failed.error, failed.label)
        else:
            self.retry(run, job, failed)

    def fail(self, run: Run, error: dict[str, Any], label: str) -> None:
        """End the run as failed; `label` is the server's own word for the error."""
        failure = {"label": label, "error": error}
        self.end(run, "FAILED", orjson.dumps(error), failure)

    def cancel(self, run: Run) -> None:
        """End the run, whatever it does; a call under way finishes and its answer is dropped."""
        if not run.ended:
            self.end(run, "CANCELLED", None)

    def end(
        self,
        run: Run,
        status: RunStatus,
        output: bytes | None,
        failure: dict[str, Any] | None = None,
    ) -> None:
        """End the run: nothing of it goes on, and whoever waits for it hears."""
        run.status, run.output, run.ended_at = status, output, self.clock.now()
        self.world.retire(run)
        self._step_slots.pop(run.id, None)
        held = self._held.pop(run.id, None)
        if held:
            self._capacity.release(held)
        self._steps.child_ended(run)
        self.on_ended(run, failure)

    def event_came(self, event: Event, payload: dict[str, Any]) -> None:
        """Fulfil every wait of a run that the event matches."""
        self._steps.event_came(event, payload)

    # -- the rest -------------------------------------------------------------------------------

    def function_of(self, run: Run) -> Function:
        """The run's function, also when it is registered no more."""
        return self.world.functions[run.function]

    def resume(self) -> None:
        """After a restart: hold what running runs held, and wait for what they waited for."""
        for run in list(self.world.runs.values()):
            if not run.ended:
                self._resume(run)

    def _resume(self, run: Run) -> None:
        if run.status == "QUEUED" and not run.jobs:
            self._queue(run)
            return
        function = self.function_of(run)
        held = slots.run_slots(function, self.world.payload(run.events[0]))
        self._capacity.take(held)
        self._held[run.id] = held
        self._arm_finish(run)
        for job in list(run.jobs.values()):
            self.scheduler.at(job.at, partial(self._await_turn, run, job))
        for wait in list(run.waits.values()):
            self._steps.arm(run, wait)

    async def close(self) -> None:
        """Stop calling; what is under way is asked again after the restart."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

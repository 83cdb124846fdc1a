"""Takes runs through their life: queued, called step by step, ended."""

import asyncio
from collections.abc import Callable, Iterable

import orjson

from turnout_inngest_double import concurrency, expressions, ids, sdk_request
from turnout_inngest_double.calls import Calls
from turnout_inngest_double.capacity import Capacity, ConcurrencySlot, Waiting
from turnout_inngest_double.clock import Clock
from turnout_inngest_double.limits import Limits
from turnout_inngest_double.options import Options
from turnout_inngest_double.outcome import Completed, Failed, Op, Outcome
from turnout_inngest_double.scheduler import Scheduler
from turnout_inngest_double.sdk_request import Caller
from turnout_inngest_double.state import Event, Job, Run, RunStatus, Span
from turnout_inngest_double.steps import RunFault, StepRunner
from turnout_inngest_double.store import Store
from turnout_inngest_double.waits import Invoke, Waits
from turnout_inngest_double.world import Payload, World

START_PAUSE_S = 0.04
"""The vendor takes 40 ms to 200 ms from an event to its runs; senders count on being first."""

Ended = Callable[[Run, RunFault | None], None]


class Runner:
    """Owns every run from `start` to its end, and says so through `on_ended`."""

    def __init__(
        self,
        world: World,
        store: Store,
        clock: Clock,
        scheduler: Scheduler,
        caller: Caller,
        limits: Limits,
        options: Options,
        *,
        invoke: Invoke,
        on_ended: Ended,
    ) -> None:
        self._world = world
        self._store = store
        self._clock = clock
        self._scheduler = scheduler
        self._limits = limits
        self._capacity = Capacity()
        self._calls = Calls(
            world,
            clock,
            scheduler,
            self._capacity,
            caller,
            options,
            started=self._mark_started,
            answered=self._apply,
        )
        self._waits = Waits(world, clock, scheduler, self._calls, caller.http, invoke)
        self._steps = StepRunner(world, self._calls, self._waits)
        self._slots: dict[str, tuple[ConcurrencySlot, ...]] = {}
        self._new_runs: list[Run] = []
        self._on_ended = on_ended

    # -- start ----------------------------------------------------------------------------------

    def start(self, run: Run) -> None:
        """Queue a new run; it begins when it is due and there is room."""
        run.trace = sdk_request.new_trace()
        self._world.add_run(run)
        if run.parent is not None:
            self._queue(run)
            return
        self._new_runs.append(run)
        if len(self._new_runs) == 1:
            self._calls.spawn(self._queue_new())

    async def _queue_new(self) -> None:
        """Begin when the event is safe, and its sender has heard so: as on the vendor's server."""
        await self._store.settled()
        await asyncio.sleep(START_PAUSE_S)
        runs, self._new_runs = self._new_runs, []
        for run in runs:
            self._queue(run)

    def _queue(self, run: Run) -> None:
        timeout = self._world.function_of(run).start_timeout_ms
        if timeout is not None:
            self._scheduler.at(run.due_at + timeout, lambda: self._start_timed_out(run))
        if run.due_at > self._clock.now():
            self._scheduler.at(run.due_at, lambda: self._due(run))
        else:
            self._due(run)

    def _start_timed_out(self, run: Run) -> None:
        if run.status == "QUEUED":
            self.cancel(run)

    def _due(self, run: Run) -> None:
        if run.ended:
            return
        at = self._throttled_until(run)
        if at > self._clock.now():
            self._scheduler.at(at, lambda: self._ask_for_room(run))
        else:
            self._ask_for_room(run)

    def _throttled_until(self, run: Run) -> int:
        """When the run may start as far as its function's throttle is concerned."""
        function = self._world.function_of(run)
        now = self._clock.now()
        if function.throttle is None:
            return now
        roots = {"event": self._world.event_of(run)}
        key = f"{function.slug}\n{expressions.key_of(function.throttle.key, roots)}"
        return self._limits.start_time(function.throttle, key, now)

    def _ask_for_room(self, run: Run) -> None:
        function, event = self._world.function_of(run), self._world.event_of(run)
        slots = concurrency.run_slots(function, event)
        waiting = Waiting(slots=slots, go=lambda: self._begin(run, slots))
        self._capacity.request(waiting, concurrency.rank(function, run, event))

    def _begin(self, run: Run, slots: tuple[ConcurrencySlot, ...]) -> bool:
        if run.ended:
            return False
        self._slots[run.id] = slots
        self._calls.discover(run)
        self._world.save_run(run)
        return True

    def _mark_started(self, run: Run) -> None:
        if run.status != "QUEUED":
            return
        run.status, run.started_at = "RUNNING", self._clock.now()
        self._arm_finish(run)
        self._world.save_run(run)

    def _arm_finish(self, run: Run) -> None:
        limit = self._world.function_of(run).finish_timeout_ms
        if limit is not None and run.started_at is not None:
            self._scheduler.at(run.started_at + limit, lambda: self.cancel(run))

    # -- answers and ends -----------------------------------------------------------------------

    def event_came(self, event: Event, payload: Payload) -> None:
        """Fulfil every wait of a run that the event matches."""
        self._waits.event_came(event, payload)

    def _apply(self, run: Run, job: Job, span: Span, answer: Outcome) -> None:
        """Do what an answer says; one for a run that has ended says nothing."""
        if run.ended:
            return
        if isinstance(answer, Failed):
            self._function_failed(run, job, answer)
        else:
            run.version = answer.version
            if isinstance(answer, Completed):
                self._end(run, "COMPLETED", answer.output)
            elif fault := self._steps.apply(run, job, span, answer):
                self._fail(run, fault)
        if not run.ended:
            self._world.save_run(run)

    def checkpoint(self, run: Run, ops: Iterable[Op]) -> None:
        """Keep the steps that a call reports while it is under way."""
        now = self._clock.now()
        for op in ops:
            span = Span(
                id=ids.span_id(),
                group=ids.span_id(),
                kind="call",
                queued_at=now,
                started_at=now,
                ended_at=now,
            )
            self._steps.checkpoint(run, op, span)
        self._world.save_run(run)

    def signal_came(self, signal: str, data: bytes) -> str | None:
        """Let the run that waits for the signal go on; its id, None if there is none."""
        return self._waits.signal_came(signal, data)

    def _function_failed(self, run: Run, job: Job, failed: Failed) -> None:
        if failed.no_retry or self._calls.is_last_attempt(run, job):
            self._fail(run, RunFault(error=failed.error, label=failed.label))
        else:
            self._calls.retry(run, job, failed)

    def _fail(self, run: Run, fault: RunFault) -> None:
        self._end(run, "FAILED", orjson.dumps(fault.error), fault)

    def cancel(self, run: Run) -> None:
        """End the run, whatever it does; a call under way finishes and its answer is dropped."""
        if not run.ended:
            self._end(run, "CANCELLED", None)

    def _end(
        self, run: Run, status: RunStatus, output: bytes | None, fault: RunFault | None = None
    ) -> None:
        """End the run: nothing of it goes on, and whoever waits for it hears."""
        run.status, run.output, run.ended_at = status, output, self._clock.now()
        self._world.retire(run)
        self._calls.forget(run)
        slots = self._slots.pop(run.id, None)
        if slots:
            self._capacity.release(slots)
        self._waits.child_ended(run)
        self._on_ended(run, fault)

    # -- restart and stop -----------------------------------------------------------------------

    def resume(self) -> None:
        """After a restart: hold what running runs held, and wait for what they waited for."""
        for run in list(self._world.runs.values()):
            if not run.ended:
                self._resume(run)

    def _resume(self, run: Run) -> None:
        if run.status == "QUEUED" and not run.jobs:
            self._queue(run)
            return
        slots = concurrency.run_slots(self._world.function_of(run), self._world.event_of(run))
        self._capacity.take(slots)
        self._slots[run.id] = slots
        self._arm_finish(run)
        self._calls.resume(run)
        self._waits.resume(run)

    async def close(self) -> None:
        """Stop calling; what is under way is asked again after the restart."""
        await self._calls.close()

"""One vendor run in this process: its attempts, its waits, and what stops it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from turnout_triggerdev_double.standin import completions
from turnout_triggerdev_double.standin.completions import Completion
from turnout_triggerdev_double.standin.http_client import NoResponse
from turnout_triggerdev_double.standin.loop import Identity, drive, now_ms
from turnout_triggerdev_double.standin.probe import probe
from turnout_triggerdev_double.standin.server import CONFLICT, FAULT, ServerRefused, VendorServer
from turnout_triggerdev_double.standin.service import EndQuietly, ServiceRefused, StepService
from turnout_triggerdev_double.standin.spans import Spans

CHECK_EVERY = 15.0
"""Seconds between reads of a waiting run, in case a notice was lost."""
METADATA_EVERY = 1.0
AGAIN_AFTER = 0.5
LIMIT_EVERY = 0.1
LONGEST_AWAY = 10.0
_IN_OUR_HANDS = frozenset({"EXECUTING", "EXECUTING_WITH_WAITPOINTS", "PENDING_CANCEL"})
_STOPS = frozenset({"PENDING_CANCEL", "FINISHED"})

T = TypeVar("T")
log = logging.getLogger("turnout_triggerdev_double.standin")


class RunLost(Exception):
    """The run does not belong to this worker any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What all runs of the process share."""

    definition: str
    service_url: str
    probes: frozenset[str]
    budgets: Mapping[str, int]
    """How often the vendor may try a run of each task."""
    server: VendorServer
    service: StepService
    spans: Spans


class VendorRun:
    """One run; also the LoopHost of its worker loop."""

    def __init__(self, message: dict[str, Any], tools: Tools) -> None:
        self.id = str(message["run"]["friendlyId"])
        self.snapshot = str(message["snapshot"]["friendlyId"])
        self._tools = tools
        self._moved = asyncio.Event()
        self._looked = asyncio.Event()
        self._progressed = asyncio.Event()
        self._completed: set[str] = set()
        self.waiting = False
        self._waited = 0.0
        self._working: asyncio.Task[Completion] | None = None
        self._stopped_by: dict[str, Any] | None = None
        self._attempt = 0
        self._parent = ("0" * 32, "0" * 16)
        self._progress: dict[str, Any] = {}

    def moved(self) -> None:
        """The server says that the run changed."""
        self._moved.set()

    async def work(self) -> None:
        """Make attempts until the server has no more use for this process."""
        try:
            while await self._one_attempt():
                pass
        except RunLost:
            return
        except Exception:
            # The outermost edge of a run: the server must not believe that it is worked on.
            log.exception("a run broke off", extra={"action": "run", "run": self.id})
            await self._let_go()

    async def _let_go(self) -> None:
        with contextlib.suppress(NoResponse, ServerRefused):
            await self._tools.server.disconnect([self.id])

    async def _one_attempt(self) -> bool:
        started = await self._insist(self._start)
        self._take(started)
        execution = started["execution"]
        self._attempt = int(execution["attempt"]["number"])
        context = (execution["run"].get("traceContext") or {}).get("traceparent") or ""
        _, trace, span, _ = (context.split("-") + [""] * 4)[:4]
        self._parent = (trace, span)
        completion = await self._watched(execution)
        return await self._complete(completions.with_metadata(completion, self._metadata()))

    async def _start(self) -> dict[str, Any]:
        server = self._tools.server
        try:
            return await server.start(self.id, self.snapshot)
        except NoResponse:
            snapshot = await server.latest(self.id)
            if str(snapshot["snapshot"]["friendlyId"]) != self.snapshot:
                raise RunLost(self.id) from None
            raise

    # Working, watched

    async def _watched(self, execution: dict[str, Any]) -> Completion:
        """Execute the attempt, until it ends, is cancelled or exceeds its time."""
        self._stopped_by = None
        self._waited = 0.0
        # Not waited for: the run's first call says more, and says it now.
        started = asyncio.create_task(self._report(execution, "started"))
        working = asyncio.create_task(self._execute(execution))
        self._working = working
        helpers = [asyncio.create_task(self._watch()), asyncio.create_task(self._tell())]
        seconds = execution["run"].get("maxDuration")
        if seconds:
            helpers.append(asyncio.create_task(self._limit(float(seconds))))
        try:
            completion = await working
            await started
            await self._report_end(execution, completion)
            return completion
        except asyncio.CancelledError:
            error = self._stop_reason()
            if error is None:
                raise
            event = "timed_out" if error is completions.TOO_LONG else "cancelled"
            await self._report(execution, event)
            return completions.failed(self.id, error)
        finally:
            for task in (started, working, *helpers):
                task.cancel()
            await asyncio.gather(started, working, *helpers, return_exceptions=True)

    async def _execute(self, execution: dict[str, Any]) -> Completion:
        if execution["task"]["id"] in self._tools.probes:
            tools = self._tools
            probed = await probe(tools.service, tools.service_url, tools.definition)
            return completions.succeeded(self.id, probed)
        try:
            payload = completions.payload_of(execution)
            if "scheduleId" in payload:
                return await self._tick(execution, payload)
            identity = self._identity(execution, payload)
        except (KeyError, TypeError, ValueError) as error:
            wrong = completions.built_in("InvalidPayload", f"no delivery of Turnout: {error!r}")
            return completions.failed(self.id, wrong)
        try:
            with self._span(f"Attempt {self._attempt}", "attempt") as view:
                self._parent = (self._parent[0], view["$id"])
                last = await drive(identity, self._tools.service, self)
                return completions.ended(self.id, identity.run_id, last)
        except EndQuietly as quiet:
            return completions.succeeded(self.id, {"run_id": identity.run_id, "ended": quiet.code})
        except ServiceRefused as refused:
            return self._tried_again(execution, refused)

    def _tried_again(self, execution: dict[str, Any], refused: ServiceRefused) -> Completion:
        budget = self._budget(execution)
        return completions.tried_again(
            self.id, self._attempt, refused, last=self._attempt >= budget
        )

    def _budget(self, execution: dict[str, Any]) -> int:
        """The infrastructure budget: the run's own, else its task's."""
        run_budget = execution["run"].get("maxAttempts")
        return int(run_budget or self._tools.budgets.get(execution["task"]["id"], 1))

    def _identity(self, execution: dict[str, Any], payload: dict[str, Any]) -> Identity:
        return Identity(
            task=str(payload.get("task") or execution["task"]["id"]),
            definition=self._tools.definition,
            run_id=str(payload["run_id"]),
            delivery=int(payload["delivery"]),
            provider_run_id=self.id,
            provider_attempt=self._attempt,
        )

    async def _tick(self, execution: dict[str, Any], payload: dict[str, Any]) -> Completion:
        """Report a schedule's due time to the service, which ends the run."""
        message = {
            "protocol": 1,
            "op": "tick",
            "schedule": str(payload.get("externalId") or payload["scheduleId"]),
            "slot": completions.slot_of(payload),
            "provider": "triggerdev",
            "provider_run_id": self.id,
        }
        try:
            return completions.succeeded(self.id, await self._tools.service.say(message))
        except EndQuietly as quiet:
            return completions.succeeded(self.id, {"ended": quiet.code})
        except ServiceRefused as refused:
            return self._tried_again(execution, refused)

    async def _watch(self) -> None:
        """Read the run when it changed, and periodically while it waits."""
        while True:
            try:
                async with asyncio.timeout(CHECK_EVERY):
                    await self._moved.wait()
            except TimeoutError:
                if not self.waiting:
                    continue
            self._moved.clear()
            try:
                self._take(await self._insist(lambda: self._tools.server.latest(self.id)))
            except (RunLost, ServerRefused):
                self._stop(completions.CANCELLED)

    def _take(self, execution: dict[str, Any]) -> None:
        """Take over the run's latest snapshot."""
        self.snapshot = str(execution["snapshot"]["friendlyId"])
        waitpoints = execution.get("completedWaitpoints") or []
        self._completed.update(str(waitpoint["friendlyId"]) for waitpoint in waitpoints)
        self._looked.set()
        if execution["snapshot"]["executionStatus"] in _STOPS:
            self._stop(completions.CANCELLED)

    async def _limit(self, seconds: float) -> None:
        """Stop the work when it has executed for that long; waits do not count."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        remaining = seconds
        while remaining > 0 or self.waiting:
            await asyncio.sleep(max(remaining, LIMIT_EVERY))
            remaining = seconds - (loop.time() - since - self._waited)
        self._stop(completions.TOO_LONG)

    def _stop(self, error: dict[str, Any]) -> None:
        if self._stopped_by is None and self._working is not None:
            self._stopped_by = error
            self._working.cancel()

    def _stop_reason(self) -> dict[str, Any] | None:
        return self._stopped_by

    async def _report_end(self, execution: dict[str, Any], completion: Completion) -> None:
        """Report before the attempt ends, like the vendor's hooks; no failure that is retried."""
        if completion["ok"]:
            await self._report(execution, "completed")
        elif "retry" not in completion:
            await self._report(execution, "failed")

    async def _report(self, execution: dict[str, Any], event: str) -> None:
        """Report to the service, if the run is one of Turnout's; a failed report is ignored."""
        try:
            identity = self._identity(execution, completions.payload_of(execution))
        except (KeyError, TypeError, ValueError):
            return
        message = identity.message("report", event=event, at=now_ms())
        await self._tools.service.hint(message)

    # What the worker loop asks for

    async def new_token(self, key: str, until_ms: int) -> str:
        """A waitpoint token."""
        return await self._insist(lambda: self._tools.server.new_token(key, until_ms))

    async def wait(self, token: str) -> None:
        """Wait on the token, in the slot; the time does not count as execution."""
        loop = asyncio.get_running_loop()
        since, self.waiting = loop.time(), True
        try:
            await self._insist(lambda: self._block(token))
            self._moved.set()
            while token not in self._completed:
                self._looked.clear()
                await self._looked.wait()
        finally:
            self.waiting = False
            self._waited += loop.time() - since

    async def sleep(self, seconds: float) -> None:
        """Sleep in process, in the slot."""
        await asyncio.sleep(seconds)

    async def _block(self, token: str) -> None:
        """Block the run on the token; ignore a conflict, since the run is being stopped then."""
        try:
            await self._tools.server.wait_for_token(self.id, token)
        except ServerRefused as error:
            if error.status != CONFLICT:
                raise

    @asynccontextmanager
    async def step_span(self, label: str) -> AsyncIterator[dict[str, Any]]:
        """A span of one attempt of a step."""
        with self._span(label, "function") as view:
            yield view

    def _span(self, name: str, icon: str) -> Any:
        return self._tools.spans.span(self.id, self._attempt, self._parent, name, icon)

    def progress(self, progress: dict[str, Any]) -> None:
        """Show the progress soon; several changes go together."""
        self._progress = progress
        self._progressed.set()

    async def _tell(self) -> None:
        """Write changed progress to the run's metadata, at most once a second."""
        while True:
            await self._progressed.wait()
            self._progressed.clear()
            await asyncio.sleep(METADATA_EVERY)
            with contextlib.suppress(NoResponse):
                await self._tools.server.write_metadata(self.id, self._metadata())

    def _metadata(self) -> dict[str, Any]:
        return {"turnout": self._progress} if self._progress else {}

    # Completion

    async def _complete(self, completion: Completion) -> bool:
        """End the attempt at the server; True if the next one starts here."""
        result = await self._insist(lambda: self._try_complete(completion))
        self.snapshot = str(result["snapshot"]["friendlyId"])
        if result["attemptStatus"] != "RETRY_IMMEDIATELY":
            return False
        await asyncio.sleep(completion["retry"]["delay"] / 1000)
        return True

    async def _try_complete(self, completion: Completion) -> dict[str, Any]:
        server = self._tools.server
        answer = await server.complete(self.id, self.snapshot, completion)
        if answer.status == CONFLICT or answer.status >= FAULT:
            # A snapshot that is not the latest: a real 4.5.12 server answers 500 to that.
            execution = await server.latest(self.id)
            same = execution["run"].get("attemptNumber") == self._attempt
            if not same or execution["snapshot"]["executionStatus"] not in _IN_OUR_HANDS:
                raise RunLost(self.id)
            self.snapshot = str(execution["snapshot"]["friendlyId"])
            answer = await server.complete(self.id, self.snapshot, completion)
        return dict(server.read("complete", answer)["result"])

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until the server answers."""
        wait = AGAIN_AFTER
        while True:
            try:
                return await ask()
            except NoResponse:
                await asyncio.sleep(wait)
                wait = min(LONGEST_AWAY, wait * 2)

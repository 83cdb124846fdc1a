"""Steps that end without a call: sleeps, waits for events, invoked functions, model inference."""

import asyncio
from typing import Any, Protocol

import orjson

from turnout_inngest_double import ai_gateway, expressions, fetching, ids
from turnout_inngest_double.calls import Calls
from turnout_inngest_double.clock import Clock
from turnout_inngest_double.functions import Function
from turnout_inngest_double.http_client import ApplicationClient
from turnout_inngest_double.outcome import Op, memo_error
from turnout_inngest_double.scheduler import Scheduler
from turnout_inngest_double.state import Event, Parent, Run, Span, Wait
from turnout_inngest_double.world import World

YEAR_MS = 366 * 86_400_000
_NULL = b"null"
_TRACE_NAMES = {
    "Sleep": "SLEEP",
    "WaitForEvent": "WAIT_FOR_EVENT",
    "InvokeFunction": "INVOKE",
    "AIGateway": "AI_GATEWAY",
    "Gateway": "GATEWAY",
    "WaitForSignal": "WAIT_FOR_SIGNAL",
}
_SIGNAL = "inngest/signal:"
"""Before the names of signals among those of events: no event that is sent may begin so."""


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


class Waits:
    """Watches over every wait of every run, and lets its function go on afterwards."""

    def __init__(
        self,
        world: World,
        clock: Clock,
        scheduler: Scheduler,
        calls: Calls,
        http: ApplicationClient,
        invoke: Invoke,
    ) -> None:
        self._world = world
        self._clock = clock
        self._scheduler = scheduler
        self._calls = calls
        self._http = http
        self._invoke_function = invoke

    def begin(self, run: Run, op: Op) -> None:
        """Wait as the operation says; ValueError, KeyError, TypeError where it makes no sense."""
        wait = self._read(op)
        now = self._clock.now()
        span = Span(
            id=ids.span_id(),
            group=ids.span_id(),
            kind="wait",
            queued_at=now,
            started_at=now,
            status="WAITING",
            name=op.label,
            step=op.step,
            op=_TRACE_NAMES[op.op],
        )
        run.spans.append(span)
        self._world.save_span(run, span)
        wait.span = span.id
        self._world.add_wait(run, wait)
        self._watch(run, wait)

    def resume(self, run: Run) -> None:
        """After a restart: go on watching."""
        for wait in list(run.waits.values()):
            self._watch(run, wait)

    def event_came(self, event: Event, payload: dict[str, Any]) -> None:
        """Fulfil every wait that the event matches."""
        waits = list(self._world.waits.get(event.name, {}).items())
        self._world.matching.compare(len(waits))
        for (run_id, _), wait in waits:
            run = self._world.runs[run_id]
            roots = {"async": payload}
            if wait.condition:
                roots["event"] = self._world.event_of(run)
            if expressions.matches(wait.condition, roots):
                self._settle(run, wait, event.payload)

    def signal_came(self, signal: str, data: bytes) -> str | None:
        """Fulfil the wait for the signal; the run's id, None if none waits."""
        for (run_id, _), wait in list(self._world.waits.get(_SIGNAL + signal, {}).items()):
            name = orjson.dumps(signal)
            memo = b'{"data":{"signal":' + name + b',"data":' + data + b"}}"
            self._settle(self._world.runs[run_id], wait, memo)
            return run_id
        return None

    def child_ended(self, child: Run) -> None:
        """Hand the child's result to the step that waits for it."""
        parent = None if child.parent is None else self._world.runs.get(child.parent.run)
        if child.parent is None or parent is None:
            return
        wait = parent.waits.get(child.parent.step)
        if wait is None:
            return
        if child.status == "COMPLETED":
            self._settle(parent, wait, b'{"data":' + (child.output or _NULL) + b"}")
            return
        error = orjson.loads(child.output) if child.output else None
        if child.status == "CANCELLED":
            error = {"name": "Error", "message": "the invoked function was cancelled"}
        self._fail(parent, wait, memo_error(error))

    def _read(self, op: Op) -> Wait:
        now = self._clock.now()
        timeout = op.options.get("timeout")
        match op.op:
            case "Sleep":
                length = str(op.options.get("duration") or op.name)
                return Wait(step=op.step, kind="sleep", at=self._sleep_end(length, now))
            case "WaitForEvent":
                condition = op.options.get("if")
                if condition:
                    expressions.check(condition)
                event = op.options.get("event") or op.name
                at = now + ids.parse_duration(timeout or "")
                return Wait(step=op.step, kind="event", at=at, event=event, condition=condition)
            case "InvokeFunction":
                at = now + (ids.parse_duration(timeout) if timeout else YEAR_MS)
                return Wait(step=op.step, kind="invoke", at=at, options=op.options)
            case "WaitForSignal":
                at = now + (ids.parse_duration(timeout) if timeout else YEAR_MS)
                return Wait(step=op.step, kind="signal", at=at, event=self._signal(op.options))
            case "AIGateway":
                return Wait(step=op.step, kind="gateway", at=now, options=op.options)
            case "Gateway":
                return Wait(step=op.step, kind="fetch", at=now, options=op.options)
        raise ValueError(f"the offline server does not know the step operation {op.op!r}")

    def _signal(self, options: dict[str, Any]) -> str:
        """The name under which the wait is found; one run at a time waits for a signal."""
        name = _SIGNAL + str(options["signal"])
        for (run_id, step), wait in list(self._world.waits.get(name, {}).items()):
            if options.get("conflict") != "replace":
                raise ValueError("signal wait already exists for another run")
            # The one before waits on until its time limit, and is not found any more.
            run = self._world.runs[run_id]
            self._world.drop_wait(run, step)
            wait.event = None
            self._world.add_wait(run, wait)
        return name

    def _sleep_end(self, length: str, now: int) -> int:
        """The vendor rounds the time until a moment to whole seconds, and so do we."""
        try:
            remaining = ids.parse_duration(length)
        except ValueError:
            until = self._clock.received(ids.parse_moment(length))
            remaining = (until - now + 500) // 1000 * 1000
        if remaining > YEAR_MS:
            raise ValueError("a sleep takes at most 366 days")
        return now + max(0, remaining)

    def _watch(self, run: Run, wait: Wait) -> None:
        """Watch over the wait, from its start or from a restart on."""
        if wait.kind in {"gateway", "fetch"}:
            self._calls.spawn(self._ask(run, wait))
            return
        self._scheduler.at(wait.at, lambda: self._timed_out(run, wait))
        if wait.kind == "invoke" and wait.child is None:
            self._invoke(run, wait)
        elif wait.kind == "invoke" and wait.child in self._world.runs:
            child = self._world.runs[wait.child]
            if child.ended:
                self.child_ended(child)

    def _timed_out(self, run: Run, wait: Wait) -> None:
        if wait.kind == "invoke":
            message = "Timed out waiting for invoked function to complete"
            self._fail(run, wait, {"name": "InngestInvokeTimeoutError", "message": message})
        else:
            self._settle(run, wait, _NULL)

    def _invoke(self, run: Run, wait: Wait) -> None:
        slug = str(wait.options.get("function_id"))
        function = self._world.functions.get(slug)
        if function is None or function.archived:
            self._refuse(run, wait, f"could not find function with ID: {slug}")
            return
        payload = wait.options.get("payload") or {}
        marks: dict[str, Any] = {"correlation_id": f"{run.id}.{wait.step}", "fn_id": slug}
        marks |= {"expire": wait.at, "source_fn_id": self._world.function_of(run).uuid}
        child = self._invoke_function(
            function,
            {**(payload.get("data") or {}), "_inngest": marks},
            version=payload.get("v"),
            parent=Parent(run=run.id, step=wait.step),
        )
        if isinstance(child, str):
            self._refuse(run, wait, f"could not invoke {slug}: {child}")
            return
        wait.child = child.id
        self._world.save_run(run)

    def _refuse(self, run: Run, wait: Wait, message: str) -> None:
        error = {"name": "Error", "message": message}
        # Not from within the answer that is being carried out.
        asyncio.get_running_loop().call_soon(self._fail, run, wait, error)

    async def _ask(self, run: Run, wait: Wait) -> None:
        ask = ai_gateway.infer if wait.kind == "gateway" else fetching.fetch
        result = await ask(self._http, wait.options)
        self._settle(run, wait, orjson.dumps(result), failed="error" in result)

    def _fail(self, run: Run, wait: Wait, error: dict[str, Any]) -> None:
        self._settle(run, wait, orjson.dumps({"error": error}), failed=True)

    def _settle(self, run: Run, wait: Wait, memo: bytes, *, failed: bool = False) -> None:
        """The wait is over: remember its result and go on. Nothing if it was over already."""
        if run.ended or run.waits.get(wait.step) is not wait:
            return
        self._world.drop_wait(run, wait.step)
        races = run.planned.get(wait.step, False)
        self._world.remember(run, wait.step, memo)
        self._close_span(run, wait, memo, failed=failed)
        self._calls.discover_after(run, wait.step, races=races)
        self._world.save_run(run)

    def _close_span(self, run: Run, wait: Wait, memo: bytes, *, failed: bool) -> None:
        for span in run.spans:
            if span.id == wait.span:
                span.status = "FAILED" if failed else "COMPLETED"
                span.ended_at = self._clock.now()
                span.output = _output(wait, memo)
                self._world.save_span(run, span)


def _output(wait: Wait, memo: bytes) -> bytes | None:
    """What the trace shows of a wait's result."""
    if wait.kind == "sleep":
        return None
    if wait.kind in {"event", "signal"}:
        return memo
    value = orjson.loads(memo)
    return orjson.dumps(value.get("data", value.get("error")))

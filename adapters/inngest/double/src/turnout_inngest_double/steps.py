"""Does what the application's steps ask for: remember, plan, sleep, wait, invoke."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson

from turnout_inngest_double import ai_gateway, cel, ids
from turnout_inngest_double.errors import InvalidExpression
from turnout_inngest_double.outcome import Completed, Failed, Op, Outcome
from turnout_inngest_double.outcome import Steps as StepsAnswer
from turnout_inngest_double.state import Event, Job, Parent, Run, Span, Wait

if TYPE_CHECKING:
    from turnout_inngest_double.runner import Runner

MAX_STEPS = 1_000
YEAR_MS = 366 * 86_400_000
_SEVERAL = 2
_JOINS = 2
"""The version of the SDK's protocol from which the server keeps account of what is open."""
_RAN = frozenset({"StepRun", "Step"})
_BROKE = frozenset({"StepError", "StepFailed"})
_NULL = b"null"
_WAIT_NAMES = {
    "Sleep": "SLEEP",
    "WaitForEvent": "WAIT_FOR_EVENT",
    "InvokeFunction": "INVOKE",
    "AIGateway": "AI_GATEWAY",
}


class Steps:
    """The part of the runner that knows the opcodes."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._world = runner.world
        self._clock = runner.clock
        self._tasks: set[asyncio.Task[None]] = set()

    def apply(self, run: Run, job: Job, span: Span, answer: StepsAnswer) -> None:
        """Carry out every step of the answer; ask for more when nothing is waited for."""
        if len(run.stack) + len(run.planned) + len(answer.ops) > MAX_STEPS:
            message = f"the run has more than {MAX_STEPS} steps"
            name = "InngestErrFunctionOverflowed"
            self._runner.fail(run, {"name": name, "message": message, "error": name}, name)
            return
        if not any(op.op in _RAN or op.op in _BROKE for op in answer.ops):
            self._world.forget_span(run, span)
        self._open(run, answer)
        done: dict[str, bool] = {}
        is_retried = False
        for op in answer.ops:
            if op.op in _BROKE and not self._is_final(run, job, op, answer):
                self._runner.retry(run, job, None)
                is_retried = True
            elif op.op in _RAN or op.op in _BROKE:
                done[op.step] = op.races or run.planned.get(op.step, False)
                self._finish_step(run, op)
            else:
                self._plan(run, op)
            if run.ended:
                return
        if is_retried:
            return
        run.jobs.pop(job.id, None)
        for step, races in done.items():
            self._go_on(run, step, races=races)

    def _open(self, run: Run, answer: StepsAnswer) -> None:
        """Note what a plan of several steps leaves open, as the vendor's server does."""
        if len(answer.ops) < _SEVERAL:
            return
        run.plans_all = True
        if run.version >= _JOINS and any(op.op not in _RAN | _BROKE for op in answer.ops):
            run.open = [op.step for op in answer.ops]

    def _go_on(self, run: Run, step: str, *, races: bool) -> None:
        """Ask for what comes after a step, once, as soon as nothing is open that it waits for."""
        if step in run.gone_on or (run.open and not races):
            return
        run.gone_on.append(step)
        run.plans_all = run.plans_all and run.version < _JOINS
        self._runner.discover(run)

    def _is_final(self, run: Run, job: Job, op: Op, answer: StepsAnswer) -> bool:
        return op.op == "StepFailed" or answer.no_retry or self._runner.is_last_attempt(run, job)

    def _finish_step(self, run: Run, op: Op) -> None:
        if op.step in run.memos:
            # Two steps share an id; like the vendor, the run then waits for ever.
            return
        if op.op in _RAN:
            self._world.remember(run, op.step, b'{"data":' + op.data + b"}")
        else:
            self._world.remember(run, op.step, orjson.dumps({"error": _memo_error(op.error)}))

    def describe(self, span: Span, answer: Outcome) -> None:
        """Write into the span what the call came to."""
        if isinstance(answer, Completed):
            span.status, span.output = "COMPLETED", answer.output
        elif isinstance(answer, Failed):
            span.status, span.output = "FAILED", orjson.dumps(answer.error)
        else:
            op = answer.ops[0]
            span.step, span.name, span.op = op.step, op.label, "RUN"
            if op.op in _BROKE:
                span.status, span.output = "FAILED", orjson.dumps(_memo_error(op.error))
            else:
                span.status, span.output = "COMPLETED", op.data

    # -- what takes time ------------------------------------------------------------------------

    def _plan(self, run: Run, op: Op) -> None:
        if op.step in run.memos or op.step in run.planned:
            return
        run.planned[op.step] = op.races
        if op.op == "StepPlanned":
            self._runner.enqueue(run, op.step)
            return
        try:
            wait = self._wait(op)
        except (KeyError, TypeError, ValueError, InvalidExpression) as error:
            problem = {"name": type(error).__name__, "message": str(error), "error": str(error)}
            self._runner.fail(run, problem, str(error))
            return
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
            op=_WAIT_NAMES[op.op],
        )
        run.spans.append(span)
        self._world.save_span(run, span)
        wait.span = span.id
        self._world.add_wait(run, wait)
        self.arm(run, wait)

    def _wait(self, op: Op) -> Wait:
        now = self._clock.now()
        timeout = op.options.get("timeout")
        match op.op:
            case "Sleep":
                return Wait(step=op.step, kind="sleep", at=self._sleep_end(op.name, now))
            case "WaitForEvent":
                condition = op.options.get("if")
                if condition:
                    cel.check(condition)
                event = op.options.get("event") or op.name
                at = now + ids.parse_duration(timeout or "")
                return Wait(step=op.step, kind="event", at=at, event=event, condition=condition)
            case "InvokeFunction":
                at = now + (ids.parse_duration(timeout) if timeout else YEAR_MS)
                return Wait(step=op.step, kind="invoke", at=at, options=op.options)
            case "AIGateway":
                return Wait(step=op.step, kind="gateway", at=now, options=op.options)
        raise ValueError(f"the offline server does not know the step operation {op.op!r}")

    def _sleep_end(self, name: str, now: int) -> int:
        """The vendor rounds the time that is left to whole seconds, and so do we."""
        left = self._clock.received(ids.parse_moment(name)) - now
        if left > YEAR_MS:
            raise ValueError("a sleep takes at most 366 days")
        return now + max(0, (left + 500) // 1000 * 1000)

    def arm(self, run: Run, wait: Wait) -> None:
        """Watch over the wait, from its start or from a restart on."""
        if wait.kind == "gateway":
            task = asyncio.get_running_loop().create_task(self._infer(run, wait))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        self._runner.scheduler.at(wait.at, lambda: self._timed_out(run, wait))
        if wait.kind == "invoke" and wait.child is None:
            self._invoke(run, wait)
        elif wait.kind == "invoke" and wait.child in self._world.runs:
            child = self._world.runs[wait.child]
            if child.ended:
                self.child_ended(child)

    def _timed_out(self, run: Run, wait: Wait) -> None:
        if wait.kind == "invoke":
            error = {
                "name": "InngestInvokeTimeoutError",
                "message": "Timed out waiting for invoked function to complete",
            }
            self.settle(run, wait, orjson.dumps({"error": error}), failed=True)
        else:
            self.settle(run, wait, _NULL)

    def settle(self, run: Run, wait: Wait, memo: bytes, *, failed: bool = False) -> None:
        """The wait is over: remember its result and go on. Nothing if it was over already."""
        if run.ended or run.waits.get(wait.step) is not wait:
            return
        self._world.drop_wait(run, wait.step)
        races = run.planned.get(wait.step, False)
        self._world.remember(run, wait.step, memo)
        self._close_span(run, wait, memo, failed=failed)
        self._go_on(run, wait.step, races=races)
        self._world.save_run(run)

    def _close_span(self, run: Run, wait: Wait, memo: bytes, *, failed: bool) -> None:
        for span in run.spans:
            if span.id == wait.span:
                span.status = "FAILED" if failed else "COMPLETED"
                span.ended_at = self._clock.now()
                span.output = _shown(wait, memo)
                self._world.save_span(run, span)

    # -- waits for events -----------------------------------------------------------------------

    def event_came(self, event: Event, payload: dict[str, Any]) -> None:
        """Fulfil every wait that the event matches."""
        for (run_id, _), wait in list(self._world.waits.get(event.name, {}).items()):
            run = self._world.runs[run_id]
            roots = {"async": payload}
            if wait.condition:
                roots["event"] = self._world.payload(run.events[0])
            if cel.matches(wait.condition, roots):
                self.settle(run, wait, event.payload)

    # -- invoked functions ----------------------------------------------------------------------

    def _invoke(self, run: Run, wait: Wait) -> None:
        slug = str(wait.options.get("function_id"))
        function = self._world.functions.get(slug)
        if function is None or function.archived:
            self._refuse(run, wait, f"could not find function with ID: {slug}")
            return
        sent = wait.options.get("payload") or {}
        marks: dict[str, Any] = {"correlation_id": f"{run.id}.{wait.step}", "fn_id": slug}
        marks |= {"expire": wait.at, "source_fn_id": self._runner.function_of(run).uuid}
        child = self._runner.invoke(
            function,
            {**(sent.get("data") or {}), "_inngest": marks},
            version=sent.get("v"),
            parent=Parent(run=run.id, step=wait.step),
        )
        if isinstance(child, str):
            self._refuse(run, wait, f"could not invoke {slug}: {child}")
            return
        wait.child = child.id
        self._world.save_run(run)

    def _refuse(self, run: Run, wait: Wait, message: str) -> None:
        memo = orjson.dumps({"error": {"name": "Error", "message": message}})
        # Not from within the answer that is being carried out.
        later = asyncio.get_running_loop().call_soon
        later(lambda: self.settle(run, wait, memo, failed=True))

    def child_ended(self, child: Run) -> None:
        """Hand the child's result to the step that waits for it."""
        if child.parent is None:
            return
        parent = self._world.runs.get(child.parent.run)
        wait = None if parent is None else parent.waits.get(child.parent.step)
        if parent is None or wait is None:
            return
        if child.status == "COMPLETED":
            output = child.output or _NULL
            self.settle(parent, wait, b'{"data":' + output + b"}")
            return
        error = orjson.loads(child.output) if child.output else None
        if child.status == "CANCELLED":
            error = {"name": "Error", "message": "the invoked function was cancelled"}
        memo = orjson.dumps({"error": _memo_error(error)})
        self.settle(parent, wait, memo, failed=True)

    async def _infer(self, run: Run, wait: Wait) -> None:
        result = await ai_gateway.infer(self._runner.caller.http, wait.options)
        failed = "error" in result
        self.settle(run, wait, orjson.dumps(result), failed=failed)

    def priority_ms(self, expression: str, run: Run) -> int:
        """How much earlier the run counts as queued; the vendor's bound is ten minutes."""
        roots = {"event": self._world.payload(run.events[0])}
        return int(max(-600, min(600, cel.number_of(expression, roots))) * 1000)


def _memo_error(error: Any) -> dict[str, Any]:
    if not isinstance(error, dict):
        return {"name": "Error", "message": str(error)}
    kept = {name: error[name] for name in ("message", "name", "stack") if error.get(name)}
    return {"message": "", "name": "Error", **kept}


def _shown(wait: Wait, memo: bytes) -> bytes | None:
    if wait.kind == "sleep":
        return None
    if wait.kind == "event":
        return memo
    value = orjson.loads(memo)
    return orjson.dumps(value.get("data", value.get("error")))

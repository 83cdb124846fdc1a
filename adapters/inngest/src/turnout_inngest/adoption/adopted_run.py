"""The task that an adopted function becomes.

A *turn* is one request to the SDK, as the vendor's server makes it: with the recorded results of
steps, the SDK runs the function's code up to its next step, and that step. The result is recorded
under the step's own name. Sleeps, waits, children and parallel steps that the function asks for
become Turnout's own. The function's code runs only in steps, never in a replay: so it has a lease,
is retried, and does not run in a shadow.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from turnout.errors import InvalidDefinition, StepFailed, TurnoutError
from turnout.model.ids import check_step_id
from turnout.model.policies import Retries, at_path
from turnout.model.time import as_datetime
from turnout_inngest.adoption.answers import FunctionFailed, FunctionReturned, Op, StepsReported
from turnout_inngest.adoption.endpoint import ROOT, Endpoint, Request
from turnout_inngest.adoption.events import event_json, last_line
from turnout_inngest.adoption.expressions import Path, equalities
from turnout_inngest.adoption.task_errors import (
    ENDS_THE_RUN,
    delay_after,
    error_named,
    final_error,
    retry_later,
)

FUNCTION: Final = "(function)"
"""The step that runs the function's code up to its first step; later ones say after which step."""
MARK: Final = "turnout:adopted"
_UNFINISHED: Final = object()
_UNITS: Final = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000}
_MAX_LABEL: Final = 150
MAX_STACK: Final = 8_000
_RUN_OPS: Final = frozenset({"StepRun", "StepError", "StepFailed"})
_LATE: Final = "InngestInvokeTimeoutError", "Timed out waiting for invoked function to complete"


@dataclass(frozen=True, kw_only=True, eq=False)
class AdoptedFunction:
    """What all runs of one function share."""

    full_id: str
    """The vendor's id of the function."""
    endpoint: Endpoint
    tasks: Mapping[str, str]
    """The tasks of adopted functions, by the vendor's ids of the functions."""
    max_attempts: int
    backoff: timedelta | None = None
    """The delay of every retry; None: the vendor's table."""


@dataclass(kw_only=True)
class AdoptedRun:
    """One replay of a run, from its first turn on."""

    ctx: Any
    plan: AdoptedFunction
    event: Mapping[str, Any]
    memos: dict[str, Any] = field(default_factory=dict)
    """The result of each step that the SDK gets: its data or its error."""
    pending: set[str] = field(default_factory=set)
    """The steps that the function has asked for."""
    names: set[str] = field(default_factory=set)
    """The names of our steps, each given once."""

    async def run(self) -> Any:
        """Run the function to its end, and return its result."""
        try:
            output = await self._continue(FUNCTION)
        except _Finished as finished:
            return finished.output
        if output is _UNFINISHED:
            raise error_named("Error", "the function waits for steps that it has had")
        return output

    async def _continue(self, name: str, *, plans: bool = False) -> Any:
        """Take turns until the function ends or waits for other branches.

        plans: there are other branches, so a turn only names its next step.
        """
        progress = await self._turn(name, plans=plans)
        while "output" not in progress:
            ops = [op for op in progress["ops"] if op["id"] not in self.pending]
            self.pending |= {op["id"] for op in ops}
            if not ops:
                return _UNFINISHED
            if len(ops) > 1 and any(op["races"] for op in ops):
                outputs = await self.ctx.parallel(*(partial(self._race, op) for op in ops))
                return next(
                    (output for output in outputs if output is not _UNFINISHED), _UNFINISHED
                )
            replacements = await self.ctx.parallel(*(partial(self._settle, op) for op in ops))
            replacement = next(filter(None, replacements), None)
            progress = replacement or await self._turn(_after(ops[-1]), plans=plans)
        return progress["output"]

    async def _race(self, op: Op) -> Any:
        await self._settle(op)
        return await self._continue(_after(op), plans=True)

    async def _turn(self, name: str, *, plans: bool) -> dict[str, Any]:
        """Run the function's code up to its next new step; run that step too, unless `plans`."""
        body = partial(self._take_turn, name, plans)
        try:
            progress: dict[str, Any] = await self._step(
                self._unique(name), body, self.plan.max_attempts
            )
        except StepFailed as error:
            raise error_named(error.name, error.message) from None
        return progress

    async def _settle(self, op: Op) -> dict[str, Any] | None:
        """Do what the function asks for, and keep the result for the next turn.

        Returns the progress of another turn, if the function asked for something else meanwhile.
        """
        operation = self._operation(op)
        op = {**op, "label": self._unique(op["label"])}
        try:
            self.memos[op["id"]] = {"data": await operation(op)}
        except StepFailed as error:
            if error.name.endswith(ENDS_THE_RUN):
                raise error_named(error.name.removesuffix(ENDS_THE_RUN), error.message) from None
            self.memos[op["id"]] = {"error": _memo_error(op, error)}
        except _ChangedCourse as change:
            self.pending.discard(op["id"])
            return change.progress
        return None

    def _operation(self, op: Op) -> Callable[[Op], Awaitable[Any]]:
        """Return the method that carries out an operation of the SDK."""
        match op["op"]:
            case "StepPlanned" | "StepRun" | "StepError" | "StepFailed":
                return self._run_step
            case "Sleep":
                return self._sleep
            case "WaitForEvent":
                return self._wait
            case "InvokeFunction":
                return self._invoke
        raise error_named("NotOffered", f"{op['label']!r}: Turnout does not offer {op['op']}")

    def _unique(self, name: str) -> str:
        """Return a name that no other step of this run has."""
        unique, number = name, 1
        while unique in self.names:
            number += 1
            unique = f"{name} [{number}]"
        self.names.add(unique)
        return unique

    # -- what a function asks for --------------------------------------------------------------

    async def _run_step(self, op: Op) -> Any:
        body = self._recall_step if "ran" in op else self._run_planned
        result = await self._step(op["label"], partial(body, op), self._remaining_attempts(op))
        if not isinstance(result, dict) or MARK not in result:
            return result
        if "output" in result:
            raise _Finished(result["output"])
        if "said" in result:
            raise _ChangedCourse(result["said"])
        for number, event in enumerate(result["sent"], 1):
            await self.ctx.emit(
                event["name"],
                event["data"],
                id=f"{op['label']} event {number}",
                key=event["key"],
                at=None if event["ts"] is None else as_datetime(event["ts"]),
            )
        return result["data"]

    async def _sleep(self, op: Op) -> None:
        await self.ctx.sleep(op["label"], timedelta(milliseconds=op["ms"]))

    async def _wait(self, op: Op) -> Any:
        match = _match(op["opts"].get("if"), self.event["data"])
        timeout = timedelta(milliseconds=_duration(op["opts"]["timeout"]))
        name = op["name"]
        event = await self.ctx.wait_for_event(
            name, match=match, timeout=timeout, id=op["label"], whole=True
        )
        if event is None:
            return None
        return event_json(
            name, event["payload"], event["event_id"], event["key"], event["emitted_at"]
        )

    async def _invoke(self, op: Op) -> Any:
        options = op["opts"]
        task = self.plan.tasks.get(options["function_id"])
        if task is None:
            problem = f"could not find function with ID: {options['function_id']}"
            raise StepFailed(op["label"], "Error", problem, attempts=1)
        timeout = options.get("timeout")
        return await self.ctx.invoke(
            task,
            (options.get("payload") or {}).get("data") or {},
            id=op["label"],
            timeout=None if timeout is None else timedelta(milliseconds=_duration(timeout)),
        )

    # -- bodies of steps: the SDK is called ----------------------------------------------------

    async def _take_turn(self, name: str, plans: bool) -> dict[str, Any]:  # noqa: FBT001 - of a partial
        answer, events = await self._ask(ROOT, self.ctx.attempt, plans=plans)
        if isinstance(answer, FunctionFailed):
            raise self._failed(name, answer, self.ctx.attempt)
        return _progress(answer, events, self.ctx.attempt)

    async def _recall_step(self, op: Op) -> Any:
        """Return the result of a step that a turn ran; run a further attempt of a failed step."""
        ran, label = op["ran"], op["label"]
        if ran["error"] is None or self.ctx.attempt == 1:
            return self._result_of(label, ran, op["attempt"])
        number = op["attempt"] + self.ctx.attempt - 1
        answer, events = await self._ask(ROOT, number)
        if isinstance(answer, FunctionFailed):
            raise self._failed(label, answer, number, ends=True)
        progress = _progress(answer, events, number)
        if "output" in progress:
            return {MARK: 1, "output": progress["output"]}
        repeated: Op = next((item for item in progress["ops"] if item["id"] == op["id"]), {})
        if "ran" not in repeated:
            return {MARK: 1, "said": progress}
        return self._result_of(label, repeated["ran"], number)

    async def _run_planned(self, op: Op) -> Any:
        """Run a step that was planned beside others."""
        answer, events = await self._ask(op["id"], self.ctx.attempt)
        if isinstance(answer, FunctionFailed):
            raise self._failed(op["label"], answer, self.ctx.attempt, ends=True)
        if isinstance(answer, FunctionReturned):
            return {MARK: 1, "output": answer.output}
        reported = next((item for item in answer.ops if item["id"] == op["id"]), None)
        if reported is None:
            problem = f"the function did not come to step {op['label']!r}"
            failure = FunctionFailed(name="Error", message=problem, no_retry=False)
            raise self._failed(op["label"], failure, self.ctx.attempt)
        ran = _step_result(reported, events, no_retry=answer.no_retry)
        return self._result_of(op["label"], ran, self.ctx.attempt)

    def _result_of(self, label: str, ran: Mapping[str, Any], number: int) -> Any:
        """Return the value of a step, or raise its error."""
        error = ran["error"]
        if error is not None:
            failure = FunctionFailed(
                name=error["name"], message=error["message"], no_retry=ran["no_retry"]
            )
            raise self._failed(label, failure, number)
        data, events = ran["data"], ran["sent"]
        special = events or (isinstance(data, dict) and MARK in data)
        return {MARK: 1, "data": data, "sent": events} if special else data

    async def _ask(
        self, step: str, number: int, *, plans: bool = False
    ) -> tuple[Any, list[dict[str, Any]]]:
        return await self.plan.endpoint.ask(
            Request(
                function=self.plan.full_id,
                run_id=self.ctx.run_id,
                attempt=number - 1,
                max_attempts=self.plan.max_attempts,
                event=self.event,
                memos=self.memos,
                step=step,
                plans=plans,
            )
        )

    def _failed(
        self, step: str, failure: FunctionFailed, number: int, *, ends: bool = False
    ) -> Exception:
        """The error of a failed attempt. ends: the last one ends the run, uncaught."""
        name = failure.name + ENDS_THE_RUN * ends
        if failure.no_retry:
            return final_error(name, failure.message)
        if number >= self.plan.max_attempts:
            return error_named(name, failure.message)
        delay = self.plan.backoff if failure.retry_in is None else failure.retry_in
        if delay is None:
            delay = delay_after(number, _draw(f"{self.ctx.run_id}/{step}#{number}"))
        return retry_later(failure.name, failure.message, delay)

    def _remaining_attempts(self, op: Op) -> int:
        """Count a step's remaining attempts: those of the turn that ran it count too."""
        return self.plan.max_attempts - (op["attempt"] - 1 if "ran" in op else 0)

    def _step(self, name: str, body: Callable[[], Awaitable[Any]], tries: int) -> Any:
        return self.ctx.step(name, body, retries=Retries(max_attempts=tries))


class _Finished(Exception):
    """The function returned while a step of it was called for."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output


class _ChangedCourse(Exception):
    """The function asked for something else when one of its steps was tried again."""

    def __init__(self, progress: dict[str, Any]) -> None:
        super().__init__()
        self.progress = progress


def label_of(user_id: str, index: int | None) -> str:
    """Name a step as its function does; a repeated one by its number, from 1, in brackets."""
    label = user_id if index is None else f"{user_id} ({index})"
    try:
        return check_step_id(label)
    except InvalidDefinition:
        digest = hashlib.sha256(label.encode()).hexdigest()[:8]
        return f"{''.join(filter(str.isprintable, label))[:_MAX_LABEL]} [{digest}]"


def _progress(
    answer: FunctionReturned | StepsReported, events: list[dict[str, Any]], number: int
) -> dict[str, Any]:
    """Write the result of a turn. number: its attempt, from 1."""
    if isinstance(answer, FunctionReturned):
        return {"output": answer.output}
    ops = [_trimmed(op) for op in answer.ops]
    for op, reported in zip(ops, answer.ops, strict=True):
        if op["op"] in _RUN_OPS:
            op["ran"], op["attempt"] = (
                _step_result(reported, events, no_retry=answer.no_retry),
                number,
            )
    return {"ops": ops}


def _step_result(op: Op, events: list[dict[str, Any]], *, no_retry: bool) -> dict[str, Any]:
    """Write the result of a step: its data and the events that it sent, or its error."""
    error = op.get("error")
    if error is not None:
        summary = {"name": error["name"], "message": error["message"]}
        stack = error.get("stack")
        error = {**summary, "stack": stack[-MAX_STACK:] if stack else last_line(summary)}
    final = no_retry or op["op"] == "StepFailed"
    return {"data": op.get("data"), "error": error, "no_retry": final, "sent": events}


def _trimmed(op: Op) -> dict[str, Any]:
    """Keep the parts of an operation that a replay needs; of a sleep its remaining time."""
    userland = op.get("userland") or {}
    user_id = str(userland.get("id") or op.get("displayName") or op["id"])
    opts = op.get("opts") or {}
    trimmed = {
        "id": op["id"],
        "op": op["op"],
        "label": label_of(user_id, userland.get("index")),
        "name": op.get("name") or "",
        "opts": opts,
        "races": opts.get("parallelMode") == "race",
    }
    if op["op"] == "Sleep":
        remaining = datetime.fromisoformat(trimmed["name"]) - datetime.now(UTC)
        trimmed["ms"] = max(0, round(remaining.total_seconds() * 1_000))
    return trimmed


def _after(op: Op) -> str:
    return f"{FUNCTION[:-1]} after {op['label']})"


def _match(expression: str | None, data: Any) -> dict[str, Any] | None:
    """Write a wait's expression as paths into the event and the values that they must have."""
    if expression is None:
        return None
    match: dict[str, Any] = {}
    try:
        for equal in equalities(expression):
            sides = equal.first, equal.second
            awaited = [side for side in sides if isinstance(side, Path) and side.root == "async"]
            if len(awaited) != 1:
                raise InvalidDefinition(f"{expression!r}: compare async.data.… with what you have")
            value = sides[1] if sides[0] is awaited[0] else sides[0]
            match[awaited[0].at] = (
                at_path(value.at, data) if isinstance(value, Path) else value.value
            )
    except TurnoutError as error:
        raise error_named("ExpressionRefused", str(error)) from None
    return match


def _duration(text: str) -> int:
    """Read the SDK's durations: a number and a unit."""
    return int(text[:-1]) * _UNITS[text[-1]]


def _memo_error(op: Op, error: StepFailed) -> dict[str, Any]:
    name, message = error.name, error.message
    if op["op"] == "InvokeFunction" and name == "TimedOut" and "did not end" in message:
        return {"name": _LATE[0], "message": _LATE[1], "stack": None}
    summary = {"name": name, "message": message}
    recorded_error = (op.get("ran") or {}).get("error") or {}
    same = {name_of: recorded_error.get(name_of) for name_of in summary} == summary
    return {**summary, "stack": recorded_error["stack"] if same else last_line(summary)}


def _draw(seed: str) -> float:
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:6]) / 2**48

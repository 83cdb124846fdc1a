"""The task that an adopted function becomes.

Each turn asks the SDK how far the function gets with what is remembered, in the same requests as
the vendor's server makes: one runs the code up to its next step, and that step. What it came to is
recorded under the step's own name; what it asks for are Turnout's own sleeps, waits, children and
steps side by side. The function's code runs in steps only, never in a replay: under a lease,
retried, and not at all in a shadow.
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
from turnout_inngest.adoption.answers import Broke, Op, Reported, Returned
from turnout_inngest.adoption.endpoint import ROOT, Endpoint, Request
from turnout_inngest.adoption.events import last_line, written
from turnout_inngest.adoption.expressions import Path, equalities
from turnout_inngest.adoption.raising import ENDS_THE_RUN, delay_after, final, later, named

FUNCTION: Final = "(function)"
"""The step that runs the function's own code up to its first step; others say after which."""
MARK: Final = "turnout:adopted"
_NOT_YET: Final = object()
_UNITS: Final = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000}
_LONGEST_LABEL: Final = 150
LONGEST_STACK: Final = 8_000
_RAN: Final = frozenset({"StepRun", "StepError", "StepFailed"})
_LATE: Final = "InngestInvokeTimeoutError", "Timed out waiting for invoked function to complete"


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What the runs of one function have in common.

    tasks: by the vendor's id of a function, the task that it became. backoff: the delay of every
    retry; None: the vendor's table.
    """

    full_id: str
    endpoint: Endpoint
    tasks: Mapping[str, str]
    max_attempts: int
    backoff: timedelta | None = None


@dataclass(kw_only=True)
class Turns:
    """One walk through a run."""

    ctx: Any
    plan: Plan
    event: Mapping[str, Any]
    memos: dict[str, Any] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)

    async def whole(self) -> Any:
        """Run the function to its end, and give what it returns."""
        try:
            found = await self._go(FUNCTION)
        except _Finished as finished:
            return finished.output
        if found is _NOT_YET:
            raise named("Error", "the function waits for steps that it has had")
        return found

    async def _go(self, name: str, *, plans: bool = False) -> Any:
        """Walk on from a turn. plans: others walk beside this one, so no turn may run a step."""
        said = await self._turn(name, plans=plans)
        while "output" not in said:
            ops = [op for op in said["ops"] if op["id"] not in self.pending]
            self.pending |= {op["id"] for op in ops}
            if not ops:
                return _NOT_YET
            if len(ops) > 1 and any(op["races"] for op in ops):
                found = await self.ctx.parallel(*(partial(self._race, op) for op in ops))
                return next((each for each in found if each is not _NOT_YET), _NOT_YET)
            others = await self.ctx.parallel(*(partial(self._settle, op) for op in ops))
            other = next(filter(None, others), None)
            said = other or await self._turn(_after(ops[-1]), plans=plans)
        return said["output"]

    async def _race(self, op: Op) -> Any:
        await self._settle(op)
        return await self._go(_after(op), plans=True)

    async def _turn(self, name: str, *, plans: bool) -> dict[str, Any]:
        """Run the function's code up to what it has not had yet, and unless it plans, that."""
        body = partial(self._look, name, plans)
        try:
            said: dict[str, Any] = await self._step(self._own(name), body, self.plan.max_attempts)
        except StepFailed as error:
            raise named(error.name, error.message) from None
        return said

    async def _settle(self, op: Op) -> dict[str, Any] | None:
        """Do what the function asks for, and remember how it went; or what it said instead."""
        doing = _DOING.get(op["op"])
        if doing is None:
            raise named("NotOffered", f"{op['label']!r}: Turnout does not offer {op['op']}")
        op = {**op, "label": self._own(op["label"])}
        try:
            self.memos[op["id"]] = {"data": await doing(self, op)}
        except StepFailed as error:
            if error.name.endswith(ENDS_THE_RUN):
                raise named(error.name.removesuffix(ENDS_THE_RUN), error.message) from None
            self.memos[op["id"]] = {"error": _memo_error(op, error)}
        except _Otherwise as other:
            self.pending.discard(op["id"])
            return other.said
        return None

    def _own(self, name: str) -> str:
        """Give a name that nothing else of this run has."""
        found, number = name, 1
        while found in self.names:
            number += 1
            found = f"{name} [{number}]"
        self.names.add(found)
        return found

    # -- what a function asks for --------------------------------------------------------------

    async def _ran(self, op: Op) -> Any:
        body = self._had if "ran" in op else self._body
        found = await self._step(op["label"], partial(body, op), self._left(op))
        if not isinstance(found, dict) or MARK not in found:
            return found
        if "output" in found:
            raise _Finished(found["output"])
        if "said" in found:
            raise _Otherwise(found["said"])
        for number, sent in enumerate(found["sent"], 1):
            await self.ctx.emit(
                sent["name"],
                sent["data"],
                id=f"{op['label']} event {number}",
                key=sent["key"],
                at=None if sent["ts"] is None else as_datetime(sent["ts"]),
            )
        return found["data"]

    async def _slept(self, op: Op) -> None:
        await self.ctx.sleep(op["label"], timedelta(milliseconds=op["ms"]))

    async def _waited(self, op: Op) -> Any:
        wanted = _match(op["opts"].get("if"), self.event["data"])
        timeout = timedelta(milliseconds=_duration(op["opts"]["timeout"]))
        name = op["name"]
        met = await self.ctx.wait_for_event(
            name, match=wanted, timeout=timeout, id=op["label"], whole=True
        )
        if met is None:
            return None
        return written(name, met["payload"], met["event_id"], met["key"], met["emitted_at"])

    async def _invoked(self, op: Op) -> Any:
        asked = op["opts"]
        task = self.plan.tasks.get(asked["function_id"])
        if task is None:
            told = f"could not find function with ID: {asked['function_id']}"
            raise StepFailed(op["label"], "Error", told, attempts=1)
        timeout = asked.get("timeout")
        return await self.ctx.invoke(
            task,
            (asked.get("payload") or {}).get("data") or {},
            id=op["label"],
            timeout=None if timeout is None else timedelta(milliseconds=_duration(timeout)),
        )

    # -- bodies of steps: the SDK is called ----------------------------------------------------

    async def _look(self, name: str, plans: bool) -> dict[str, Any]:  # noqa: FBT001 - of a partial
        answer, sent = await self._ask(ROOT, self.ctx.attempt, plans=plans)
        if isinstance(answer, Broke):
            raise self._failed(name, answer, self.ctx.attempt)
        return _said(answer, sent, self.ctx.attempt)

    async def _had(self, op: Op) -> Any:
        """Tell what a turn had of a step; where that had failed, a further try makes it anew."""
        ran, label = op["ran"], op["label"]
        if ran["error"] is None or self.ctx.attempt == 1:
            return self._told(label, ran, op["attempt"])
        tried = op["attempt"] + self.ctx.attempt - 1
        answer, sent = await self._ask(ROOT, tried)
        if isinstance(answer, Broke):
            raise self._failed(label, answer, tried, ends=True)
        said = _said(answer, sent, tried)
        if "output" in said:
            return {MARK: 1, "output": said["output"]}
        found: Op = next((each for each in said["ops"] if each["id"] == op["id"]), {})
        if "ran" not in found:
            return {MARK: 1, "said": said}
        return self._told(label, found["ran"], tried)

    async def _body(self, op: Op) -> Any:
        """Run a step that was planned beside others."""
        answer, sent = await self._ask(op["id"], self.ctx.attempt)
        if isinstance(answer, Broke):
            raise self._failed(op["label"], answer, self.ctx.attempt, ends=True)
        if isinstance(answer, Returned):
            return {MARK: 1, "output": answer.output}
        found = next((each for each in answer.ops if each["id"] == op["id"]), None)
        if found is None:
            told = f"the function did not come to step {op['label']!r}"
            broke = Broke(name="Error", message=told, no_retry=False)
            raise self._failed(op["label"], broke, self.ctx.attempt)
        ran = _ran(found, sent, no_retry=answer.no_retry)
        return self._told(op["label"], ran, self.ctx.attempt)

    def _told(self, label: str, ran: Mapping[str, Any], tried: int) -> Any:
        """Give what a step came to, or raise it."""
        error = ran["error"]
        if error is not None:
            broke = Broke(name=error["name"], message=error["message"], no_retry=ran["no_retry"])
            raise self._failed(label, broke, tried)
        data, sent = ran["data"], ran["sent"]
        special = sent or (isinstance(data, dict) and MARK in data)
        return {MARK: 1, "data": data, "sent": sent} if special else data

    async def _ask(
        self, step: str, tried: int, *, plans: bool = False
    ) -> tuple[Any, list[dict[str, Any]]]:
        return await self.plan.endpoint.ask(
            Request(
                function=self.plan.full_id,
                run_id=self.ctx.run_id,
                attempt=tried - 1,
                max_attempts=self.plan.max_attempts,
                event=self.event,
                memos=self.memos,
                step=step,
                plans=plans,
            )
        )

    def _failed(self, step: str, broke: Broke, tried: int, *, ends: bool = False) -> Exception:
        """Say what becomes of an attempt. ends: no code of the function sees the last one's."""
        name = broke.name + ENDS_THE_RUN * ends
        if broke.no_retry:
            return final(name, broke.message)
        if tried >= self.plan.max_attempts:
            return named(name, broke.message)
        delay = self.plan.backoff if broke.retry_in is None else broke.retry_in
        if delay is None:
            delay = delay_after(tried, _draw(f"{self.ctx.run_id}/{step}#{tried}"))
        return later(broke.name, broke.message, delay)

    def _left(self, op: Op) -> int:
        """Count the tries that a step has left: those of the code before it are its own, too."""
        return self.plan.max_attempts - (op["attempt"] - 1 if "ran" in op else 0)

    def _step(self, name: str, body: Callable[[], Awaitable[Any]], tries: int) -> Any:
        return self.ctx.step(name, body, retries=Retries(max_attempts=tries))


class _Finished(Exception):
    """The function returned while a step of it was called for."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output


class _Otherwise(Exception):
    """The function came to something else when a step of it was tried again."""

    def __init__(self, said: dict[str, Any]) -> None:
        super().__init__()
        self.said = said


_DOING: Final[Mapping[str, Callable[[Turns, Op], Awaitable[Any]]]] = {
    "StepPlanned": Turns._ran,  # noqa: SLF001 - the table of the class's own doings
    "StepRun": Turns._ran,  # noqa: SLF001
    "StepError": Turns._ran,  # noqa: SLF001
    "StepFailed": Turns._ran,  # noqa: SLF001
    "Sleep": Turns._slept,  # noqa: SLF001
    "WaitForEvent": Turns._waited,  # noqa: SLF001
    "InvokeFunction": Turns._invoked,  # noqa: SLF001
}


def label_of(user_id: str, index: int | None) -> str:
    """Name a step as its function does; a repeated one by its number, from 1, in brackets."""
    label = user_id if index is None else f"{user_id} ({index})"
    try:
        return check_step_id(label)
    except InvalidDefinition:
        digest = hashlib.sha256(label.encode()).hexdigest()[:8]
        return f"{''.join(filter(str.isprintable, label))[:_LONGEST_LABEL]} [{digest}]"


def _said(answer: Returned | Reported, sent: list[dict[str, Any]], tried: int) -> dict[str, Any]:
    """Write down what a turn came to. tried: which try of it this was, from 1."""
    if isinstance(answer, Returned):
        return {"output": answer.output}
    ops = [_trimmed(each) for each in answer.ops]
    for op, given in zip(ops, answer.ops, strict=True):
        if op["op"] in _RAN:
            op["ran"], op["attempt"] = _ran(given, sent, no_retry=answer.no_retry), tried
    return {"ops": ops}


def _ran(op: Op, sent: list[dict[str, Any]], *, no_retry: bool) -> dict[str, Any]:
    """Write down what a step came to: its data and the events that it sent, or its error."""
    error = op.get("error")
    if error is not None:
        told = {"name": error["name"], "message": error["message"]}
        stack = error.get("stack")
        error = {**told, "stack": stack[-LONGEST_STACK:] if stack else last_line(told)}
    final = no_retry or op["op"] == "StepFailed"
    return {"data": op.get("data"), "error": error, "no_retry": final, "sent": sent}


def _trimmed(op: Op) -> dict[str, Any]:
    """Keep of an operation what a replay needs; a sleep as what is left of it."""
    known = op.get("userland") or {}
    user_id = str(known.get("id") or op.get("displayName") or op["id"])
    opts = op.get("opts") or {}
    found = {
        "id": op["id"],
        "op": op["op"],
        "label": label_of(user_id, known.get("index")),
        "name": op.get("name") or "",
        "opts": opts,
        "races": opts.get("parallelMode") == "race",
    }
    if op["op"] == "Sleep":
        left = datetime.fromisoformat(found["name"]) - datetime.now(UTC)
        found["ms"] = max(0, round(left.total_seconds() * 1_000))
    return found


def _after(op: Op) -> str:
    return f"{FUNCTION[:-1]} after {op['label']})"


def _match(expression: str | None, own: Any) -> dict[str, Any] | None:
    """Write a wait's expression as paths into the event and the values that they must have."""
    if expression is None:
        return None
    found: dict[str, Any] = {}
    try:
        for equal in equalities(expression):
            sides = equal.left, equal.right
            awaited = [each for each in sides if isinstance(each, Path) and each.root == "async"]
            if len(awaited) != 1:
                raise InvalidDefinition(f"{expression!r}: compare async.data.… with what you have")
            other = sides[1] if sides[0] is awaited[0] else sides[0]
            found[awaited[0].at] = (
                at_path(other.at, own) if isinstance(other, Path) else other.value
            )
    except TurnoutError as error:
        raise named("ExpressionRefused", str(error)) from None
    return found


def _duration(text: str) -> int:
    """Read the SDK's durations: a number and a unit."""
    return int(text[:-1]) * _UNITS[text[-1]]


def _memo_error(op: Op, error: StepFailed) -> dict[str, Any]:
    name, message = error.name, error.message
    if op["op"] == "InvokeFunction" and name == "TimedOut" and "did not end" in message:
        return {"name": _LATE[0], "message": _LATE[1], "stack": None}
    told = {"name": name, "message": message}
    seen = (op.get("ran") or {}).get("error") or {}
    same = {each: seen.get(each) for each in told} == told
    return {**told, "stack": seen["stack"] if same else last_line(told)}


def _draw(seed: str) -> float:
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:6]) / 2**48

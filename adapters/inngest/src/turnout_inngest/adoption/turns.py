"""The task that an adopted function becomes.

Each turn asks the SDK how far the function gets with what is remembered, as the vendor's server
does; what it then asks for are Turnout's own steps, sleeps, waits and children. The function's
code runs in steps only, never in a replay: under a lease, retried, and not at all in a shadow.
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
from turnout_inngest.adoption.events import last_line
from turnout_inngest.adoption.expressions import Path, equalities
from turnout_inngest.adoption.raising import ENDS_THE_RUN, delay_after, final, later, named

FUNCTION: Final = "(function)"
"""The step that runs the function's own code up to its first step; others say after which."""
MARK: Final = "turnout:adopted"
_NOT_YET: Final = object()
_UNITS: Final = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000}
_LONGEST_LABEL: Final = 150
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

    @property
    def retries(self) -> Retries:
        """The tries; their delays come with each failure."""
        return Retries(max_attempts=self.max_attempts)


@dataclass(kw_only=True)
class Turns:
    """One walk through a run."""

    ctx: Any
    plan: Plan
    event: Mapping[str, Any]
    memos: dict[str, Any] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)

    async def whole(self) -> Any:
        """Run the function to its end, and give what it returns."""
        try:
            found = await self._go(FUNCTION)
        except _Finished as finished:
            return finished.output
        if found is _NOT_YET:
            raise named("Error", "the function waits for steps that it has had")
        return found

    async def _go(self, name: str) -> Any:
        while True:
            said = await self._turn(name)
            if "output" in said:
                return said["output"]
            ops = [op for op in said["ops"] if op["id"] not in self.pending]
            self.pending |= {op["id"] for op in ops}
            if not ops:
                return _NOT_YET
            if len(ops) > 1 and any(op["races"] for op in ops):
                found = await self.ctx.parallel(*(partial(self._race, op) for op in ops))
                return next((each for each in found if each is not _NOT_YET), _NOT_YET)
            await self.ctx.parallel(*(partial(self._settle, op) for op in ops))
            name = _after(ops[-1])

    async def _race(self, op: Op) -> Any:
        await self._settle(op)
        return await self._go(_after(op))

    async def _turn(self, name: str) -> dict[str, Any]:
        """Run the function's code up to what it has not had yet."""
        try:
            said: dict[str, Any] = await self._step(name, partial(self._look, name))
        except StepFailed as error:
            raise named(error.name, error.message) from None
        return said

    async def _settle(self, op: Op) -> None:
        """Do what the function asks for, and remember how it went."""
        doing = _DOING.get(op["op"])
        if doing is None:
            raise named("NotOffered", f"{op['label']!r}: Turnout does not offer {op['op']}")
        try:
            self.memos[op["id"]] = {"data": await doing(self, op)}
        except StepFailed as error:
            if error.name.endswith(ENDS_THE_RUN):
                raise named(error.name.removesuffix(ENDS_THE_RUN), error.message) from None
            self.memos[op["id"]] = {"error": _memo_error(op, error)}

    # -- what a function asks for --------------------------------------------------------------

    async def _ran(self, op: Op) -> Any:
        found = await self._step(op["label"], partial(self._body, op))
        if not isinstance(found, dict) or MARK not in found:
            return found
        if "output" in found:
            raise _Finished(found["output"])
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
        payload = await self.ctx.wait_for_event(name, match=wanted, timeout=timeout, id=op["label"])
        return None if payload is None else {"name": name, "data": payload, "id": "", "ts": 0}

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

    async def _look(self, name: str) -> dict[str, Any]:
        answer, _ = await self._ask(ROOT)
        if isinstance(answer, Returned):
            return {"output": answer.output}
        if isinstance(answer, Reported):
            return {"ops": [_trimmed(each) for each in answer.ops]}
        raise self._failed(name, answer)

    async def _body(self, op: Op) -> Any:
        answer, sent = await self._ask(op["id"])
        if isinstance(answer, Broke):
            raise self._failed(op["label"], answer, ends=True)
        if isinstance(answer, Returned):
            return {MARK: 1, "output": answer.output}
        found = next((each for each in answer.ops if each["id"] == op["id"]), None)
        if found is None:
            told = f"the function did not come to step {op['label']!r}"
            raise self._failed(op["label"], Broke(name="Error", message=told, no_retry=False))
        if found.get("error") is not None:
            error = found["error"]
            raise self._failed(
                op["label"],
                Broke(name=error["name"], message=error["message"], no_retry=answer.no_retry),
            )
        data = found.get("data")
        special = sent or (isinstance(data, dict) and MARK in data)
        return {MARK: 1, "data": data, "sent": sent} if special else data

    async def _ask(self, step: str) -> tuple[Any, list[dict[str, Any]]]:
        return await self.plan.endpoint.ask(
            Request(
                function=self.plan.full_id,
                run_id=self.ctx.run_id,
                attempt=self.ctx.attempt - 1,
                max_attempts=self.plan.max_attempts,
                event=self.event,
                memos=self.memos,
                step=step,
            )
        )

    def _failed(self, step: str, broke: Broke, *, ends: bool = False) -> Exception:
        """Say what becomes of an attempt. ends: no code of the function sees the last one's."""
        attempt = self.ctx.attempt
        name = broke.name + ENDS_THE_RUN * ends
        if broke.no_retry:
            return final(name, broke.message)
        if attempt >= self.plan.max_attempts:
            return named(name, broke.message)
        delay = self.plan.backoff if broke.retry_in is None else broke.retry_in
        if delay is None:
            delay = delay_after(attempt, _draw(f"{self.ctx.run_id}/{step}#{attempt}"))
        return later(broke.name, broke.message, delay)

    def _step(self, name: str, body: Callable[[], Awaitable[Any]]) -> Any:
        return self.ctx.step(name, body, retries=self.plan.retries)


class _Finished(Exception):
    """The function returned while a step of it was called for."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output


_DOING: Final[Mapping[str, Callable[[Turns, Op], Awaitable[Any]]]] = {
    "StepPlanned": Turns._ran,  # noqa: SLF001 - the table of the class's own doings
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
    return {**told, "stack": last_line(told)}


def _draw(seed: str) -> float:
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:6]) / 2**48

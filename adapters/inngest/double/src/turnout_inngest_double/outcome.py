"""Reads what the SDK answered to a call. Pure: no clock, no state."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from turnout_inngest_double.http_client import Reply
from turnout_inngest_double.state import Summary

RESULT_OPS = frozenset({"StepRun", "Step"})
ERROR_OPS = frozenset({"StepError", "StepFailed"})
RUN_COMPLETE = "RunComplete"
"""The function has returned, in the words of an SDK that has reported steps while it ran."""
DISCOVERY = "DiscoveryRequest"
"""The function asks to be called again."""
MAX_STEP_OUTPUT = 4 * 1024 * 1024
_OK, _STREAMED, _STEPS, _UNAUTHORISED = 200, 201, 206, 401


@dataclass(frozen=True, kw_only=True)
class Op:
    """One step that the application reports or asks for."""

    op: str
    step: str
    name: str
    label: str
    """The step's name as the user wrote it."""
    options: dict[str, Any]
    data: bytes = b"null"
    error: dict[str, Any] | None = None

    @property
    def has_run(self) -> bool:
        """Whether the step was run, well or not, rather than asked for."""
        return self.op in RESULT_OPS or self.op in ERROR_OPS

    @property
    def races(self) -> bool:
        """Whether the next discovery need not wait for the other branches."""
        return self.options.get("parallelMode") == "race"


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Steps that ran, or are asked for."""

    ops: tuple[Op, ...]
    no_retry: bool
    version: int
    retry: "Failed | None" = None
    """When to try a step that failed again, if the application says so."""


@dataclass(frozen=True, kw_only=True)
class Completed:
    """The function returned."""

    output: bytes
    version: int


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The function itself failed, or nothing sensible came back."""

    error: dict[str, Any]
    label: str
    no_retry: bool = False
    retry_at_ms: int | None = None
    """When to try again, on the application's clock."""
    retry_after_ms: int | None = None


Outcome = Steps | Completed | Failed


def summary(answer: Outcome) -> Summary:
    """What the trace shows of an answer."""
    if isinstance(answer, Completed):
        return Summary(status="COMPLETED", output=answer.output)
    if isinstance(answer, Failed):
        return Summary(status="FAILED", output=orjson.dumps(answer.error))
    op = answer.ops[0]
    if op.op in ERROR_OPS:
        error = orjson.dumps(memo_error(op.error))
        return Summary(status="FAILED", output=error, step=op.step, name=op.label)
    return Summary(status="COMPLETED", output=op.data, step=op.step, name=op.label)


def memo_error(error: Any) -> dict[str, Any]:
    """An error as a step remembers it."""
    if not isinstance(error, dict):
        return {"name": "Error", "message": str(error)}
    fields = {name: error[name] for name in ("message", "name", "stack") if error.get(name)}
    return {"message": "", "name": "Error", **fields}


def unreachable(reason: str) -> Failed:
    """Nothing came back."""
    error = {"error": reason, "message": "Unable to reach SDK URL", "name": "Error"}
    return Failed(error=error, label="Unable to reach SDK URL")


def no_worker(reason: str) -> Failed:
    """No worker is connected that could be asked."""
    label = "connect_no_healthy_connection"
    error = {"code": label, "error": label, "message": reason, "name": "Error"}
    return Failed(error=error, label=label)


def read(reply: Reply) -> Outcome:
    """What the application's reply means."""
    if reply.status == _STREAMED:
        reply = _unwrapped(reply)
    no_retry = reply.headers.get("x-inngest-no-retry") == "true"
    version = _version(reply)
    try:
        body = orjson.loads(reply.body) if reply.body.strip() else None
    except orjson.JSONDecodeError:
        return _not_the_sdk(reply)
    if reply.status == _STEPS and isinstance(body, dict) and "op" in body:
        body = [body]
    if reply.status == _STEPS and isinstance(body, list) and body:
        return _steps(body, reply, no_retry=no_retry, version=version)
    if reply.status == _OK and "x-inngest-sdk" in reply.headers:
        return Completed(output=orjson.dumps(body), version=version)
    if isinstance(body, dict) and ("code" in body or "name" in body) and "message" in body:
        label = "NonRetriableError" if no_retry else f"invalid status code: {reply.status}"
        after, at = _retry(reply.headers.get("retry-after", ""))
        return Failed(
            error=body, label=label, no_retry=no_retry, retry_at_ms=at, retry_after_ms=after
        )
    return _not_the_sdk(reply)


def _unwrapped(reply: Reply) -> Reply:
    """A streamed reply carries the true one in its body, after spaces that kept it alive."""
    try:
        inner = orjson.loads(reply.body)
        body = inner["body"]
        text = body if isinstance(body, str) else orjson.dumps(body).decode()
        headers = {str(name).lower(): str(value) for name, value in inner["headers"].items()}
        return Reply(status=int(inner["status"]), headers=headers, body=text.encode())
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return reply


def _version(reply: Reply) -> int:
    try:
        return int(reply.headers.get("x-inngest-req-version", "2"))
    except ValueError:
        return 2


def _steps(body: list[Any], reply: Reply, *, no_retry: bool, version: int) -> Outcome:
    try:
        ops = tuple(read_op(raw) for raw in body)
    except (KeyError, TypeError, AttributeError):
        message = "The SDK answered with steps that cannot be read."
        return _server_error("InvalidResponse", message, no_retry=True)
    if any(len(op.data) > MAX_STEP_OUTPUT for op in ops):
        message = f"a step's output is larger than {MAX_STEP_OUTPUT} bytes"
        return _server_error("InngestErrStepOutputTooLarge", message, no_retry=True)
    for op in ops:
        if op.op == RUN_COMPLETE:
            return Completed(output=op.data, version=version)
    after, at = _retry(reply.headers.get("retry-after", ""))
    retry = Failed(error={}, label="", retry_at_ms=at, retry_after_ms=after)
    return Steps(ops=ops, no_retry=no_retry, version=version, retry=retry)


def read_op(raw: dict[str, Any]) -> Op:
    """One step of an answer; KeyError, TypeError, AttributeError where it is none."""
    return Op(
        op=raw["op"],
        step=raw["id"],
        name=raw.get("name") or "",
        label=raw.get("displayName") or raw.get("name") or raw["id"],
        options=raw.get("opts") or {},
        data=orjson.dumps(raw.get("data")),
        error=raw.get("error"),
    )


def _not_the_sdk(reply: Reply) -> Failed:
    if reply.status == _UNAUTHORISED:
        message = "Your server returned HTTP 401 before the SDK responded."
    else:
        message = f"Your server returned HTTP {reply.status} and no answer of the SDK."
    return _server_error(f"invalid status code: {reply.status}", message, no_retry=False)


def _server_error(label: str, message: str, *, no_retry: bool) -> Failed:
    error = {"error": label, "message": message, "name": "Error"}
    return Failed(error=error, label=label, no_retry=no_retry)


def _retry(text: str) -> tuple[int | None, int | None]:
    """`retry-after` as a delay, or as a moment (ISO or an HTTP date), in milliseconds."""
    if text.isascii() and text.isdigit():
        return int(text) * 1000, None
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = parse(text)
        except (TypeError, ValueError):
            continue
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return None, round(aware.timestamp() * 1000)
    return None, None

"""Bodies of trigger requests, refused in the words of the real server."""

from collections.abc import Callable, Iterator
from typing import Any

from turnout_triggerdev_double.server.errors import refused

MACHINES = ("micro", "small-1x", "small-2x", "medium-1x", "medium-2x", "large-1x", "large-2x")
MAX_KEY = 2048
MAX_TAG = 128
_FIXED_LIMITS = 2

Complaints = Iterator[tuple[str, str]]


def kind_of(value: Any) -> str:
    """The name of a JSON value's type."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def checked_trigger(body: Any, prefix: str = "") -> dict[str, Any]:
    """The body, or a refusal that names every wrong field."""
    if not isinstance(body, dict):
        raise refused(400, f"Validation error: Expected object, received {kind_of(body)}")
    complaints = list(_complaints(body))
    if complaints:
        text = "; ".join(f'{problem} at "{prefix}{path}"' for path, problem in complaints)
        raise refused(400, f"Validation error: {text}")
    return body


def _complaints(body: dict[str, Any]) -> Complaints:
    options = body.get("options")
    if options is None:
        return
    if not isinstance(options, dict):
        yield "options", f"Expected object, received {kind_of(options)}"
        return
    for name, check in _CHECKS.items():
        if options.get(name) is not None:
            for path, problem in check(options[name]):
                yield f"options.{name}{path}", problem


def _is(expected: str) -> Callable[[Any], Complaints]:
    def check(value: Any) -> Complaints:
        if kind_of(value) != expected:
            yield "", f"Expected {expected}, received {kind_of(value)}"

    return check


def _machine(value: Any) -> Complaints:
    if value not in MACHINES:
        names = " | ".join(f"'{name}'" for name in MACHINES)
        yield "", f"Invalid enum value. Expected {names}, received '{value}'"


def _key(value: Any) -> Complaints:
    if not isinstance(value, str):
        yield "", f"Expected string, received {kind_of(value)}"
    elif len(value) > MAX_KEY:
        yield "", f"idempotencyKey must be {MAX_KEY} characters or less"


def _tags(value: Any) -> Complaints:
    if isinstance(value, str):
        if len(value) > MAX_TAG:
            yield "", f"Tags must be less than {MAX_TAG} characters"
        return
    if not isinstance(value, list):
        yield "", f"Expected array, received {kind_of(value)}"
        return
    for index, tag in enumerate(value):
        if not isinstance(tag, str):
            yield f"[{index}]", f"Expected string, received {kind_of(tag)}"
        elif len(tag) > MAX_TAG:
            yield f"[{index}]", f"Tags must be less than {MAX_TAG} characters"


def _queue(value: Any) -> Complaints:
    if not isinstance(value, dict):
        yield "", f"Expected object, received {kind_of(value)}"
    elif not isinstance(value.get("name"), str):
        yield ".name", "Required"


def _ttl(value: Any) -> Complaints:
    if kind_of(value) not in {"string", "number"}:
        yield "", "Invalid input"


def _limits(value: Any) -> Complaints:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        yield "", f"Expected array, received {kind_of(value)}"
    elif len(value) > _FIXED_LIMITS:
        yield "", f"Array must contain at most {_FIXED_LIMITS} element(s)"


def _debounce(value: Any) -> Complaints:
    if not isinstance(value, dict):
        yield "", f"Expected object, received {kind_of(value)}"
        return
    for name in ("key", "delay"):
        if name not in value:
            yield f".{name}", "Required"
        elif not isinstance(value[name], str):
            yield f".{name}", f"Expected string, received {kind_of(value[name])}"
    mode = value.get("mode", "leading")
    if mode not in {"leading", "trailing"}:
        yield ".mode", f"Invalid enum value. Expected 'leading' | 'trailing', received '{mode}'"


_CHECKS: dict[str, Callable[[Any], Complaints]] = {
    "queue": _queue,
    "machine": _machine,
    "maxAttempts": _is("number"),
    "maxDuration": _is("number"),
    "priority": _is("number"),
    "idempotencyKey": _key,
    "idempotencyKeyTTL": _is("string"),
    "tags": _tags,
    "ttl": _ttl,
    "test": _is("boolean"),
    "lockToVersion": _is("string"),
    "payloadType": _is("string"),
    "parentRunId": _is("string"),
    "resumeParentOnCompletion": _is("boolean"),
    "idempotencyKeyOptions": _is("object"),
    "concurrency": _limits,
    "debounce": _debounce,
}

"""Reads what the SDK answers to a call, as plain JSON. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

OK, STREAMED, STEPS = 200, 201, 206
MAX_DELAY: Final = timedelta(hours=24)

Op = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class FunctionReturned:
    """The function returned."""

    output: Any


@dataclass(frozen=True, kw_only=True)
class StepsReported:
    """Steps that ran, or are asked for."""

    ops: tuple[Op, ...]
    no_retry: bool


@dataclass(frozen=True, kw_only=True)
class FunctionFailed:
    """The function itself failed."""

    name: str
    message: str
    no_retry: bool
    retry_in: timedelta | None = None


Answer = FunctionReturned | StepsReported | FunctionFailed


def read(status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> Answer:
    """Read an answer of the SDK."""
    no_retry = headers.get("x-inngest-no-retry") == "true"
    try:
        content = orjson.loads(body) if body.strip() else None
    except orjson.JSONDecodeError:
        return FunctionFailed(
            name="Error", message=f"the SDK answered {status} and no JSON", no_retry=False
        )
    if status == STREAMED and isinstance(content, dict) and isinstance(content.get("body"), str):
        # The true answer comes after spaces that kept a slow one alive.
        inner = {str(name).lower(): str(value) for name, value in content["headers"].items()}
        return read(int(content["status"]), inner, content["body"].encode(), now)
    if status == OK:
        return FunctionReturned(output=content)
    if status == STEPS and isinstance(content, list):
        return StepsReported(ops=tuple(content), no_retry=no_retry)
    error = content if isinstance(content, dict) else {}
    return FunctionFailed(
        name=str(error.get("name") or "Error"),
        message=str(error.get("message") or f"the SDK answered {status}"),
        no_retry=no_retry,
        retry_in=_delay(headers.get("retry-after"), now),
    )


def _delay(text: str | None, now: datetime) -> timedelta | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(aware - now, timedelta()), MAX_DELAY)

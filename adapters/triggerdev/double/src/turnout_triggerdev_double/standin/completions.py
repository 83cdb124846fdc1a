"""How a vendor attempt ends, in the vendor's format; and the payload of a vendor run."""

import random
from datetime import datetime
from typing import Any

import orjson

from turnout_triggerdev_double.standin.loop import now_ms
from turnout_triggerdev_double.standin.messages import NextAnswer
from turnout_triggerdev_double.standin.service import ServiceRefused

CANCELLED = {"type": "INTERNAL_ERROR", "code": "TASK_RUN_CANCELLED"}
TOO_LONG = {"type": "INTERNAL_ERROR", "code": "MAX_DURATION_EXCEEDED"}

Completion = dict[str, Any]


def payload_of(execution: dict[str, Any]) -> dict[str, Any]:
    """The payload of a run, which is an object. Raises ValueError."""
    run = execution["run"]
    value = orjson.loads(run["payload"])
    if run.get("payloadType") == "application/super+json" and isinstance(value, dict):
        value = value.get("json", value)
    if not isinstance(value, dict):
        raise ValueError("the payload is not an object")  # noqa: TRY004 one error for all of it
    return value


def slot_of(payload: dict[str, Any]) -> int:
    """The nominal moment of a schedule's tick, in milliseconds."""
    return round(datetime.fromisoformat(str(payload["timestamp"])).timestamp() * 1000)


def succeeded(run: str, output: dict[str, Any]) -> Completion:
    """The attempt is done with this output."""
    text = orjson.dumps({"turnout": 1, **output}).decode()
    return {"ok": True, "id": run, "output": text, "outputType": "application/json"}


def failed(run: str, error: dict[str, Any]) -> Completion:
    """The run is over; the vendor shall not try it again."""
    return {"ok": False, "id": run, "error": error, "skippedRetrying": True}


def built_in(name: str, message: str) -> dict[str, Any]:
    """An error with a name."""
    return {"type": "BUILT_IN_ERROR", "name": name, "message": message, "stackTrace": ""}


def ended(run: str, run_id: str, last: NextAnswer) -> Completion:
    """The run ended at the service."""
    match last.state:
        case "completed":
            digest = (last.result or {}).get("sha256")
            return succeeded(run, {"run_id": run_id, "sha256": digest})
        case "cancelled":
            return succeeded(run, {"run_id": run_id, "ended": last.state})
        case _:
            error = last.error or {}
            name = str(error.get("name") or last.state)
            return failed(run, built_in(name, str(error.get("message") or "")))


def tried_again(run: str, attempt: int, refused: ServiceRefused, *, last: bool) -> Completion:
    """This vendor attempt failed; another follows, unless the infrastructure budget is used up."""
    error = built_in(f"TurnoutService[{refused.code}]", refused.message)
    if last:
        return {"ok": False, "id": run, "error": error}
    longest = min(20_000.0, 500 * 2 ** max(0, attempt - 1))
    delay = int(longest * (0.5 + random.random() / 2))  # noqa: S311 only spreads callers
    return {
        "ok": False,
        "id": run,
        "error": error,
        "retry": {"timestamp": now_ms() + delay, "delay": delay},
    }


def with_metadata(completion: Completion, metadata: dict[str, Any]) -> Completion:
    """The completion with the run's metadata."""
    if not metadata:
        return completion
    text = orjson.dumps({"metadata": metadata}).decode()
    return completion | {"flushedMetadata": {"data": text, "dataType": "application/json"}}

"""Turnout's events in the form that the SDK's functions expect."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from turnout_inngest.settings import STARTS

INVOKED: Final = ("turnout/invoked", "inngest/function.invoked")
FAILED: Final = "inngest/function.failed"
_SCHEDULE: Final = "turnout/schedule."
TIMER: Final = "inngest/scheduled.timer"


def event_of(ctx: Any, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Write the event that started a run."""
    return event_json(ctx.event, payload, ctx.event_id, ctx.event_key, _millis(ctx.emitted_at))


def failure_event(full_id: str, failure: Mapping[str, Any]) -> dict[str, Any]:
    """Write the event that a failure handler is given. failure: the payload of Turnout's hook."""
    error = failure.get("error") or {"name": "Error", "message": ""}
    failure_error = {**error, "error": "invalid status code: 500", "stack": last_line(error)}
    event = event_json(
        failure["event"], failure["payload"], failure["event_id"], None, failure["emitted_at"]
    )
    return {
        "name": FAILED,
        "data": {
            "function_id": full_id,
            "run_id": failure["run_id"],
            "error": failure_error,
            "event": event,
        },
        "id": f"{failure['run_id']}-failed",
        "ts": failure["emitted_at"],
    }


def event_json(
    name: str, payload: Mapping[str, Any], event_id: str, key: str | None, at: int
) -> dict[str, Any]:
    """Write an event; its id is the sender's own where it had one."""
    if name.startswith(STARTS) and key is not None:
        name = _started_by(key)
    prefix = f"inngest:{name}:"
    sender_id = key.removeprefix(prefix) if key is not None and key.startswith(prefix) else event_id
    if name.startswith(_SCHEDULE):
        name = TIMER
    elif name == INVOKED[0]:
        name = INVOKED[1]
    return {"name": name, "data": payload, "id": sender_id, "ts": at}


def _started_by(key: str) -> str:
    """Read from its key which event a run was handed over for; a slot's is the timer's."""
    kind, _, subject = key.partition(":")
    return subject.partition(":")[0] if kind == "inngest" else TIMER


def last_line(error: Mapping[str, Any]) -> str:
    """Write the last line of a traceback: the journal keeps no more of it."""
    return f"{error.get('name', 'Error')}: {error.get('message', '')}"


def _millis(at: datetime) -> int:
    return round(at.timestamp() * 1_000)

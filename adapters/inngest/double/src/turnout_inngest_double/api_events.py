"""`POST /e/{key}`: events come in."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from turnout_inngest_double import ids
from turnout_inngest_double.replies import BadBody, engine_of, json_of, reply

MAX_EVENTS = 5_000
MAX_EVENT_BYTES = 3 * 1024 * 1024
MAX_NAME = 512
_FIRST_TS, _LAST_TS = 315_532_800_000, 4_102_444_800_000
"""1980 and 2100, in milliseconds."""


async def post_events(request: Request) -> Response:
    """Take in one event or a list; the good ones of a bad list are accepted and named."""
    engine = engine_of(request)
    keys = engine.options.event_keys
    if engine.options.is_self_hosted and request.path_params["key"] not in keys:
        return reply({"status": 401, "message": "", "error": "Event key not found"}, 401)
    try:
        body = await json_of(request)
    except BadBody as error:
        return _refused([""], str(error))
    events = body if isinstance(body, list) else [body]
    accepted, fault = _accept(request, events)
    await engine.store.settled()
    if fault is not None:
        return _refused(accepted, fault)
    return reply({"ids": accepted, "status": 200})


def _accept(request: Request, events: list[Any]) -> tuple[list[str], str | None]:
    engine = engine_of(request)
    internal_ids = _ids(request, len(events))
    accepted: list[str] = []
    for event, internal_id in zip(events, internal_ids, strict=True):
        fault = check_event(event)
        if len(accepted) >= MAX_EVENTS:
            fault = f"more than {MAX_EVENTS} events in one request"
        if fault is not None:
            return accepted or [""], fault
        engine.accept(event, internal_id)
        accepted.append(internal_id)
    return accepted, None


def _ids(request: Request, count: int) -> list[str]:
    """A request that is sent again carries the same seed, and so stands for the same events."""
    seeded = ids.seeded_ulids(request.headers.get("x-inngest-event-id-seed", ""), count)
    now = engine_of(request).clock.now()
    return seeded or [ids.ulid(now) for _ in range(count)]


def check_event(event: Any) -> str | None:
    """Why the event cannot be taken; None when it can."""
    if not isinstance(event, dict):
        return "an event is an object"
    name = event.get("name")
    if not isinstance(name, str) or not name:
        return "event name is empty"
    if len(name) > MAX_NAME:
        return f"event name is longer than {MAX_NAME} characters"
    if name.startswith("inngest/"):
        return f"event name is reserved for internal use: {name}"
    return _check_fields(event)


def _check_fields(event: dict[str, Any]) -> str | None:
    ts = event.get("ts") or 0
    if isinstance(ts, bool) or not isinstance(ts, int):
        return "ts is a number of milliseconds"
    if ts and not _FIRST_TS <= ts <= _LAST_TS:
        return "ts lies before 1980 or after 2100"
    if not isinstance(event.get("data") or {}, dict):
        return "data is an object"
    if not isinstance(event.get("id") or "", str):
        return "id is text"
    size = len(orjson.dumps(event))
    if size > MAX_EVENT_BYTES:
        return f"Event is over the max size: Max {MAX_EVENT_BYTES} bytes / Size {size} bytes"
    return None


def _refused(accepted: list[str], fault: str) -> Response:
    return reply({"ids": accepted, "status": 400, "error": fault}, 400)

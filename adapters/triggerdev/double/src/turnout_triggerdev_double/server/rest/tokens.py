"""Waitpoint tokens, and waits without a token."""

import hashlib
import hmac
from typing import Any

import orjson
from starlette.responses import Response

from turnout_triggerdev_double.server import waiting
from turnout_triggerdev_double.server.answers import token_answer
from turnout_triggerdev_double.server.errors import not_found, refused
from turnout_triggerdev_double.server.records import RunRecord, Waitpoint
from turnout_triggerdev_double.server.rest.listing import created_within, page_size
from turnout_triggerdev_double.server.rest.triggers import token_headers
from turnout_triggerdev_double.server.superjson import SUPERJSON
from turnout_triggerdev_double.server.times import duration, from_iso, iso, moment_of
from turnout_triggerdev_double.server.triggering import tag_list
from turnout_triggerdev_double.server.wiring import ApiCall, answer
from turnout_triggerdev_double.server.world import OfflineWorld

MAX_OUTPUT = 512 * 1024
_WAITABLE = frozenset({"EXECUTING", "EXECUTING_WITH_WAITPOINTS"})


def create(call: ApiCall) -> Response:
    """`POST /api/v1/waitpoints/tokens`; the same key gives the same token."""
    body = call.fields()
    key = body.get("idempotencyKey")
    point = waiting.known_waitpoint(call.world, call.env.id, key)
    cached = point is not None
    if point is None:
        now = call.world.now()
        due = moment_of(body.get("timeout"), now)
        point = waiting.new_waitpoint(
            call.world,
            call.env.id,
            "MANUAL",
            due=due,
            key=key,
            key_expires_at=_key_end(body, now),
            tags=tag_list(body.get("tags")),
        )
    view = {"id": point.id, "isCached": cached, "url": callback_url(call.world, point)}
    scopes = [f"write:waitpoints:{point.id}"]
    return answer(view, 200, token_headers(call, scopes))


def _key_end(body: dict[str, Any], now: int) -> int | None:
    length = duration(str(body.get("idempotencyKeyTTL") or ""))
    return None if length is None else now + length


def callback_url(world: OfflineWorld, point: Waitpoint) -> str:
    """The URL at which anyone who knows it may complete the token."""
    return f"{world.project.url}/api/v1/waitpoints/tokens/{point.id}/callback/{_seal(world, point)}"


def _seal(world: OfflineWorld, point: Waitpoint) -> str:
    key = world.environment(point.env).key.encode()
    return hmac.new(key, point.id.encode(), hashlib.sha256).hexdigest()


def _token(call: ApiCall) -> Waitpoint:
    point = call.world.waitpoints.get(str(call.params["token"]))
    if point is None or point.env != call.env.id:
        raise not_found("Waitpoint not found")
    return point


def retrieve(call: ApiCall) -> Response:
    """`GET /api/v1/waitpoints/tokens/{token}`."""
    point = _token(call)
    return answer(token_answer(point, callback_url(call.world, point)))


def complete(call: ApiCall) -> Response:
    """`POST /api/v1/waitpoints/tokens/{token}/complete`; the first completion counts."""
    point, body = _token(call), call.fields()
    data = body.get("data")
    _complete(call.world, point, data, has_data="data" in body)
    return answer({"success": True})


def callback(call: ApiCall) -> Response:
    """`POST …/callback/{seal}`: the whole body is the token's output."""
    point = call.world.waitpoints.get(str(call.params["token"]))
    if point is None or not hmac.compare_digest(_seal(call.world, point), call.params["seal"]):
        raise refused(404, "Waitpoint not found")
    _complete(call.world, point, call.json() if call.body else None, has_data=bool(call.body))
    return answer({"success": True})


def _complete(world: OfflineWorld, point: Waitpoint, data: Any, *, has_data: bool) -> None:
    if not has_data:
        waiting.complete(world, point, None, None)
        return
    text = data if isinstance(data, str) and _is_superjson(data) else None
    output = text or orjson.dumps({"json": data}).decode()
    if len(output) > MAX_OUTPUT:
        raise refused(413, "Waitpoint output is too large")
    waiting.complete(world, point, output, SUPERJSON)


def _is_superjson(text: str) -> bool:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, dict) and "json" in value and set(value) <= {"json", "meta"}


def list_tokens(call: ApiCall) -> Response:
    """`GET /api/v1/waitpoints/tokens`, newest first."""
    size = page_size(call.query)
    views = [
        token_answer(point, callback_url(call.world, point))
        for point in sorted(
            (p for p in call.world.waitpoints.values() if _is_listed(call, p)),
            key=lambda point: (point.created_at, point.id),
            reverse=True,
        )
    ]
    views = [view for view in views if _passes(call, view)]
    start = call.query.get("page[after]")
    if start:
        views = [view for view in views if view["id"] < start]
    links = {"next": views[size - 1]["id"]} if len(views) > size else {}
    return answer({"data": views[:size], "pagination": links})


def _is_listed(call: ApiCall, point: Waitpoint) -> bool:
    created = created_within(call.query, call.world.now())
    return point.env == call.env.id and point.type == "MANUAL" and created(point.created_at)


def _passes(call: ApiCall, view: dict[str, Any]) -> bool:
    """Whether a token passes the filters of the query."""
    values = {
        "filter[status]": {view["status"]},
        "filter[idempotencyKey]": {view["idempotencyKey"]},
        "filter[tags]": set(view["tags"]),
    }
    return all(
        not call.query.get(name) or values[name] & set(call.query[name].split(","))
        for name in values
    )


# Waits of a run, asked for by its worker


def _waiting_run(call: ApiCall) -> RunRecord:
    run = call.world.runs.get(str(call.params["run"]))
    if run is None or run.env != call.env.id:
        raise not_found("Run not found")
    if run.execution_status not in _WAITABLE:
        raise refused(409, f"Run {run.id} is not executing")
    return run


def wait_for_token(call: ApiCall) -> Response:
    """`POST /engine/v1/runs/{run}/waitpoints/tokens/{token}/wait`."""
    run, point = _waiting_run(call), _token(call)
    waiting.block(call.world, run, [{"waitpoint": point.id}])
    return answer({"success": True})


def wait_for_duration(call: ApiCall) -> Response:
    """`POST /engine/v1/runs/{run}/wait/duration`."""
    run, body = _waiting_run(call), call.fields()
    date = body.get("date")
    until = from_iso(date) if isinstance(date, str) else None
    if until is None:
        raise refused(400, 'Validation error: Invalid date at "date"')
    key = body.get("idempotencyKey")
    point = waiting.known_waitpoint(call.world, call.env.id, key)
    if point is None:
        expires = _key_end(body, call.world.now())
        point = waiting.new_waitpoint(
            call.world, call.env.id, "DATETIME", due=until, key=key, key_expires_at=expires
        )
    waiting.block(call.world, run, [{"waitpoint": point.id}])
    view = {"waitUntil": iso(point.due or until), "waitpoint": {"id": point.id}}
    return answer(view)

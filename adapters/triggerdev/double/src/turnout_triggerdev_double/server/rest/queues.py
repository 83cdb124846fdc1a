"""Queues and named concurrency limits: read, paused, overridden."""

from typing import Any
from urllib.parse import unquote

from starlette.responses import Response

from turnout_triggerdev_double.server.errors import refused
from turnout_triggerdev_double.server.records import ConcurrencyLimit, TaskQueue
from turnout_triggerdev_double.server.rest.listing import pages
from turnout_triggerdev_double.server.times import maybe_iso
from turnout_triggerdev_double.server.wiring import ApiCall, answer
from turnout_triggerdev_double.server.world import OfflineWorld

MAX_LIMIT = 100_000


def _view(world: OfflineWorld, queue: TaskQueue) -> dict[str, Any]:
    is_task = queue.name.startswith("task/")
    current = queue.limit if queue.override is None else queue.override
    return {
        "id": queue.id,
        "name": queue.name.removeprefix("task/"),
        "type": "task" if is_task else "custom",
        "running": world.lanes.holders(("queue", queue.env, queue.name)),
        "queued": world.queued[(queue.env, queue.name)],
        "paused": queue.paused,
        "concurrencyLimit": current,
        "concurrency": {
            "current": current,
            "base": None if queue.override is None else queue.limit,
            "override": queue.override,
            "overriddenBy": None,
            "overriddenAt": maybe_iso(queue.overridden_at),
        },
        "releaseConcurrencyOnWaitpoint": True,
    }


def list_queues(call: ApiCall) -> Response:
    """`GET /api/v1/queues`, by name."""
    queues = [queue for queue in call.world.queues.values() if queue.env == call.env.id]
    queues.sort(key=lambda queue: queue.name.removeprefix("task/"))
    page, pagination = pages(call.query, queues)
    view = [{**_view(call.world, queue), "concurrencyLimitOverridePercent": None} for queue in page]
    return answer({"data": view, "pagination": pagination})


def _queue(call: ApiCall, kind: str) -> TaskQueue:
    name = unquote(str(call.params["queue"]))
    for queue in call.world.queues.values():
        if queue.env != call.env.id:
            continue
        identifier = {"id": queue.id, "task": queue.name.removeprefix("task/")}.get(
            kind, queue.name
        )
        is_task = queue.name.startswith("task/")
        if identifier == name and (kind == "id" or is_task == (kind == "task")):
            return queue
    raise refused(404, "queue-not-found")


def retrieve(call: ApiCall) -> Response:
    """`GET /api/v1/queues/{queue}?type=id|task|custom`."""
    queue = _queue(call, call.query.get("type", "id"))
    return answer({**_view(call.world, queue), "concurrencyLimitOverridePercent": None})


def pause(call: ApiCall) -> Response:
    """`POST /api/v1/queues/{queue}/pause`: `action` is pause or resume."""
    body = call.fields()
    queue = _queue(call, str(body.get("type", "id")))
    queue.paused = _paused(body)
    return _changed(call, queue)


def _paused(body: dict[str, Any]) -> bool:
    if body.get("action") not in {"pause", "resume"}:
        raise refused(400, 'Validation error: Invalid enum value at "action"')
    return bool(body["action"] == "pause")


def override(call: ApiCall) -> Response:
    """`POST /api/v1/queues/{queue}/concurrency/override`."""
    body = call.fields()
    queue = _queue(call, str(body.get("type", "id")))
    queue.override = _limit_value(body, "concurrencyLimit")
    queue.overridden_at = call.world.now()
    return _changed(call, queue)


def _limit_value(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if not isinstance(value, int) or not 0 <= value <= MAX_LIMIT:
        raise refused(400, f'Validation error: Expected 0 to {MAX_LIMIT} at "{name}"')
    return value


def reset(call: ApiCall) -> Response:
    """`POST /api/v1/queues/{queue}/concurrency/reset`."""
    queue = _queue(call, str(call.fields().get("type", "id")))
    if queue.override is None:
        raise refused(400, "Queue is not overridden")
    queue.override = queue.overridden_at = None
    return _changed(call, queue)


def _changed(call: ApiCall, queue: TaskQueue) -> Response:
    call.world.store.put(queue)
    _look_again(call)
    return answer(_view(call.world, queue))


def _look_again(call: ApiCall) -> None:
    call.world.lanes.unblock_all()
    call.world.notices.work_arrived(call.env.id)


def _shown_limit(world: OfflineWorld, limit: ConcurrencyLimit) -> dict[str, Any]:
    def side(name: str, base: int | None) -> dict[str, Any]:
        override = (limit.override or {}).get(name)
        return {
            "current": base if override is None else override,
            "base": base,
            "override": override,
            "overriddenAt": maybe_iso(limit.overridden_at),
        }

    return {
        "id": limit.id,
        "name": limit.name,
        "perKey": side("perKey", limit.per_key),
        "total": side("total", limit.total),
        "running": world.lanes.holders(("limit", limit.env, limit.name)),
        "queued": 0,
        "paused": limit.paused,
    }


def list_limits(call: ApiCall) -> Response:
    """`GET /api/v1/concurrency-limits`, by name."""
    limits = [limit for limit in call.world.limits.values() if limit.env == call.env.id]
    limits.sort(key=lambda limit: limit.name)
    page, pagination = pages(call.query, limits)
    return answer(
        {"data": [_shown_limit(call.world, limit) for limit in page], "pagination": pagination}
    )


def _limit(call: ApiCall) -> ConcurrencyLimit:
    limit = call.world.limits.get((call.env.id, unquote(str(call.params["limit"]))))
    if limit is None:
        raise refused(404, "concurrency-limit-not-found")
    return limit


def retrieve_limit(call: ApiCall) -> Response:
    """`GET /api/v1/concurrency-limits/{limit}`."""
    return answer(_shown_limit(call.world, _limit(call)))


def override_limit(call: ApiCall) -> Response:
    """`POST /api/v1/concurrency-limits/{limit}/override {perKey?, total?}`."""
    limit, body = _limit(call), call.fields()
    if body.get("concurrencyKey") is not None:
        raise refused(422, "Overrides of single keys are not served by this double")
    limit.override = {
        name: _limit_value(body, name) for name in ("perKey", "total") if name in body
    }
    limit.overridden_at = call.world.now()
    return _changed_limit(call, limit)


def reset_limit(call: ApiCall) -> Response:
    """`POST /api/v1/concurrency-limits/{limit}/reset`."""
    limit = _limit(call)
    limit.override = limit.overridden_at = None
    return _changed_limit(call, limit)


def pause_limit(call: ApiCall) -> Response:
    """`POST /api/v1/concurrency-limits/{limit}/pause`."""
    limit = _limit(call)
    limit.paused = _paused(call.fields())
    return _changed_limit(call, limit)


def _changed_limit(call: ApiCall, limit: ConcurrencyLimit) -> Response:
    call.world.store.put(limit)
    _look_again(call)
    return answer(_shown_limit(call.world, limit))

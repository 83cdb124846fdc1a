"""Input streams: what others send to a run, and the run's waits for that.

Source: a self-hosted 4.5.12 server without S2, whose streams have version `v1`. With it the
vendor's SDK sends inputs and waits for them; it refuses by itself to listen (`on`, `once`). A wait
does not look back to what was sent before it.
"""

from typing import Any

import orjson
from starlette.responses import Response

from turnout_triggerdev_double.server import waiting
from turnout_triggerdev_double.server.errors import ApiRefusal, refused
from turnout_triggerdev_double.server.records import RunRecord
from turnout_triggerdev_double.server.rest.streams import parts_of
from turnout_triggerdev_double.server.statuses import TERMINAL
from turnout_triggerdev_double.server.superjson import JSON
from turnout_triggerdev_double.server.times import duration, moment_of
from turnout_triggerdev_double.server.triggering import tag_list
from turnout_triggerdev_double.server.wiring import ApiCall, answer

MAX_INPUT = 1024 * 1024


def send(call: ApiCall) -> Response:
    """`POST /realtime/v1/streams/{run}/input/{stream}`: `{data}`."""
    run = _run(call, {"ok": False, "error": "Run not found"})
    if run.status in TERMINAL:
        complaint = "Cannot send to input stream on a completed run"
        raise ApiRefusal(400, {"ok": False, "error": complaint})
    stream = str(call.params["stream"])
    data = orjson.dumps(_data(call)).decode()
    text = orjson.dumps(data).decode()
    call.world.store.put_part(run.id, _stored_name(stream), "append", text)
    point = call.world.waitpoints.get(run.input_waits.pop(stream, ""))
    if point is not None:
        call.world.store.put(run)
        waiting.complete(call.world, point, data, JSON)
    return answer({"ok": True})


def _data(call: ApiCall) -> Any:
    body = call.json()
    if not isinstance(body, dict):
        raise ApiRefusal(400, {"ok": False, "error": "Invalid request body"})
    return body.get("data")


def read(call: ApiCall) -> Response:
    """`GET /realtime/v1/streams/{run}/input/{stream}`, as server-sent events."""
    run = _run(call, {"error": "Not found"})
    return parts_of(call, run, _stored_name(str(call.params["stream"])))


def wait(call: ApiCall) -> Response:
    """`POST /api/v1/runs/{run}/input-streams/wait`: a waitpoint that the next input completes."""
    run, body = _run(call, {"error": "Run not found"}), call.fields()
    stream = body.get("streamId")
    if not isinstance(stream, str):
        raise refused(400, 'Validation error: Required at "streamId"')
    key, now = body.get("idempotencyKey"), call.world.now()
    point = waiting.known_waitpoint(call.world, call.env.id, key)
    cached = point is not None
    if point is None:
        length = duration(str(body.get("idempotencyKeyTTL") or ""))
        point = waiting.new_waitpoint(
            call.world,
            call.env.id,
            "MANUAL",
            due=moment_of(body.get("timeout"), now),
            key=key,
            key_expires_at=None if length is None else now + length,
            tags=tag_list(body.get("tags")),
        )
    run.input_waits[stream] = point.id
    call.world.store.put(run)
    return answer({"waitpointId": point.id, "isCached": cached})


def _run(call: ApiCall, complaint: dict[str, Any]) -> RunRecord:
    run = call.world.runs.get(str(call.params["run"]))
    if run is None or run.env != call.env.id:
        raise ApiRefusal(404, complaint)
    return run


def _stored_name(stream: str) -> str:
    return f"$trigger.input:{stream}"

"""Realtime streams of a run: created, written in parts, read as server-sent events.

Source: a self-hosted 4.5.12 server without S2, which gives its streams the version `v1`; clients
of either version write to such a one by POST. A stream ends for its reader when nothing comes for
the time that the reader names, whether its run has ended or not.
"""

import asyncio
from collections.abc import AsyncIterator

import orjson
from starlette.responses import Response, StreamingResponse

from turnout_triggerdev_double.server.errors import ApiRefusal, query_error
from turnout_triggerdev_double.server.records import RunRecord
from turnout_triggerdev_double.server.statuses import TERMINAL
from turnout_triggerdev_double.server.wiring import ApiCall, answer
from turnout_triggerdev_double.server.world import OfflineWorld

TARGETS = ("self", "parent", "root")
PATIENCE = 60.0
MAX_PATIENCE = 600
LOOK_EVERY = 0.1
PING_EVERY = 10.0


def create(call: ApiCall) -> Response:
    """`PUT /realtime/v1/streams/{run}/{target}/{stream}`."""
    _enlist(call, _target(call), "Cannot initialize a realtime stream on a completed run")
    return answer({"version": "v1"}, 202)


def _enlist(call: ApiCall, run: RunRecord, refusal: str) -> None:
    """Add the stream to the run's, or refuse it for a run that has ended."""
    if run.status in TERMINAL:
        raise ApiRefusal(400, refusal)
    if _name(call) not in run.realtime_streams:
        run.realtime_streams.append(_name(call))
        run.updated_at = call.world.now()
        call.world.store.put(run)


def ingest(call: ApiCall) -> Response:
    """`POST /realtime/v1/streams/{run}/{target}/{stream}`: a part a line.

    `x-resume-from-chunk` numbers the first line, so that a resent line is not stored twice.
    """
    run, client = _target(call), call.headers.get("x-client-id") or "default"
    first = call.headers.get("x-resume-from-chunk") or "0"
    if not first.isdecimal():
        raise ApiRefusal(400, f"Invalid X-Resume-From-Chunk header value: {first}")
    lines = [line for line in call.body.decode("utf-8", "replace").splitlines() if line]
    have = call.world.store.stream_length(run.id, _name(call), client)
    for index, line in enumerate(lines, int(first)):
        if index >= have:
            _append(call.world, run, _name(call), client, line)
    return Response(status_code=200)


def append(call: ApiCall) -> Response:
    """`POST /realtime/v1/streams/{run}/{target}/{stream}/append`: one part, as JSON text."""
    run = _target(call)
    _enlist(call, run, "Cannot append to a realtime stream on a completed run")
    text = orjson.dumps(call.body.decode("utf-8", "replace")).decode()
    _append(call.world, run, _name(call), "append", text)
    return answer({"ok": True})


def last_chunk(call: ApiCall) -> Response:
    """`HEAD /realtime/v1/streams/{run}/{target}/{stream}`."""
    client = call.headers.get("x-client-id") or "default"
    have = call.world.store.stream_length(_target(call).id, _name(call), client)
    return Response(status_code=200, headers={"x-last-chunk-index": str(have - 1)})


def read(call: ApiCall) -> Response:
    """`GET /realtime/v1/streams/{run}/{stream}`; `Last-Event-ID` goes on after that part."""
    return parts_of(call, _run(call), _name(call))


def parts_of(call: ApiCall, run: RunRecord, name: str) -> Response:
    """The parts of a run's stream as they come, as server-sent events."""
    text = call.headers.get("timeout-seconds")
    if text is not None and not (text.isdecimal() and 0 < int(text) <= MAX_PATIENCE):
        raise ApiRefusal(400, _refused_patience(text))
    last = (call.headers.get("last-event-id") or "0").partition("-")[0]
    after = int(last) if last.isdecimal() else 0
    events = _events(call.world, run.id, name, after, float(text) if text else PATIENCE)
    return StreamingResponse(
        events, media_type="text/event-stream", headers={"cache-control": "no-cache"}
    )


def _refused_patience(text: str) -> str:
    if not text.lstrip("-").isdecimal():
        return "Invalid timeout seconds"
    bound = "greater than 0" if int(text) < 1 else f"less than {MAX_PATIENCE}"
    return f"Timeout seconds must be {bound}"


async def _events(
    world: OfflineWorld, run: str, name: str, after: int, patience: float
) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    last_part_at = last_sent_at = loop.time()
    while not world.stopping.is_set() and loop.time() - last_part_at < patience:
        for number, part in world.store.stream(run, name, after):
            last_part_at, last_sent_at, after = loop.time(), loop.time(), number
            yield f"id: {number}-0\ndata: {part}\n\n"
        if loop.time() - last_sent_at >= PING_EVERY:
            last_sent_at = loop.time()
            yield ": ping\n\n"
        await asyncio.sleep(LOOK_EVERY)


def _append(world: OfflineWorld, run: RunRecord, name: str, client: str, part: str) -> None:
    world.store.put_part(run.id, name, client, part)


def _name(call: ApiCall) -> str:
    return str(call.params["stream"])


def _run(call: ApiCall) -> RunRecord:
    run = call.world.runs.get(str(call.params["run"]))
    if run is None or run.env != call.env.id:
        raise ApiRefusal(404, "Run not found")
    return run


def _target(call: ApiCall) -> RunRecord:
    run, target = _run(call), str(call.params["target"])
    if target not in TARGETS:
        wrong = query_error(
            received=target,
            code="invalid_enum_value",
            options=list(TARGETS),
            path=["target"],
            message=f"Invalid enum value. Expected 'self' | 'parent' | 'root', received '{target}'",
        )
        raise ApiRefusal(400, {**wrong.body, "error": "Params Error"})
    target_id = {"self": run.id, "parent": run.parent, "root": run.root}[target]
    target_run = call.world.runs.get(target_id or "")
    if target_run is None:
        raise ApiRefusal(404, "Target not found")
    return target_run

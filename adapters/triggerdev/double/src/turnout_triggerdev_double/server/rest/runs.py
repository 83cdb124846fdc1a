"""Runs: read, cancelled, replayed, rescheduled, tagged."""

from starlette.responses import Response

from turnout_triggerdev_double.server import engine
from turnout_triggerdev_double.server.answers import run_answer
from turnout_triggerdev_double.server.errors import refused
from turnout_triggerdev_double.server.metadata import metadata_of, take_flush
from turnout_triggerdev_double.server.records import RunRecord
from turnout_triggerdev_double.server.superjson import JSON
from turnout_triggerdev_double.server.times import moment_of
from turnout_triggerdev_double.server.triggering import MAX_TAGS, replay, run_of
from turnout_triggerdev_double.server.wiring import ApiCall, answer


def retrieve(call: ApiCall) -> Response:
    """`GET /api/v3/runs/{run}`."""
    run = run_of(call.world, call.env, str(call.params["run"]))
    return answer(run_answer(call.world, run, call.api_version))


def _run(call: ApiCall, complaint: str = "Resource not found") -> RunRecord:
    run = call.world.runs.get(str(call.params["run"]))
    if run is None or run.env != call.env.id:
        raise refused(404, complaint)
    return run


def cancel(call: ApiCall) -> Response:
    """`POST /api/v2/runs/{run}/cancel`: 200 also for a run that has ended."""
    run = _run(call)
    engine.cancel(call.world, run)
    return answer({"id": run.id})


def result(call: ApiCall) -> Response:
    """`GET /api/v1/runs/{run}/result`: on the real server only cancelled runs have one."""
    run = call.world.runs.get(str(call.params["run"]))
    if run is None or run.env != call.env.id or run.status != "CANCELED":
        raise refused(404, "Run either doesn't exist or is not finished")
    error = {"type": "INTERNAL_ERROR", "code": "TASK_RUN_CANCELLED"}
    return answer({"ok": False, "id": run.id, "taskIdentifier": run.task, "error": error})


def replay_run(call: ApiCall) -> Response:
    """`POST /api/v1/runs/{run}/replay`."""
    run = _run(call)
    return answer({"id": replay(call.world, run, call.fields()).id})


def reschedule(call: ApiCall) -> Response:
    """`POST /api/v1/runs/{run}/reschedule`: only while the run is delayed."""
    run = _run(call)
    delay = call.fields().get("delay")
    until = moment_of(delay, call.world.now())
    if until is None:
        raise refused(400, f"Invalid delay: {delay}")
    if run.status != "DELAYED":
        raise refused(400, "Cannot reschedule a run that is not delayed")
    run.delayed_until = until
    engine.enqueue(call.world, run)
    return answer(run_answer(call.world, run, call.api_version))


def add_tags(call: ApiCall) -> Response:
    """`POST /api/v1/runs/{run}/tags`."""
    run = _run(call, "Run not found")
    tags = call.fields().get("tags")
    requested = [tags] if isinstance(tags, str) else list(tags or [])
    new = [tag for tag in dict.fromkeys(requested) if tag not in run.tags]
    if not new:
        return answer({"message": "No new tags to add"})
    if len(run.tags) + len(new) > MAX_TAGS:
        count = len(run.tags) + len(new)
        raise refused(
            422,
            f"Runs can only have {MAX_TAGS} tags, you're trying to set {count}. "
            "These tags have not been set.",
        )
    run.tags = sorted([*run.tags, *new])
    call.world.tag(run, new)
    _touch(call, run)
    return answer({"message": f"Successfully set {len(new)} new tags."})


def read_metadata(call: ApiCall) -> Response:
    """`GET /api/v1/runs/{run}/metadata`: as text."""
    run = _run(call, "Run not found")
    return answer({"metadata": run.metadata, "metadataType": JSON})


def write_metadata(call: ApiCall) -> Response:
    """`PUT /api/v1/runs/{run}/metadata`: a new document, or operations on it and its family's."""
    run = _run(call, "Task Run not found")
    take_flush(call.world, run, call.fields())
    return answer({"metadata": metadata_of(run)})


def _touch(call: ApiCall, run: RunRecord) -> None:
    run.updated_at = call.world.now()
    call.world.store.put(run)

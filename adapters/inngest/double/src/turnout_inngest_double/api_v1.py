"""The v1 API, what the SDK asks for while it runs (v0), and the dev server's own pages.

Unlike the vendor's, answers are not cached: what was just sent is seen at once. The vendor's errors
on GET come with HTTP 200 and the status in the body, and so do ours.
"""

import itertools
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from turnout_inngest_double import ids
from turnout_inngest_double.engine import INVOKED, Engine
from turnout_inngest_double.replies import engine_of, json_of, reply
from turnout_inngest_double.state import Event
from turnout_inngest_double.views import config, function_v1, jobs_v1, run_v1
from turnout_inngest_double.world import batch_payloads

DEFAULT_EVENTS, MAX_EVENTS = 20, 51


async def get_run(request: Request) -> Response:
    """The run, or the vendor's error with HTTP 200."""
    engine = engine_of(request)
    run_id = request.path_params["run"]
    run = engine.world.runs.get(run_id)
    if run is None:
        return _error(500, f"Unable to load function run: {run_id}")
    return _answer(engine, run_v1(run, engine.world.function_of(run)))


async def delete_run(request: Request) -> Response:
    """Cancel the run; one that has ended is left as it is."""
    engine = engine_of(request)
    run = engine.world.runs.get(request.path_params["run"])
    if run is None:
        return reply({"error": "Unable to load function run", "status": 404}, 404)
    engine.runner.cancel(run)
    await engine.store.settled()
    return Response(status_code=200)


async def list_jobs(request: Request) -> Response:
    """What the run waits for, each with its moment."""
    engine = engine_of(request)
    run = engine.world.runs.get(request.path_params["run"])
    return _answer(engine, [] if run is None else jobs_v1(run))


async def get_event(request: Request) -> Response:
    """One event by its internal id."""
    engine = engine_of(request)
    event = engine.world.events.get(request.path_params["event"])
    if event is None:
        return _error(404, "Event not found")
    return _answer(engine, _event(event))


async def list_events(request: Request) -> Response:
    """The latest events before a cursor, of one name if given; one that came twice is twice."""
    engine, query = engine_of(request), request.query_params
    name, cursor = query.get("name"), query.get("cursor")
    limit = query.get("limit", "")
    count = int(limit) if limit.isdigit() else DEFAULT_EVENTS
    receipts = (
        _event(event)
        for event in reversed(list(engine.world.events.values()))
        if (name is None or event.name == name) and (not cursor or event.internal_id < cursor)
        for _ in range(event.receipts)
    )
    return _answer(engine, list(itertools.islice(receipts, min(max(count, 1), MAX_EVENTS))))


def _event(event: Event) -> dict[str, Any]:
    payload: dict[str, Any] = orjson.loads(event.payload)
    received = ids.iso(event.received_at)
    return {**payload, "internal_id": event.internal_id, "received_at": received}


async def list_event_runs(request: Request) -> Response:
    """The runs that the event started."""
    engine = engine_of(request)
    run_ids = engine.world.runs_of_event.get(request.path_params["event"], [])
    runs = [engine.world.runs[run] for run in run_ids]
    return _answer(engine, [run_v1(run, engine.world.function_of(run)) for run in runs])


async def list_functions(request: Request) -> Response:
    """The app's functions with their raw configuration."""
    app = engine_of(request).world.apps.get(request.path_params["app"])
    functions = app.functions.values() if app else ()
    return reply([function_v1(function, app) for function in functions if app])


async def get_batch(request: Request) -> Response:
    """The run's events, for an SDK whose request would have been too large."""
    engine = engine_of(request)
    run = engine.world.runs.get(request.path_params["run"])
    if run is None:
        return reply({"error": "run not found"}, 404)
    return reply([orjson.Fragment(event) for event in batch_payloads(engine.world, run.events)])


async def get_actions(request: Request) -> Response:
    """The run's memoised steps, for the same case."""
    run = engine_of(request).world.runs.get(request.path_params["run"])
    if run is None:
        return reply({"error": "run not found"}, 404)
    return reply({step: orjson.Fragment(memo) for step, memo in run.memos.items()})


async def get_health(_request: Request) -> Response:
    """The server is up."""
    return reply({"status": 200, "message": "OK"})


async def get_dev(request: Request) -> Response:
    """What the dev server runs with, and every function."""
    engine = engine_of(request)
    options = engine.options
    if options.is_self_hosted:
        return reply({"error": "Not found"}, 404)
    start = {
        "urls": list(options.sdk_urls),
        "poll": bool(options.sdk_urls),
        "poll_interval": options.poll_interval_s,
        "retry_interval": options.retry_interval_s or 0,
        "queue_workers": options.workers,
        "persist": options.data is not None,
    }
    functions = [config(function) for function in engine.world.live_functions()]
    handlers = [
        {"sdk": {"url": app.url}, "error": app.sync_error or ""}
        for app in engine.world.apps.values()
    ]
    return reply(
        {
            "version": "turnout-devserver (double, not production)",
            "authed": False,
            "startOpts": start,
            "functions": functions,
            "handlers": handlers,
        }
    )


async def invoke_slug(request: Request) -> Response:
    """Fire and forget: 200 even for a function that nobody knows, like the vendor."""
    engine = engine_of(request)
    body = await json_of(request)
    function = engine.world.functions.get(request.path_params["slug"])
    data = body.get("data") if isinstance(body, dict) else None
    if function is not None and not function.archived:
        engine.invoke(function, data if isinstance(data, dict) else {})
        await engine.store.settled()
    return reply({"ids": [ids.ulid(engine.clock.now())], "status": 200, "name": INVOKED})


async def move_clock(request: Request) -> Response:
    """`{"advance_ms": n}`: time passes. Only where the server was started with --test-clock."""
    engine = engine_of(request)
    body = await json_of(request)
    step = body.get("advance_ms") if isinstance(body, dict) else None
    if isinstance(step, bool) or not isinstance(step, int) or step < 0:
        return reply({"error": "advance_ms is a number of milliseconds"}, 400)
    engine.clock.advance(step)
    engine.scheduler.recheck()
    return reply({"now_ms": engine.clock.now()})


def _answer(engine: Engine, data: Any) -> Response:
    now = ids.iso(engine.clock.now())
    return reply({"data": data, "metadata": {"fetched_at": now, "cached_until": now}})


def _error(status: int, message: str) -> Response:
    return reply({"error": message, "data": None, "status": status})

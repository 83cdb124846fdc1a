"""The v2 API: runs, events, apps, direct invocation, cancellation."""

import base64
import json
from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from turnout_inngest_double import ids, trace
from turnout_inngest_double.api_events import check_event
from turnout_inngest_double.engine import Engine
from turnout_inngest_double.functions import Function
from turnout_inngest_double.intake import RATE_LIMITED, SKIPPED
from turnout_inngest_double.replies import BadBody, engine_of, json_of, reply, v2_error
from turnout_inngest_double.state import Run
from turnout_inngest_double.views import app_v2, function_v2, run_v2

MAX_PAGE = 100
MAX_EVENT_RUNS = 40
DEFAULT_PAGE = 20
STATUSES = frozenset({"QUEUED", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"})


class _Invalid(Exception):
    """A query parameter that cannot be read."""


async def get_run(request: Request) -> Response:
    """The run; its status is right while it sleeps or retries, unlike the vendor's."""
    engine, run = _run(request)
    if run is None:
        return _no_run(request)
    output = "single" if _wants_output(request) else None
    return _object(engine, run_v2(run, engine.world.function_of(run), output=output))


async def get_trace(request: Request) -> Response:
    """The run's trace; outputs only if asked for."""
    engine, run = _run(request)
    if run is None:
        return _no_run(request)
    root = trace.run_trace(engine.world, run)
    if not _wants_output(request):
        _strip_outputs(root)
    return _object(engine, {"rootSpan": root, "runId": run.id})


def _strip_outputs(span: dict[str, Any]) -> None:
    span.pop("output", None)
    for child in span.get("children", ()):
        _strip_outputs(child)


async def cancel_run(request: Request) -> Response:
    """Cancel at once; 404 for an unknown run, 409 for one that has ended."""
    engine, run = _run(request)
    if run is None:
        return _no_run(request)
    if run.status == "CANCELLED":
        return v2_error(409, "run_already_cancelled", "Run is already cancelled")
    if run.ended:
        return v2_error(409, "run_already_ended", "Run has already ended")
    engine.runner.cancel(run)
    await engine.store.settled()
    return _object(engine, {"runId": run.id})


async def rerun(request: Request) -> Response:
    """Start the run's function again with the same events, from its beginning."""
    engine, run = _run(request)
    if run is None:
        return _no_run(request)
    body = await _body(request)
    if run.cron or body.get("fromStep"):
        message = "the offline server reruns only whole runs that an event started"
        return v2_error(400, "not_supported", message)
    events = [engine.world.events[e] for e in run.events if e in engine.world.events]
    if not events:
        return v2_error(404, "not_found", "The run's events are forgotten")
    payload = engine.world.payload(events[0].internal_id)
    started = engine.intake.start(engine.world.function_of(run), events, payload)
    return await _started(engine, started)


async def list_runs(request: Request) -> Response:
    """All runs, filtered and in pages."""
    engine = engine_of(request)
    query = request.query_params
    if query.get("functionId") and not query.get("appId"):
        return v2_error(400, "missing_field", "functionId requires appId")
    runs: Iterable[Run] = engine.world.runs.values()
    if app := query.get("appId"):
        runs = [run for run in runs if run.app == app]
    if function := query.get("functionId"):
        runs = [run for run in runs if run.function == f"{app}-{function}"]
    return _page(request, engine, runs, MAX_PAGE)


async def list_event_runs(request: Request) -> Response:
    """The runs that the event started; none for an unknown event."""
    engine = engine_of(request)
    event = request.path_params["event"]
    if not ids.is_ulid(event):
        return v2_error(400, "invalid_field_format", "Event ID must be a valid ULID")
    run_ids = engine.world.runs_of_event.get(event, [])
    return _page(request, engine, [engine.world.runs[run] for run in run_ids], MAX_EVENT_RUNS)


async def list_function_runs(request: Request) -> Response:
    """The function's runs; none for an unknown function."""
    engine = engine_of(request)
    slug = "{app}-{function}".format(**request.path_params)
    runs = [run for run in engine.world.runs.values() if run.function == slug]
    return _page(request, engine, runs, MAX_PAGE)


def _no_run(request: Request) -> Response:
    if not ids.is_ulid(request.path_params["run"]):
        return v2_error(400, "invalid_field_format", "Run ID must be a valid ULID")
    return v2_error(404, "not_found", "Run not found")


def _page(request: Request, engine: Engine, runs: Iterable[Run], max_limit: int) -> Response:
    try:
        page_runs = _filtered(request, runs)
        limit = _limit(request, max_limit)
        cursor = _run_in(request.query_params.get("cursor", ""))
    except _Invalid as error:
        return v2_error(400, "invalid_field_format", str(error))
    is_ascending = request.query_params.get("order", "DESC").upper() == "ASC"
    page_runs.sort(key=lambda run: run.id, reverse=not is_ascending)
    if cursor:
        page_runs = [
            run for run in page_runs if (run.id > cursor) == is_ascending and run.id != cursor
        ]
    page: dict[str, Any] = {"limit": limit}
    if len(page_runs) > limit:
        page |= {"cursor": _cursor_after(page_runs[limit - 1]), "hasMore": True}
    output = "list" if _wants_output(request) else None
    items = [
        run_v2(run, engine.world.function_of(run), output=output, listed=True)
        for run in page_runs[:limit]
    ]
    return _page_of(engine, items, page)


def _cursor_after(run: Run) -> str:
    return base64.b64encode(json.dumps({"id": run.id}).encode()).decode()


def _run_in(cursor: str) -> str:
    """Read the run that a cursor names, "" where there is no cursor."""
    try:
        return str(json.loads(base64.b64decode(cursor, validate=True))["id"]) if cursor else ""
    except (ValueError, KeyError, TypeError) as error:
        raise _Invalid("Cursor is invalid") from error


def _filtered(request: Request, runs: Iterable[Run]) -> list[Run]:
    query = request.query_params
    statuses = {status.upper() for status in query.getlist("status")}
    if statuses - STATUSES:
        raise _Invalid(f"status is one of {', '.join(sorted(STATUSES))}")
    since, until = _moment(query.get("from")), _moment(query.get("until"))
    field = {"STARTED_AT": "started_at", "ENDED_AT": "ended_at"}.get(
        query.get("timeField", "").upper(), "queued_at"
    )
    return [
        run
        for run in runs
        if (not statuses or run.status in statuses)
        and (since is None or (getattr(run, field) or 0) >= since)
        and (until is None or (getattr(run, field) or 0) <= until)
    ]


def _moment(text: str | None) -> int | None:
    try:
        return ids.parse_moment(text) if text else None
    except ValueError as error:
        raise _Invalid(str(error)) from error


def _limit(request: Request, max_limit: int) -> int:
    text = request.query_params.get("limit", str(DEFAULT_PAGE))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= max_limit:
        raise _Invalid(f"limit is 1 to {max_limit}")
    return int(text)


# -- events and apps ------------------------------------------------------------------------------


async def post_event(request: Request) -> Response:
    """Take in one event and say its id."""
    engine = engine_of(request)
    body = await _body(request)
    fault = check_event(body)
    if fault is not None:
        return v2_error(400, "invalid_request", fault)
    internal_id = ids.ulid(engine.clock.now())
    engine.accept(body, internal_id)
    await engine.store.settled()
    return _object(engine, {"eventId": internal_id})


async def get_app(request: Request) -> Response:
    """The app and its latest sync, with the reason if that was refused."""
    engine = engine_of(request)
    app = engine.world.apps.get(request.path_params["app"])
    if app is None:
        return v2_error(404, "not_found", "App not found")
    return _object(engine, app_v2(app))


async def list_apps(request: Request) -> Response:
    """Every app."""
    engine = engine_of(request)
    return _page_of(
        engine, [app_v2(app) for app in engine.world.apps.values()], {"limit": MAX_PAGE}
    )


async def list_functions(request: Request) -> Response:
    """The app's functions in pages; none for an unknown app."""
    engine = engine_of(request)
    try:
        limit = _limit(request, MAX_PAGE)
    except _Invalid as error:
        return v2_error(400, "invalid_field_format", str(error))
    app = engine.world.apps.get(request.path_params["app"])
    slugs = sorted(app.functions) if app else []
    cursor = request.query_params.get("cursor", "")
    slugs = [slug for slug in slugs if slug > cursor]
    page: dict[str, Any] = {"limit": limit}
    if len(slugs) > limit:
        page |= {"cursor": slugs[limit - 1], "hasMore": True}
    items = [function_v2(app.functions[slug]) for slug in slugs[:limit]] if app else []
    return _page_of(engine, items, page)


async def get_function(request: Request) -> Response:
    """One function."""
    engine = engine_of(request)
    function = _function(request)
    if function is None:
        return v2_error(404, "not_found", "Function not found")
    return _object(engine, function_v2(function))


async def invoke(request: Request) -> Response:
    """Start one function directly and say its run's id."""
    engine = engine_of(request)
    function = _function(request)
    if function is None:
        return v2_error(404, "not_found", "Function not found")
    body = await _body(request)
    if "idempotencyKey" in body:
        message = "the vendor runs the function twice with idempotencyKey; leave it out"
        return v2_error(400, "not_supported", message)
    data = body.get("data")
    if not isinstance(data, dict):
        return v2_error(400, "missing_field", "data is required, an object")
    return await _started(engine, engine.invoke(function, data))


async def _started(engine: Engine, started: Run | str) -> Response:
    if isinstance(started, str):
        messages = {RATE_LIMITED: "Rate limited", SKIPPED: "Skipped by its singleton"}
        return v2_error(422, started, messages[started])
    await engine.store.settled()
    return _object(engine, {"runId": started.id})


async def not_offered(_request: Request) -> Response:
    """501, as the vendor's open-source server answers."""
    return v2_error(501, "not_implemented", "Not offered by the open-source server")


def _function(request: Request) -> Function | None:
    app = engine_of(request).world.apps.get(request.path_params["app"])
    slug = "{app}-{function}".format(**request.path_params)
    return app.functions.get(slug) if app else None


def _run(request: Request) -> tuple[Engine, Run | None]:
    engine = engine_of(request)
    return engine, engine.world.runs.get(request.path_params["run"])


async def _body(request: Request) -> dict[str, Any]:
    """The body as an object; empty when there is none."""
    if request.headers.get("content-length", "0") == "0":
        return {}
    body = await json_of(request)
    if not isinstance(body, dict):
        raise BadBody("the body is not an object")
    return body


def _wants_output(request: Request) -> bool:
    return request.query_params.get("includeOutput", "").lower() in {"true", "1"}


def _metadata(engine: Engine) -> dict[str, str]:
    return {"fetchedAt": ids.iso(engine.clock.now())}


def _object(engine: Engine, data: dict[str, Any]) -> Response:
    return reply({"data": data, "metadata": _metadata(engine)})


def _page_of(engine: Engine, data: list[dict[str, Any]], page: dict[str, Any]) -> Response:
    """An empty list is left out, as the vendor's encoding does."""
    body = {"data": data} if data else {}
    return reply({**body, "metadata": _metadata(engine), "page": page})

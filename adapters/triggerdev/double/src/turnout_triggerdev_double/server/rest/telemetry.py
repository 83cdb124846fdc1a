"""Receives OTLP, and shows traces."""

import orjson
from starlette.responses import Response

from turnout_triggerdev_double.server import traces
from turnout_triggerdev_double.server.errors import not_found
from turnout_triggerdev_double.server.triggering import run_of
from turnout_triggerdev_double.server.wiring import ApiCall, answer


def take_traces(call: ApiCall) -> Response:
    """`POST /otel/v1/traces`: OTLP in JSON; anything else is taken and dropped."""
    call.world.store.put_spans(traces.spans_of(_export(call)))
    return answer({})


def take_logs(call: ApiCall) -> Response:
    """`POST /otel/v1/logs`."""
    call.world.store.put_spans(traces.logs_of(_export(call)))
    return answer({})


def take_metrics(_: ApiCall) -> Response:
    """`POST /otel/v1/metrics`: dropped."""
    return answer({})


def _export(call: ApiCall) -> dict[str, object]:
    try:
        value = orjson.loads(call.body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def trace(call: ApiCall) -> Response:
    """`GET /api/v1/runs/{run}/trace`."""
    run = run_of(call.world, call.env, str(call.params["run"]))
    return answer({"trace": traces.tree(call.world, run)})


def events(call: ApiCall) -> Response:
    """`GET /api/v1/runs/{run}/events`."""
    run = run_of(call.world, call.env, str(call.params["run"]))
    spans = traces.run_spans(call.world, run)
    return answer({"events": [traces.event_item(run, span) for span in spans]})


def span(call: ApiCall) -> Response:
    """`GET /api/v1/runs/{run}/spans/{span}`."""
    run = run_of(call.world, call.env, str(call.params["run"]))
    span_id = str(call.params["span"])
    for candidate in traces.run_spans(call.world, run):
        if candidate["spanId"] == span_id:
            view = {**traces.event_item(run, candidate), "properties": candidate["properties"]}
            return answer({**view, "triggeredRuns": []})
    raise not_found("Span not found")

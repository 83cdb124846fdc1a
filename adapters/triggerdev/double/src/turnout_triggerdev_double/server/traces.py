"""OTLP spans and logs in JSON, stored by run and shown as a trace."""

import base64
import binascii
from typing import Any

from turnout_triggerdev_double.server.ids import hex_id
from turnout_triggerdev_double.server.records import RunRecord
from turnout_triggerdev_double.server.statuses import TERMINAL, flags
from turnout_triggerdev_double.server.times import iso
from turnout_triggerdev_double.server.world import OfflineWorld

_INFO, _WARN, _ERROR = 9, 13, 17


def spans_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The spans of an OTLP trace export in JSON, attributes made plain."""
    spans = []
    for resource in body.get("resourceSpans") or []:
        shared = _plain((resource.get("resource") or {}).get("attributes"))
        for scope in resource.get("scopeSpans") or []:
            spans += [_span(span, shared) for span in scope.get("spans") or []]
    return [span for span in spans if span["traceId"] and span["spanId"]]


def logs_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The records of an OTLP log export in JSON, each as a span without a duration."""
    logs = []
    for resource in body.get("resourceLogs") or []:
        shared = _plain((resource.get("resource") or {}).get("attributes"))
        for scope in resource.get("scopeLogs") or []:
            logs += [_log(record, shared) for record in scope.get("logRecords") or []]
    return [span for span in logs if span["traceId"]]


def _span(span: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    attributes = _plain(span.get("attributes"))
    start, end = int(span.get("startTimeUnixNano") or 0), int(span.get("endTimeUnixNano") or 0)
    return {
        "traceId": _hex(span.get("traceId")),
        # A partial span stands for one that is still open, and names it.
        "spanId": str(attributes.get("$span.span_id") or "") or _hex(span.get("spanId")),
        "parentId": _hex(span.get("parentSpanId")) or None,
        "message": span.get("name") or "",
        "start": start,
        "duration": max(0, end - start),
        "isError": (span.get("status") or {}).get("code") in {2, "STATUS_CODE_ERROR"},
        "isPartial": bool(attributes.get("$span.partial")),
        "level": "TRACE",
        "kind": "INTERNAL",
        "events": [_event(event) for event in span.get("events") or []],
        "attempt": attributes.get("ctx.attempt.number", shared.get("ctx.attempt.number")),
        "run": attributes.get("ctx.run.id", shared.get("ctx.run.id")),
        "icon": attributes.get("$style.icon"),
        "properties": _user_attributes(attributes),
    }


def _log(record: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    attributes = _plain(record.get("attributes"))
    severity = int(record.get("severityNumber") or _INFO)
    return {
        "traceId": _hex(record.get("traceId")),
        "spanId": hex_id(8),
        "parentId": _hex(record.get("spanId")) or None,
        "message": str(_value(record.get("body") or {})),
        "start": int(record.get("timeUnixNano") or record.get("observedTimeUnixNano") or 0),
        "duration": 0,
        "isError": severity >= _ERROR,
        "isPartial": False,
        "level": _level(severity),
        "kind": "INTERNAL",
        "events": [],
        "attempt": attributes.get("ctx.attempt.number", shared.get("ctx.attempt.number")),
        "run": attributes.get("ctx.run.id", shared.get("ctx.run.id")),
        "icon": "info",
        "properties": _user_attributes(attributes),
    }


def _level(severity: int) -> str:
    if severity >= _ERROR:
        return "ERROR"
    return "WARN" if severity >= _WARN else "INFO" if severity >= _INFO else "DEBUG"


def _hex(value: Any) -> str:
    """An id in hex. OTLP has hex in JSON; encoders that know only protobuf's JSON send base64."""
    text = str(value or "")
    if len(text) in {0, 16, 32}:
        return text.lower()
    try:
        return base64.b64decode(text, validate=True).hex()
    except (ValueError, binascii.Error):
        return ""


def _plain(attributes: Any) -> dict[str, Any]:
    return {
        attribute["key"]: _value(attribute.get("value") or {}) for attribute in attributes or []
    }


def _value(value: dict[str, Any]) -> Any:
    for kind in ("stringValue", "boolValue", "doubleValue"):
        if kind in value:
            return value[kind]
    if "intValue" in value:
        return int(value["intValue"])
    if "arrayValue" in value:
        return [_value(item) for item in value["arrayValue"].get("values") or []]
    if "kvlistValue" in value:
        return _plain(value["kvlistValue"].get("values"))
    return None


def _user_attributes(attributes: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in attributes.items() if not k.startswith(("$", "ctx."))}


def _event(event: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": event.get("name") or "",
        "time": iso(int(event.get("timeUnixNano") or 0) // 1_000_000),
        "properties": _plain(event.get("attributes")),
    }


def run_spans(world: OfflineWorld, run: RunRecord) -> list[dict[str, Any]]:
    """The run's spans by start, its root first; complete spans replace partial ones."""
    spans = [span for span in world.store.spans(run.trace_id) if span["run"] in {run.id, None}]
    spans.sort(key=lambda span: (span["start"], span["spanId"]))
    return [_root(world, run), *spans]


def _root(world: OfflineWorld, run: RunRecord) -> dict[str, Any]:
    end = run.finished_at or (run.updated_at if run.status in TERMINAL else world.now())
    state = flags(run.status)
    return {
        "traceId": run.trace_id,
        "spanId": run.span_id,
        "parentId": run.parent_span,
        "message": run.task,
        "start": run.created_at * 1_000_000,
        "duration": max(0, end - run.created_at) * 1_000_000,
        "isError": state["isFailed"] and not state["isCancelled"],
        "isPartial": run.status not in TERMINAL,
        "isCancelled": state["isCancelled"],
        "level": "TRACE",
        "kind": "SERVER",
        "events": [],
        "attempt": None,
        "run": run.id,
        "icon": None,
        "properties": {},
    }


def tree(world: OfflineWorld, run: RunRecord) -> dict[str, Any]:
    """The trace as `GET /api/v1/runs/{id}/trace` shows it."""
    root, *descendants = run_spans(world, run)
    nodes = {span["spanId"]: _node(run, span) for span in (root, *descendants)}
    top = nodes[run.span_id]
    top.pop("parentId", None)
    for span in descendants:
        parent = nodes.get(span["parentId"] or "", top)
        parent["children"].append(nodes[span["spanId"]])
    return {"traceId": run.trace_id, "rootSpan": top}


def _node(run: RunRecord, span: dict[str, Any]) -> dict[str, Any]:
    view: dict[str, Any] = {
        "message": span["message"],
        "taskSlug": run.task,
        "events": span["events"],
        "startTime": iso(span["start"] // 1_000_000),
        "duration": span["duration"] / 1_000_000,
        "isError": span["isError"],
        "isPartial": span["isPartial"],
        "isCancelled": span.get("isCancelled", False),
        "level": span["level"],
    }
    if span["properties"]:
        view["properties"] = span["properties"]
    return {
        "id": span["spanId"],
        "parentId": span["parentId"],
        "runId": run.id,
        "data": view,
        "children": [],
    }


def event_item(run: RunRecord, span: dict[str, Any]) -> dict[str, Any]:
    """A span as `GET /api/v1/runs/{id}/events` shows it."""
    return {
        "spanId": span["spanId"],
        "parentId": span["parentId"],
        "runId": run.id,
        "idempotencyKey": run.idempotency_key,
        "message": span["message"],
        "style": {"icon": span["icon"]} if span["icon"] else {},
        "startTime": str(span["start"]),
        "duration": span["duration"],
        "isError": span["isError"],
        "isPartial": span["isPartial"],
        "isCancelled": span.get("isCancelled", False),
        "kind": span["kind"],
        "level": span["level"],
        "events": span["events"],
        "environmentType": "DEVELOPMENT",
        "taskSlug": run.task,
        "attemptNumber": span["attempt"],
    }

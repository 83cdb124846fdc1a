"""A run's trace as the v2 API shows it, with the vendor's own repetitions. Pure.

Like the vendor, each call that ran a step shows twice (the step, and its execution), retried ones
nest their attempts, and calls that end the function show as `Finalization` and `executor.nonstep`.
"""

from typing import Any

import orjson

from turnout_inngest_double import ids
from turnout_inngest_double.state import Run, Span
from turnout_inngest_double.views import wrapped
from turnout_inngest_double.world import World

_NOT_AN_EVENT_FIELD = "user"


def run_trace(world: World, run: Run) -> dict[str, Any]:
    """The root span with its children."""
    events = [world.payload(event) for event in run.events]
    inputs = [{k: v for k, v in event.items() if k != _NOT_AN_EVENT_FIELD} for event in events]
    root: dict[str, Any] = {
        "id": run.trace[:16],
        "input": {"data": inputs},
        "name": "Run",
        "queuedAt": ids.iso(run.queued_at),
        "status": "WAITING" if run.status == "QUEUED" else run.status,
    }
    children = [child for group in _groups(run) for child in _children(group)]
    if children:
        root["children"] = children
    if run.started_at is not None:
        root["startedAt"] = ids.iso(run.started_at)
    if run.ended_at is not None:
        root["endedAt"] = ids.iso(run.ended_at)
        root["durationMs"] = str(run.ended_at - (run.started_at or run.queued_at))
    if run.output is not None:
        root["output"] = wrapped(run.output)
    return root


def steps(run: Run) -> list[dict[str, Any]]:
    """Each step once, in order of its start, with the number of its attempts."""
    rows: list[dict[str, Any]] = []
    for group in _groups(run):
        last = group[-1]
        rows.append(
            {
                "span": last,
                "name": _group_name(group),
                "attempts": len(group),
                "status": last.status,
                "started_at": group[0].started_at,
            }
        )
    return rows


def _groups(run: Run) -> list[list[Span]]:
    groups: dict[str, list[Span]] = {}
    for span in run.spans:
        groups.setdefault(span.group, []).append(span)
    return list(groups.values())


def _group_name(group: list[Span]) -> str:
    first = group[0]
    if first.name:
        return first.name
    return "Execution" if group[-1].status == "RUNNING" else "Finalization"


def _children(group: list[Span]) -> list[dict[str, Any]]:
    first, last = group[0], group[-1]
    if last.kind == "wait":
        return [_span_fields(last, last.name or "", is_with_output=last.output is not None)]
    whole = _span_fields(last, _group_name(group), is_with_output=last.step is not None)
    whole["id"] = last.group
    whole["queuedAt"], whole["startedAt"] = ids.iso(first.queued_at), ids.iso(first.started_at)
    if last.ended_at is not None:
        whole["durationMs"] = str(last.ended_at - first.started_at)
    is_failed_end = last.step is None and last.status == "FAILED"
    if len(group) > 1 or is_failed_end or last.status == "RUNNING":
        whole["children"] = [
            {**_span_fields(span, f"Attempt {span.attempt}"), "id": f"{int(span.id, 16) ^ 1:016x}"}
            for span in group
        ]
    executions = [
        _span_fields(span, span.name or "executor.nonstep")
        for span in group
        if span.ended_at is not None
    ]
    return [whole, *executions]


def _span_fields(span: Span, name: str, *, is_with_output: bool = True) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": span.id,
        "name": name,
        "queuedAt": ids.iso(span.queued_at),
        "startedAt": ids.iso(span.started_at),
        "status": span.status,
    }
    if span.ended_at is not None:
        fields["endedAt"] = ids.iso(span.ended_at)
        fields["durationMs"] = str(span.ended_at - span.started_at)
    if is_with_output and span.output is not None:
        fields["output"] = wrapped(span.output)
    if span.step is not None:
        fields["stepId"] = span.step
        fields["stepOp"] = span.op
    return fields


def output_of(span: Span) -> dict[str, Any]:
    """The span's output as GraphQL shows it: data as JSON text, or an error."""
    if span.status == "FAILED" and span.output is not None:
        error = orjson.loads(span.output)
        fields = {name: error.get(name) for name in ("message", "name", "stack")}
        return {"data": None, "error": fields}
    data = None if span.output is None else span.output.decode()
    return {"data": data, "error": None}

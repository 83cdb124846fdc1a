"""Pages for people: the latest runs, and one run with its trace as a tree."""

from html import escape
from typing import Any

from starlette.responses import HTMLResponse, Response

from turnout_triggerdev_double.server import traces
from turnout_triggerdev_double.server.answers import run_answer
from turnout_triggerdev_double.server.errors import ApiRefusal
from turnout_triggerdev_double.server.records import RunRecord
from turnout_triggerdev_double.server.statuses import CURRENT_VERSION, api_status
from turnout_triggerdev_double.server.times import iso
from turnout_triggerdev_double.server.wiring import ApiCall

SHOWN_RUNS = 200
FACTS = ("status", "taskIdentifier", "version", "attemptCount", "createdAt", "startedAt", "tags")
STYLE = """body{font:14px/1.5 system-ui,sans-serif;margin:2rem;max-width:70rem}
table{border-collapse:collapse}td,th{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top}
ul{list-style:none;padding-left:1.4rem;border-left:1px solid #ccc}.error{color:#b00020}
small,th{color:#666;font-weight:normal}"""


def runs(call: ApiCall) -> Response:
    """`GET /double/runs`: the latest runs of all environments."""
    latest = sorted(call.world.runs.values(), key=lambda run: run.created_at, reverse=True)
    rows = "".join(_row(call, run) for run in latest[:SHOWN_RUNS])
    head = "<tr><th>run</th><th>task</th><th>status</th><th>environment</th><th>created</th></tr>"
    return _page("Runs", f"<table>{head}{rows}</table>" if rows else "<p>No run yet.</p>")


def _row(call: ApiCall, run: RunRecord) -> str:
    cells = (
        f'<a href="/double/runs/{escape(run.id)}">{escape(run.id)}</a>',
        escape(run.task),
        escape(api_status(run.status, CURRENT_VERSION)),
        escape(call.world.environment(run.env).slug),
        iso(run.created_at),
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def run(call: ApiCall) -> Response:
    """`GET /double/runs/{run}`: a run's fields, and its spans as a tree."""
    run_record = call.world.runs.get(str(call.params["run"]))
    if run_record is None:
        raise ApiRefusal(404, "No such run")
    view = run_answer(call.world, run_record, CURRENT_VERSION)
    facts = "".join(_fact(name, view[name]) for name in (*FACTS, "error") if view.get(name))
    tree = traces.tree(call.world, run_record)["rootSpan"]
    return _page(run_record.id, f"<table>{facts}</table><h2>Trace</h2><ul>{_span(tree)}</ul>")


def _fact(name: str, value: Any) -> str:
    text = value.get("message", "") if isinstance(value, dict) else value
    text = ", ".join(map(str, text)) if isinstance(text, list) else str(text)
    return f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>"


def _span(node: dict[str, Any]) -> str:
    data = node["data"]
    word = " <small>open</small>" if data["isPartial"] else ""
    name = f"<span{' class=error' if data['isError'] else ''}>{escape(str(data['message']))}</span>"
    timing = f"<small>{escape(data['startTime'])}, {data['duration']:.0f} ms</small>{word}"
    below = "".join(_span(child) for child in _by_start(node["children"]))
    return f"<li>{name} {timing}{f'<ul>{below}</ul>' if below else ''}</li>"


def _by_start(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(nodes, key=lambda node: str(node["data"]["startTime"]))


def _page(title: str, body: str) -> Response:
    label = '<p><small>Offline Trigger.dev: a double, not production. <a href="/double/runs">Runs'
    return HTMLResponse(
        f"<!DOCTYPE html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>"
        f"<style>{STYLE}</style>{label}</a></small></p><h1>{escape(title)}</h1>{body}</html>"
    )

"""Pages for a person: the latest runs, and one run with its trace as a tree."""

from html import escape
from typing import Any

from starlette.responses import HTMLResponse, Response

from turnout_triggerdev_double.server import traces
from turnout_triggerdev_double.server.answers import run_answer
from turnout_triggerdev_double.server.errors import Refusal
from turnout_triggerdev_double.server.records import Run
from turnout_triggerdev_double.server.statuses import CURRENT_VERSION, api_status
from turnout_triggerdev_double.server.times import iso
from turnout_triggerdev_double.server.wiring import Call

MOST = 200
SHOWN = ("status", "taskIdentifier", "version", "attemptCount", "createdAt", "startedAt", "tags")
STYLE = """body{font:14px/1.5 system-ui,sans-serif;margin:2rem;max-width:70rem}
table{border-collapse:collapse}td,th{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top}
ul{list-style:none;padding-left:1.4rem;border-left:1px solid #ccc}.error{color:#b00020}
small,th{color:#666;font-weight:normal}"""


def runs(call: Call) -> Response:
    """`GET /double/runs`: the latest runs of all environments."""
    latest = sorted(call.world.runs.values(), key=lambda each: each.created_at, reverse=True)
    rows = "".join(_row(call, each) for each in latest[:MOST])
    head = "<tr><th>run</th><th>task</th><th>status</th><th>environment</th><th>created</th></tr>"
    return _page("Runs", f"<table>{head}{rows}</table>" if rows else "<p>No run yet.</p>")


def _row(call: Call, run: Run) -> str:
    cells = (
        f'<a href="/double/runs/{escape(run.id)}">{escape(run.id)}</a>',
        escape(run.task),
        escape(api_status(run.status, CURRENT_VERSION)),
        escape(call.world.environment(run.env).slug),
        iso(run.created_at),
    )
    return "<tr>" + "".join(f"<td>{each}</td>" for each in cells) + "</tr>"


def run(call: Call) -> Response:
    """`GET /double/runs/{run}`: what is known of a run, and its spans as a tree."""
    found = call.world.runs.get(str(call.params["run"]))
    if found is None:
        raise Refusal(404, "No such run")
    shown = run_answer(call.world, found, CURRENT_VERSION)
    facts = "".join(_fact(name, shown[name]) for name in (*SHOWN, "error") if shown.get(name))
    tree = traces.tree(call.world, found)["rootSpan"]
    return _page(found.id, f"<table>{facts}</table><h2>Trace</h2><ul>{_span(tree)}</ul>")


def _fact(name: str, value: Any) -> str:
    text = value.get("message", "") if isinstance(value, dict) else value
    text = ", ".join(map(str, text)) if isinstance(text, list) else str(text)
    return f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>"


def _span(node: dict[str, Any]) -> str:
    data = node["data"]
    word = " <small>open</small>" if data["isPartial"] else ""
    name = f"<span{' class=error' if data['isError'] else ''}>{escape(str(data['message']))}</span>"
    told = f"<small>{escape(data['startTime'])}, {data['duration']:.0f} ms</small>{word}"
    below = "".join(_span(each) for each in _by_start(node["children"]))
    return f"<li>{name} {told}{f'<ul>{below}</ul>' if below else ''}</li>"


def _by_start(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(nodes, key=lambda each: str(each["data"]["startTime"]))


def _page(title: str, body: str) -> Response:
    label = '<p><small>Offline Trigger.dev: a double, not production. <a href="/double/runs">Runs'
    return HTMLResponse(
        f"<!DOCTYPE html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>"
        f"<style>{STYLE}</style>{label}</a></small></p><h1>{escape(title)}</h1>{body}</html>"
    )

"""What the vendor sees of an app stays as it was: a changed name would lose what is in flight.

`fixtures/visible.json` is what the version before this one showed. A fixed app runs on the
offline server by the stand-in; all requests that reach the server and the service are recorded.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson
from turnout_triggerdev.alerts import MOUNT, SIGNATURE
from turnout_triggerdev.definition import definition_of

# Test modules are imported by path, so what they share is put on the path by hand.
sys.path.insert(0, str(Path(__file__).parent))

from triggerdev_faults import Asked
from triggerdev_stage import Stage, until
from triggerdev_visible_app import OK, run_orders, visible_app

from turnout import Event, Turnout

FROZEN = Path(__file__).parent / "fixtures" / "visible.json"
SERVICE = "https://agents.example.org"
BATCHED = 5
"""More deliveries at once than are sent one by one."""

RUNS, SCHEDULES = 4, 2
"""A run, its child, a run that fails, its failure hook; and the app's schedules."""
REACH = "&filter[createdAt][period]=3650d"
"""How far back a lookup goes."""
COMPLETED = "/engine/v1/dev/runs/.*/attempts/complete"

_WAIT = re.compile(r"(?<=\.\d)\.\d+(?:\.\d+)?$")
"""The end of a token's key: the seq that is waited on, and how often before."""

Json = dict[str, Any]


async def test_what_the_vendor_sees_is_what_it_saw(tmp_path: Path) -> None:
    """Ids, keys, tags, names of queues, tokens, schedules, steps, and the definition, as frozen."""
    assert await _visible(tmp_path / "stage") == json.loads(FROZEN.read_text())


async def _visible(folder: Path) -> Json:
    stage, app = Stage(folder), visible_app()
    async with stage.server():
        queries: list[str] = []
        stage.server_side.app = _noting(stage.server_side.app, queries)
        async with stage.service(app) as live:
            async with stage.worker(app):
                await stage.ready(live)
                await _run_all(stage, live)
            await _cancel_one_of_a_batch(live)
        return {
            "definition": app.definition,
            "definition_file": definition_of(app, SERVICE),
            "alerts": {"mount": MOUNT, "signature": SIGNATURE},
            "adapter": _of_the_adapter(stage.server_side.asked, queries),
            "worker": _of_the_worker(stage.server_side.asked),
            "service": _of_the_service(stage.service_side.asked),
        }


async def _run_all(stage: Stage, live: Turnout) -> None:
    await run_orders(stage, live)

    async def settled() -> Any:
        asked = stage.server_side.asked
        completed = [each for each in _posts(asked, COMPLETED) if each.status == OK]
        spans = b"".join(each.body for each in _posts(asked, "/otel/v1/traces"))
        armed = _posts(asked, "/api/v1/schedules")
        return len(completed) == RUNS and b"tell #1" in spans and len(armed) == SCHEDULES

    await until(settled)


async def _cancel_one_of_a_batch(live: Turnout) -> None:
    """No worker takes these, so that their vendor runs are looked for by their tags."""
    events = [Event(name="do/idle", run_id=f"idle-{number}") for number in range(BATCHED)]
    await live.orchestrator.emit(*events)

    async def sent() -> Any:
        report = await live.orchestrator.status("idle-0")
        return report.deliveries and report.deliveries[-1].state.value == "sent"

    await until(sent)
    await live.orchestrator.cancel("idle-0")

    async def stopped() -> Any:
        report = await live.orchestrator.status("idle-0")
        return report.deliveries[-1].state.value not in {"pending", "sent", "claimed"}

    await until(stopped)


def _noting(app: Any, queries: list[str]) -> Any:
    """An application whose lookups of runs are noted: path and query."""

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and scope["query_string"]:
            queries.append(f"{scope['path']}?{unquote(scope['query_string'].decode())}")
        await app(scope, receive, send)

    return noting


def _of_the_adapter(asked: list[Asked], queries: list[str]) -> Json:
    schedules = [each.message for each in _posts(asked, "/api/v1/schedules")]
    batches = [each.message for each in _posts(asked, "/api/v3/batches")]
    lines = [
        _without_stamp(orjson.loads(line))
        for each in _posts(asked, "/api/v3/batches/[^/]+/items")
        for line in each.body.splitlines()
    ]
    triggers = {
        each.path: _without_stamp(each.message)
        for each in _posts(asked, "/api/v1/tasks/[^/]+/trigger")
        if each.message["payload"]["run_id"] in {"order-1", "broken-1"}
    }
    children = sorted(
        each.path
        for each in _posts(asked, "/api/v1/tasks/[^/]+/trigger")
        if each.path not in triggers
    )
    own = [each for each in asked if each.path.endswith("/trigger")]
    return {
        "version": sorted({each.headers["x-trigger-api-version"] for each in own}),
        "triggers": triggers,
        "children": children,
        "batches": batches,
        "items": sorted(lines, key=lambda line: line["index"]),
        "wakes": sorted(
            {
                f"{_shape(each.path)} {_types(each.message)}"
                for each in _posts(asked, "/api/v1/waitpoints/tokens/[^/]+/complete")
            }
        ),
        "schedules": sorted(schedules, key=lambda schedule: schedule["externalId"]),
        "lookups": sorted(
            {
                query.replace(REACH, "")
                for query in queries
                if query.startswith("/api/v1/runs?filter[tag")
            }
        ),
        "cancels": sorted({_shape(each.path) for each in _posts(asked, "/api/v2/runs/.*")}),
    }


def _without_stamp(item: Json) -> Json:
    """Leave out what only reconciliation reads: the run store, and the proof that it is of it."""
    options, payload = dict(item["options"]), dict(item["payload"])
    assert payload.pop("proof")
    options["tags"] = [tag for tag in options["tags"] if tag != f"turnout:store:{payload['store']}"]
    assert len(options["tags"]) == len(item["options"]["tags"]) - 1
    del payload["store"]
    return {**item, "options": options, "payload": payload}


def _of_the_worker(asked: list[Asked]) -> Json:
    (registered,) = _posts(asked, "/api/v1/projects/[^/]+/background-workers")
    metadata = {name: registered.message["metadata"][name] for name in ("tasks", "queues")}
    tokens = [each.message for each in _posts(asked, "/api/v1/waitpoints/tokens")]
    keys = [token["idempotencyKey"] for token in tokens]
    shown = [each.message["metadata"] for each in asked if each.path.endswith("/metadata")] + [
        each.message["completion"]["flushedMetadata"]["data"]
        for each in asked
        if each.path.endswith("/complete")
        and "flushedMetadata" in each.message.get("completion", {})
    ]
    outputs = [
        each.message["completion"]["output"]
        for each in asked
        if each.path.endswith("/complete") and each.message.get("completion", {}).get("ok")
    ]
    return {
        **metadata,
        "token_keys": sorted({_WAIT.sub(".<seq>", key) for key in keys if _named(key)}),
        "token_fields": sorted({name for token in tokens for name in token}),
        "token_tags": sorted({tag for token in tokens for tag in token["tags"]}),
        "spans": sorted(
            {span for each in _posts(asked, "/otel/v1/traces") for span in _spans(each)}
        ),
        # In the request of its own, or with the end of an attempt, which has it a level deeper.
        "metadata": sorted(
            {name.removeprefix("metadata.") for one in shown for name in _paths(one)}
        ),
        "outputs": sorted({_types(output) for output in outputs}),
    }


def _of_the_service(asked: list[Asked]) -> Json:
    messages = [each for each in asked if each.path == "/turnout/v1/step"]
    return {
        "headers": sorted(
            {name for each in messages for name in each.headers if name.startswith("webhook-")}
        ),
        "messages": sorted(
            {f"{each.message['op']}: {', '.join(sorted(each.message))}" for each in messages}
        ),
        "steps": sorted(
            {
                f"{each.message['run_id']}: {each.message['step']}"
                for each in messages
                if each.message["op"] == "execute" and _named(each.message["run_id"])
            }
        ),
    }


def _posts(asked: list[Asked], pattern: str) -> list[Asked]:
    return [each for each in asked if each.method == "POST" and re.fullmatch(pattern, each.path)]


def _named(run_id: str) -> bool:
    """Whether a run has an id of the test's, not one that was drawn."""
    return run_id.startswith(("order-1", "broken-1", "idle-"))


def _shape(path: str) -> str:
    return re.sub(r"(run|waitpoint|batch)_\w+", r"<\1>", path)


def _types(value: Any) -> str:
    if isinstance(value, str) and value.startswith("{"):
        value = json.loads(value)
    if not isinstance(value, dict):
        return type(value).__name__
    return ", ".join(f"{name}: {type(value[name]).__name__}" for name in sorted(value))


def _spans(asked: Asked) -> Iterator[str]:
    for resource in asked.message["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                names = sorted(attribute["key"] for attribute in span["attributes"])
                yield f"{scope['scope']['name']}: {span['name']}: {', '.join(names)}"


def _paths(value: Any, before: str = "") -> Iterator[str]:
    if isinstance(value, str) and value.startswith("{"):
        value = json.loads(value)
    if not isinstance(value, dict):
        yield before
        return
    for name, inner in value.items():
        yield from _paths(inner, f"{before}.{name}".lstrip("."))

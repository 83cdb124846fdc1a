"""Answers have the shapes that a real server was seen to give (`shapes.json`)."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import inngest
import pytest
from inngest_lab import HOUR_MS, Lab, until

SHAPES: dict[str, Any] = json.loads((Path(__file__).parent / "shapes.json").read_text())
MISSING = "01KBMWY0000000000000000000"


def shape(value: Any) -> Any:
    """The value's keys and kinds."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    kinds = {str: "text", bool: "flag", int: "number", float: "number"}
    return None if value is None else kinds[type(value)]


def differences(expected: Any, found: Any, at: str = "") -> list[str]:
    """Where a shape differs from the expected one; `any` stands for everything."""
    if expected == "any":
        return []
    if isinstance(expected, dict) and isinstance(found, dict):
        names = expected.keys() | found.keys()
        return [
            difference
            for name in sorted(names)
            for difference in differences(
                expected.get(name, "absent"), found.get(name, "absent"), f"{at}/{name}"
            )
        ]
    if isinstance(expected, list) and isinstance(found, list) and expected and found:
        return differences(expected[0], found[0], f"{at}/0")
    return [] if expected == found else [f"{at}: {expected} expected, {found} found"]


@pytest.fixture
async def answers(lab: Lab) -> AsyncIterator[dict[str, tuple[int, Any]]]:
    """One answer for each shape."""
    go_on = asyncio.Event()
    lab.client = lab.sdk("lab", app_version="1.2.3")

    @lab.function("work")
    async def work(ctx: inngest.Context) -> Any:
        async def step() -> dict[str, int]:
            return {"x": 1}

        return await ctx.step.run("s", step)

    @lab.function("nap")
    async def nap(ctx: inngest.Context) -> None:
        await ctx.step.sleep("z", HOUR_MS)

    @lab.function("busy")
    async def busy(ctx: inngest.Context) -> None:
        await go_on.wait()

    async with lab.application():
        done = await lab.run_in(await lab.emit("lab/work"), "COMPLETED")
        running = await lab.run_in(await lab.emit("lab/busy"), "RUNNING")
        sleeping = await lab.run_in(await lab.emit("lab/nap"), "RUNNING")
        await until(lambda: _has_jobs(lab, sleeping["id"]))
        yield await _collect(lab, done, running, sleeping)
        go_on.set()


async def _has_jobs(lab: Lab, run_id: str) -> Any:
    jobs = (await lab.api.get(f"/v1/runs/{run_id}/jobs")).json()["data"]
    return (jobs and jobs[0]["kind"] == "sleep") or None


async def _collect(lab: Lab, done: Any, running: Any, sleeping: Any) -> dict[str, Any]:
    event = done["trigger"]["eventIds"][0]
    cancel = f"/v2/runs/{sleeping['id']}/cancel"
    jobs = await lab.api.get(f"/v1/runs/{sleeping['id']}/jobs")
    requests = {
        "events_ok": lab.api.post("/e/k", json=[{"name": "a", "data": {}}]),
        "events_bad": lab.api.post("/e/k", json={"name": "", "data": {}}),
        "v2_event_runs_done": lab.api.get(f"/v2/events/{event}/runs?includeOutput=true"),
        "v2_event_runs_none": lab.api.get(f"/v2/events/{MISSING}/runs?includeOutput=true"),
        "v2_run_done": lab.api.get(f"/v2/runs/{done['id']}?includeOutput=true"),
        "v2_run_running": lab.api.get(f"/v2/runs/{running['id']}?includeOutput=true"),
        "v2_run_missing": lab.api.get(f"/v2/runs/{MISSING}"),
        "v1_run_done": lab.api.get(f"/v1/runs/{done['id']}"),
        "v1_run_running": lab.api.get(f"/v1/runs/{running['id']}"),
        "v1_run_missing": lab.api.get(f"/v1/runs/{MISSING}"),
        "v2_cancel_ok": lab.api.post(cancel),
        "v2_cancel_again": lab.api.post(cancel),
        "v2_app": lab.api.get("/v2/apps/lab"),
        "v2_app_missing": lab.api.get("/v2/apps/nope"),
        "v2_functions_none": lab.api.get("/v2/apps/nope/functions"),
        "health": lab.api.get("/health"),
        "invoke": lab.api.post("/v2/apps/lab/functions/work/invoke", json={"data": {}}),
    }
    found: dict[str, Any] = {"v1_jobs": (jobs.status_code, jobs.json())}
    for name, request in requests.items():
        answer = await request
        found[name] = (answer.status_code, answer.json())
    found["trace"] = (200, await lab.trace(done["id"]))
    found["sleeping"] = (200, (await lab.trace(sleeping["id"])))
    return found


async def test_answers_look_like_a_real_servers(answers: dict[str, tuple[int, Any]]) -> None:
    """Same status, same keys, same kinds of values."""
    named = [name for name in SHAPES if "status" in SHAPES[name] and name != "register"]
    wrong = {
        name: (status, found)
        for name in named
        for status, body in [answers[name]]
        if (found := differences(SHAPES[name]["body"], shape(body)))
        or status != SHAPES[name]["status"]
    }
    assert wrong == {}


async def test_traces_look_like_a_real_servers(answers: dict[str, tuple[int, Any]]) -> None:
    """Each step twice with its hash; a waiting step has no end; the tail is Finalization."""
    expected = SHAPES["trace_spans"]
    root = answers["trace"][1]
    children = root.pop("children")
    assert differences(expected["root"], shape(root)) == []
    assert [c["name"] for c in children] == ["s", "s", "Finalization", "executor.nonstep"]
    assert differences(expected["step"], shape(children[0])) == []
    sleeping = answers["sleeping"][1]["children"][0]
    assert differences(expected["sleeping"], shape(sleeping)) == []


async def test_a_call_carries_what_a_real_servers_does(lab: Lab) -> None:
    """The application gets every field of the request that was recorded."""
    seen: list[Any] = []

    class Spy(inngest.MiddlewareSync):
        def __init__(self, client: inngest.Inngest, raw_request: Any) -> None:
            super().__init__(client, raw_request)
            seen.append(raw_request)

    @lab.function("spied", middleware=[Spy])
    async def spied(ctx: inngest.Context) -> None: ...

    async with lab.application():
        await lab.run_in(await lab.emit("lab/spied"), "COMPLETED")
        body = await seen[0].json()
    expected = SHAPES["call"]
    assert set(body) == set(expected["body"])
    assert set(body["ctx"]) == set(expected["ctx"])
    assert set(seen[0].headers) >= set(expected["headers"])


async def test_functions_are_shown_as_a_real_server_shows_them(lab: Lab) -> None:
    """The same configuration gives the same entry, character by character."""
    configs: dict[str, dict[str, Any]] = {
        "three": {"concurrency": [{"limit": 5}], "retries": 3},
        "keyed": {"concurrency": [{"key": "event.data.user", "limit": 1}, {"limit": 3}]},
        "sleeper": {
            "cancel": [{"event": "probe/cancel-me", "if": "event.data.key == async.data.key"}]
        },
        "tick-tz": {
            "triggers": [{"cron": "TZ=Europe/Paris 30 9 * * 1-5"}, {"event": "probe/tick-now"}]
        },
        "idem": {"idempotency": "event.data.key"},
        "default-retries": {"retries": None},
        "always-fail-failure": {
            "name": "always-fail (failure)",
            "concurrency": [],
            "triggers": [
                {
                    "event": "inngest/function.failed",
                    "expression": "event.data.function_id == 'probe-always-fail'",
                }
            ],
        },
    }
    functions = [_config(name, dict(config)) for name, config in configs.items()]
    await lab.api.post("/fn/register", json={"appname": "probe", "functions": functions})
    answer = await lab.api.get("/v2/apps/probe/functions?limit=100")
    shown = {entry["id"]: entry for entry in answer.json()["data"]}
    assert shown == SHAPES["v2_functions"]


def _config(name: str, config: dict[str, Any]) -> dict[str, Any]:
    retries = config.pop("retries", 0)
    step: dict[str, Any] = {"id": "step", "name": "step", "runtime": {"type": "http", "url": "x"}}
    if retries is not None:
        step["retries"] = {"attempts": retries}
    triggers = [{"event": f"probe/{name}"}]
    slug = f"probe-{name}"
    return {"id": slug, "name": name, "triggers": triggers, "steps": {"step": step}, **config}


async def test_a_refused_sync_keeps_the_functions_and_says_why(lab: Lab) -> None:
    """One bad function refuses all; the reason is shown with the app."""
    good = {"appname": "probe", "functions": [_config("good", {})]}
    assert (await lab.api.post("/fn/register", json=good)).json()["modified"] is True
    assert (await lab.api.post("/fn/register", json=good)).json()["modified"] is False
    trigger = {"event": "x", "expression": "event.data.all(x, x > 1)"}
    bad = {"appname": "probe", "functions": [_config("bad", {"triggers": [trigger]})]}
    answer = await lab.api.post("/fn/register", json=bad)
    assert answer.status_code == 400
    assert answer.json()["error"] == "At least one function is invalid"
    app = (await lab.api.get("/v2/apps/probe")).json()["data"]
    assert "does not support .all(…)" in app["latestSync"]["error"]
    assert app["functionCount"] == 1

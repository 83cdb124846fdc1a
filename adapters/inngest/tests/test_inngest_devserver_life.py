"""The server restarted, guarded by keys, and reached by what it does not know."""

import asyncio
import contextlib
import hashlib
from dataclasses import replace
from typing import Any

import httpx
import inngest
import pytest
from inngest_lab import HOUR_MS, Lab, until
from turnout_inngest_double import main

from turnout.errors import InvalidSettings


async def test_a_restart_loses_nothing(bare_lab: Lab) -> None:
    """A sleeping, a waiting, a delayed and an executing run all complete after a restart."""
    lab = bare_lab
    calls: list[str] = []
    is_first, go_on = asyncio.Event(), asyncio.Event()

    @lab.function("nap")
    async def nap(ctx: inngest.Context) -> str:
        async def step() -> str:
            calls.append("nap")
            return "kept"

        kept = await ctx.step.run("before", step)
        await ctx.step.sleep("z", HOUR_MS)
        return kept

    @lab.function("wait")
    async def wait(ctx: inngest.Context) -> Any:
        found = await ctx.step.wait_for_event("w", event="lab/go", timeout=HOUR_MS)
        return found and found.data

    @lab.function("busy")
    async def busy(ctx: inngest.Context) -> str:
        if not is_first.is_set():
            is_first.set()
            await go_on.wait()
        return "done"

    async with contextlib.AsyncExitStack() as stack:
        async with lab.server():
            await stack.enter_async_context(lab.application())
            events = [await lab.emit(f"lab/{name}") for name in ("nap", "wait", "busy")]
            ids = [run["id"] for event in events for run in await lab.runs(event)]
            await until(lambda: _kinds(lab, ids, ["sleep", "pause", "edge"]))
            await is_first.wait()
        async with lab.server():
            await lab.run_in(events[2], "COMPLETED")
            await lab.emit("lab/go", {"n": 1})
            assert (await lab.run_in(events[1], "COMPLETED"))["output"] == {"n": 1}
            await lab.advance(HOUR_MS + 1_000)
            run = await lab.run_in(events[0], "COMPLETED")
            assert [child["name"] for child in (await lab.trace(run["id"]))["children"]] == [
                *("before", "before", "z", "Finalization", "executor.nonstep")
            ]
        go_on.set()
    assert run["output"] == {"data": "kept"}
    assert calls == ["nap"]


async def _kinds(lab: Lab, ids: list[str], wanted: list[str]) -> bool | None:
    found = []
    for run in ids:
        jobs = (await lab.api.get(f"/v1/runs/{run}/jobs")).json()["data"]
        found.append(jobs[0]["kind"] if jobs else None)
    return True if found == wanted else None


async def test_runs_of_a_function_that_was_taken_away_go_on(bare_lab: Lab) -> None:
    """Also over a restart: they finish and are shown, but the function starts nothing."""
    lab = bare_lab
    rule = inngest.Cancel(event="lab/stop")

    @lab.function("old", cancel=[rule])
    async def old(ctx: inngest.Context) -> str:
        await ctx.step.sleep("z", HOUR_MS)
        return "done"

    @lab.function("other")
    async def other(ctx: inngest.Context) -> None: ...

    async with contextlib.AsyncExitStack() as stack:
        async with lab.server():
            await stack.enter_async_context(lab.application())
            event = await lab.emit("lab/old")
            run = await lab.run(event)
            await until(lambda: _kinds(lab, [run["id"]], ["sleep"]))
            raw = (await lab.api.get("/v1/apps/lab/functions")).json()
            kept = [entry["config"] for entry in raw if entry["id"] == "lab-other"]
            step = {"id": "step", "runtime": {"type": "http", "url": kept[0]["steps"][0]["uri"]}}
            functions = [
                {"id": "lab-other", "triggers": kept[0]["triggers"], "steps": {"step": step}}
            ]
            body = {"appname": "lab", "functions": functions}
            await lab.api.post("/fn/register", json=body)
            assert await lab.runs(await lab.emit("lab/old")) == []
        async with lab.server():
            await lab.advance(HOUR_MS + 1_000)
            found = await lab.run_in(event, "COMPLETED", "FAILED", "CANCELLED")
            assert found["output"] == {"data": "done"}
            await lab.emit("lab/stop")


async def test_an_app_that_is_away_costs_an_attempt(bare_lab: Lab) -> None:
    """A refused connection is a failed attempt; the next one finds the app again."""
    lab = bare_lab

    @lab.function("away", retries=1)
    async def away(ctx: inngest.Context) -> int:
        return ctx.attempt

    async with lab.server():
        async with lab.application() as address:
            pass
        event = await lab.emit("lab/away")
        await until(lambda: _retrying(lab, event))
        port = httpx.URL(address).port
        assert port is not None
        async with lab.application():
            await lab.advance(60_000)
            run = await lab.run_in(event, "COMPLETED", "FAILED")
    # The app came back on another port and registered anew.
    assert run["output"] == {"data": 1}


async def _retrying(lab: Lab, event: str) -> bool | None:
    run = await lab.run(event)
    jobs = (await lab.api.get(f"/v1/runs/{run['id']}/jobs")).json()["data"]
    return True if jobs and jobs[0]["attempt"] == 1 else None


async def test_keys_guard_the_self_hosted_server(keyed_lab: Lab) -> None:
    """Without the keys 401; with them the official SDK syncs, runs and signs."""
    lab = keyed_lab

    @lab.function("signed")
    async def signed(ctx: inngest.Context) -> str:
        return "ok"

    wrong = await lab.api.post("/e/wrong", json={"name": "x", "data": {}})
    assert (wrong.status_code, wrong.json()["error"]) == (401, "Event key not found")
    assert (await lab.api.get("/v2/runs")).status_code == 401
    key = "ab" * 16
    hashed = hashlib.sha256(bytes.fromhex(key)).hexdigest()
    for token in (key, f"signkey-test-{key}", hashed):
        bearer = {"Authorization": f"Bearer {token}"}
        assert (await lab.api.get("/v2/runs", headers=bearer)).status_code == 200
    lab.api.headers["Authorization"] = f"Bearer {key}"
    async with lab.application():
        run = await lab.run_in(await lab.emit("lab/signed"), "COMPLETED", "FAILED")
        assert run["output"] == {"data": "ok"}


@pytest.mark.parametrize("key", ["abc", "xyz!", ""])
def test_a_malformed_signing_key_is_refused(key: str) -> None:
    """The vendor takes hex with an even number of digits."""
    parsed = main._parser().parse_args(["--signing-key", key, "--event-key", "e"])
    with pytest.raises(InvalidSettings, match="hex"):
        main.options_of(parsed)


async def test_bad_events_are_refused_by_name(lab: Lab) -> None:
    """The good ones before the bad one are kept, and named."""
    good = {"name": "a", "data": {}}
    for bad, why in (
        ({"name": "inngest/x", "data": {}}, "reserved"),
        ({"name": "a", "data": {}, "ts": 5}, "1980"),
        ({"name": "a", "data": [1]}, "object"),
        ({"name": "a" * 600, "data": {}}, "512"),
        (7, "object"),
    ):
        answer = await lab.api.post("/e/k", json=[good, bad])
        assert answer.status_code == 400
        assert len(answer.json()["ids"]) == 1
        assert why in answer.json()["error"]
    answer = await lab.api.post("/e/k", content=b"{bad")
    assert answer.status_code == 400


async def test_the_clock_moves_only_where_it_was_allowed(bare_lab: Lab) -> None:
    """Without --test-clock there is no such route."""
    bare_lab.options = replace(bare_lab.options, test_clock=False)
    async with bare_lab.server():
        answer = await bare_lab.api.post("/test/clock", json={"advance_ms": 1})
        assert (answer.status_code, answer.content) == (200, b""), "as any path that is none"


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/nope", 200, b""),
        ("POST", "/api/v1/nope", 200, b""),
        ("PUT", "/e", 200, b""),
        ("GET", "/v1/nope", 404, b"404 page not found\n"),
        ("POST", "/v0/nope", 404, b"404 page not found\n"),
        ("GET", "/v2/nope", 404, b'{"errors":[{"code":"api_error","message":"Not Found"}]}'),
        ("GET", "/api/v2/nope", 404, b'{"errors":[{"code":"api_error","message":"Not Found"}]}'),
        ("DELETE", "/e/key", 405, b""),
        ("POST", "/v1/events", 405, b""),
        (
            *("PUT", "/v2/runs", 501),
            b'{"errors":[{"code":"api_error","message":"Method Not Allowed"}]}',
        ),
    ],
)
async def test_paths_and_methods_that_are_none(
    lab: Lab, method: str, path: str, status: int, body: bytes
) -> None:
    """Answered as a real server answers: 200 and nothing, outside its versioned APIs."""
    answer = await lab.api.request(method, path)
    assert (answer.status_code, answer.content) == (status, body)
    assert answer.headers["x-inngest-server-kind"] == "dev"


async def test_graphql_names_what_it_does_not_serve(lab: Lab) -> None:
    """A field outside the served schema is GraphQL's own error."""
    answer = await lab.api.post("/v0/gql", json={"query": "{ billing { plan } }"})
    assert "billing" in answer.json()["errors"][0]["message"]


def test_the_dev_server_says_what_it_is() -> None:
    """`turnout dev` finds the name, the label, the port and the command."""
    found = main.devserver()
    assert (found.name, found.label, found.default_port) == (
        "inngest",
        "double, not production",
        8288,
    )
    assert found.argv[1:] == ("-m", "turnout_inngest_double")

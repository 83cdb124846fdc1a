"""The vendor's TypeScript SDK, unmodified, on the offline server.

`TURNOUT_INNGEST_TYPESCRIPT` names a folder in which it is installed (`../scripts/typescript_sdk`
does it); without it this is skipped aloud, and only what it says on the wire is tried.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import turnout_inngest_double.http_client as wire
from inngest_lab import Lab, until
from local_ports import free_port, serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from turnout_inngest_double import outcome

SDK = os.environ.get("TURNOUT_INNGEST_TYPESCRIPT")
PROGRAM = Path(__file__).parent / "typescript" / "app.mjs"
real = pytest.mark.skipif(
    not SDK, reason="set TURNOUT_INNGEST_TYPESCRIPT to a folder with the vendor's TypeScript SDK"
)
NO_REALTIME = [501, "the offline server does not serve POST /v1/realtime/publish"]
OUTPUTS: Mapping[str, Any] = {
    "steps": 6,
    "parallel": [1, None, 2],
    "sleeps": "awake",
    "invokes": 2,
    "sends": 1,
    "catches": "no",
    "retries": 1,
    "fetches": {"status": 200, "message": "OK"},
    "publishes": NO_REALTIME,
    "unsignalled": None,
}


@asynccontextmanager
async def typescript(lab: Lab) -> AsyncIterator[None]:
    """The application, registered."""
    assert SDK
    program, port = Path(SDK) / f"app-{os.getpid()}.mjs", free_port()
    shutil.copyfile(PROGRAM, program)
    environ = {**os.environ, "BASE": lab.url, "PORT": str(port)}
    process = await asyncio.create_subprocess_exec(
        "node", str(program), env=environ, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"listening\n"
        answer = await lab.api.put(f"http://127.0.0.1:{port}/api/inngest")
        assert answer.status_code == 200, answer.text
        yield
    finally:
        process.kill()
        await process.wait()
        program.unlink()


async def ended(lab: Lab, name: str, data: Any = None) -> dict[str, Any]:
    """The run of an event, ended."""
    return await lab.run_in(await lab.emit(f"ts/{name}", data), "COMPLETED", "FAILED")


def output_of(run: dict[str, Any]) -> Any:
    """What a run returned: of an object the lists show it as it is, of all else in `data`."""
    assert run["status"] == "COMPLETED", run
    output = run.get("output")
    return output["data"] if isinstance(output, dict) and set(output) == {"data"} else output


@real
async def test_every_kind_of_step_works(lab: Lab) -> None:
    """Runs, sleeps, invocations, events, errors that are caught, retries, requests."""
    async with typescript(lab):
        assert {name: output_of(await ended(lab, name)) for name in OUTPUTS} == OUTPUTS
        failed = await ended(lab, "throws")
        assert (failed["status"], failed["output"]["error"]["message"]) == ("FAILED", "boom")
        steps = await ended(lab, "steps")
        names = {span["name"] for span in (await lab.trace(steps["id"]))["children"]}
        assert {"add-1", "add-2", "add-3"} <= names


@real
async def test_events_signals_and_batches_reach_their_runs(lab: Lab) -> None:
    """A wait ends by its event, by its signal or by its time limit; a batch is one run."""
    async with typescript(lab):
        waiting = await lab.emit("ts/waits", {"id": "k"})
        await until(lambda: parked(lab, waiting, "go"))
        await lab.emit("ts/go", {"id": "other", "by": "eve"})
        await lab.emit("ts/go", {"id": "k", "by": "ann"})
        assert output_of(await lab.run_in(waiting, "COMPLETED", "FAILED")) == ["ann", None]
        waiting = await lab.emit("ts/signalled")
        await until(lambda: parked(lab, waiting, "sign"))
        assert output_of(await ended(lab, "unheard")) == {}
        assert output_of(await ended(lab, "signals")) == {"runId": (await lab.run(waiting))["id"]}
        signalled = await lab.run_in(waiting, "COMPLETED", "FAILED")
        assert output_of(signalled) == {"signal": "s1", "data": {"ok": 1}}
        first, second = await lab.emit("ts/batched"), await lab.emit("ts/batched")
        batches = [await lab.run_in(event, "COMPLETED", "FAILED") for event in (first, second)]
        assert batches[0]["id"] == batches[1]["id"]
        assert output_of(batches[0]) == 2


async def parked(lab: Lab, event_id: str, step: str) -> bool | None:
    """Whether the event's run waits in the step."""
    runs = await lab.runs(event_id)
    if not runs:
        return None
    children = (await lab.trace(runs[0]["id"])).get("children", [])
    return any(c["name"] == step and c["status"] == "WAITING" for c in children) or None


# What it says on the wire, tried without it

Answer = Callable[[dict[str, Any]], Awaitable[Response]]
STEPS = 206


@asynccontextmanager
async def scripted(lab: Lab, answer: Answer) -> AsyncIterator[None]:
    """An application of one function that answers each call so, and registers by `appName`."""

    async def call(request: Request) -> Response:
        response = await answer(await request.json())
        response.headers["x-inngest-sdk"] = "inngest-js:v4.24.0"
        return response

    port = free_port()
    async with serving(Starlette(routes=[Route("/fn", call, methods=["POST"])]), port):
        url = f"http://127.0.0.1:{port}/fn?fnId=ts-f&stepId=step"
        step = {"id": "step", "name": "f", "runtime": {"type": "http", "url": url}}
        function = {"id": "ts-f", "name": "f", "triggers": [{"event": "ts/f"}]}
        function["steps"] = {"step": {**step, "retries": {"attempts": 1}}}
        body = {"appName": "ts", "url": url, "functions": [function], "sdk": "js:v4"}
        assert (await lab.api.post("/fn/register", json=body)).json()["ok"] is True
        yield


def op(kind: str, step: str, **more: Any) -> dict[str, Any]:
    """One step of an answer."""
    return {"op": kind, "id": step, "displayName": step, **more}


def test_a_completed_run_is_read_from_a_step_of_its_own() -> None:
    """Alone, in a list, or after steps that ran."""
    complete = {"op": "RunComplete", "id": "complete", "data": {"a": 1}}
    ran = {"op": "StepRun", "id": "s", "data": 1}
    for body in (complete, [complete], [ran, complete]):
        content = httpx.Response(STEPS, json=body).content
        answer = outcome.read(wire.Reply(status=STEPS, headers={}, body=content))
        assert isinstance(answer, outcome.Completed)
        assert answer.output == b'{"a":1}'


async def test_steps_reported_while_a_call_is_under_way_are_kept(lab: Lab) -> None:
    """They are given to the next call, which the application asks for; not for an ended run."""
    seen: list[dict[str, Any]] = []
    statuses: list[int] = []

    async def report(call: dict[str, Any], *steps: dict[str, Any]) -> None:
        path = f"/v1/checkpoint/{call['ctx']['run_id']}/async"
        statuses.append((await lab.api.post(path, json={"steps": steps})).status_code)

    async def answer(call: dict[str, Any]) -> Response:
        seen.append(call)
        if len(seen) == 1:
            await report(call, op("StepRun", "a", data=1), op("StepPlanned", "b"))
            await report(call, op("Sleep", "c", name="1s"))
            return JSONResponse([op("DiscoveryRequest", "d")], STEPS)
        return JSONResponse(op("RunComplete", "complete", data=call["steps"]), STEPS)

    async with scripted(lab, answer):
        run = await lab.run_in(await lab.emit("ts/f"), "COMPLETED", "FAILED")
        await report(seen[0], op("StepRun", "late", data=1))
    assert (run["status"], run["output"]) == ("COMPLETED", {"a": {"data": 1}})
    assert statuses == [200, 500, 404]


async def test_a_sleep_may_be_a_length(lab: Lab) -> None:
    """In the step's name or in its options."""

    async def answer(call: dict[str, Any]) -> Response:
        if "first" not in call["steps"]:
            return JSONResponse([op("Sleep", "first", name="1s")], STEPS)
        if "second" not in call["steps"]:
            return JSONResponse([op("Sleep", "second", opts={"duration": "1h"})], STEPS)
        return JSONResponse("awake")

    async with scripted(lab, answer):
        event = await lab.emit("ts/f")
        await until(lambda: parked(lab, event, "second"))
        await lab.advance(3_600_000)
        assert output_of(await lab.run_in(event, "COMPLETED", "FAILED")) == "awake"


async def test_one_run_at_a_time_waits_for_a_signal(lab: Lab) -> None:
    """A second one fails, or takes the first one's place; a signal without a run is 404."""
    conflicts: list[str | None] = [None, None, "replace"]

    async def answer(call: dict[str, Any]) -> Response:
        if "w" in call["steps"]:
            return JSONResponse(call["steps"]["w"])
        options = {"signal": "s", "timeout": "1h", "conflict": conflicts.pop(0)}
        return JSONResponse([op("WaitForSignal", "w", opts=options)], STEPS)

    async def signalled() -> httpx.Response:
        return await lab.api.post("/v1/signals", json={"signal": "s", "data": [1]})

    async with scripted(lab, answer):
        first = await lab.emit("ts/f")
        await until(lambda: parked(lab, first, "w"))
        second = await lab.run_in(await lab.emit("ts/f"), "COMPLETED", "FAILED")
        third = await lab.emit("ts/f")
        await until(lambda: parked(lab, third, "w"))
        assert (await signalled()).json()["data"]["run_id"] == (await lab.run(third))["id"]
        assert output_of(await lab.run_in(third, "COMPLETED")) == {"signal": "s", "data": [1]}
        assert (await signalled()).status_code == 404
        assert (await lab.run(first))["status"] == "RUNNING"
    assert second["status"] == "FAILED"
    assert "signal wait already exists" in str(second["output"])


async def test_a_failed_step_is_tried_again_when_it_says(lab: Lab) -> None:
    """By the answer's `retry-after`, not by the vendor's table."""

    async def answer(call: dict[str, Any]) -> Response:
        if call["ctx"]["attempt"] == 0:
            failed = op("StepError", "s", error={"name": "E", "message": "again"})
            return JSONResponse([failed], STEPS, {"retry-after": "1"})
        return JSONResponse("done")

    async with scripted(lab, answer):
        assert output_of(await ended(lab, "f")) == "done"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/realtime/publish"),
        ("POST", "/v1/realtime/token"),
        ("GET", "/v1/realtime/sse"),
        ("POST", "/v1/checkpoint"),
        ("POST", "/v1/checkpoint/r/steps"),
        ("POST", "/v1/runs/r/metadata"),
        ("POST", "/v1/cancellations"),
    ],
)
async def test_what_is_not_served_is_refused_at_once(lab: Lab, method: str, path: str) -> None:
    """501, and words that name it."""
    answer = await lab.api.request(method, path, json={})
    assert answer.status_code == 501
    assert answer.json()["error"] == f"the offline server does not serve {method} {path}"

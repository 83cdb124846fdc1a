"""The TypeScript worker, run by the vendor's own CLI and SDK, on the offline server.

`TURNOUT_TRIGGER_CLI` names a folder in which the worker's packages are installed
(`../scripts/worker` does it); without it this is skipped aloud. The service is a scripted peer.
"""

import asyncio
import json
import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.responses import JSONResponse, Response

pytestmark = [
    pytest.mark.real,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        not os.environ.get("TURNOUT_TRIGGER_CLI"),
        reason="set TURNOUT_TRIGGER_CLI to a folder with the worker's packages",
    ),
]
SLOW = 60.0


async def true_soon(look: Any) -> Any:
    """The first true value of a look."""
    async with asyncio.timeout(SLOW):
        while not (found := look()):
            await asyncio.sleep(0.05)
    return found


async def test_a_run_is_worked_on_and_reported(real_rig: Any, rid: str) -> None:
    """Steps, a park on a token, a wake, the end; every message is signed and says who speaks."""
    rig = real_rig
    rig.peer.run(rid, ("steps", "a", "b"), ("sleep", 100), ("event",), ("steps", "c"))
    vendor_run = await rig.api.deliver(rid)
    script = rig.peer.scripts[rid]
    token = await true_soon(lambda: script.token)
    seen = await rig.api.get(f"/api/v1/waitpoints/tokens/{token}")
    assert seen["idempotencyKey"] == f"{rid}.1.{script.seq}"
    script.forward()
    await rig.api.post(f"/api/v1/waitpoints/tokens/{token}/complete", {"data": 1})
    run = await rig.api.ended(vendor_run, SLOW)
    assert (run["status"], run["attemptCount"]) == ("COMPLETED", 1)
    assert run["output"] == {"turnout": 1, "run_id": rid, "sha256": "f" * 64}
    assert run["metadata"] == {"turnout": {"done": 3, "current": []}}
    wanted = ["advance", "execute", "execute", "advance", "park", "advance", "execute"]
    assert rig.peer.asked(rid) == wanted
    await true_soon(lambda: rig.peer.events(rid) == ["started", "completed"])
    for message in rig.peer.said:
        assert (message["definition"], message["provider_run_id"]) == ("d" * 64, vendor_run)


async def test_attempts_show_as_spans_with_their_outcome(real_rig: Any, rid: str) -> None:
    """The dashboard shows each attempt of a step once, below the vendor's own attempt.

    Of a few runs, since the SDK's last spans are lost where its process ends before they are out.
    """
    for number in range(3):
        shown = await shown_attempts(real_rig, f"{rid}-{number}")
        assert all(len(each) <= 1 for each in shown)
        if all(len(each) == 1 and not each[0]["data"]["isPartial"] for each in shown):
            break
    else:
        pytest.fail(f"none of three runs showed both attempts: {shown}")
    assert shown[0][0]["data"]["properties"]["turnout.outcome"] == "completed"


async def shown_attempts(rig: Any, rid: str) -> list[list[Any]]:
    """Run two steps; give the spans of each one's first attempt once both are whole, or in time."""
    rig.peer.run(rid, ("steps", "load"), ("steps", "store"))
    vendor_run = await rig.api.deliver(rid)
    await rig.api.ended(vendor_run, SLOW)

    def named(span: Any, name: str) -> list[Any]:
        below = [found for child in span["children"] for found in named(child, name)]
        return [span, *below] if span["data"]["message"] == name else below

    for _ in range(75):
        trace = (await rig.api.get(f"/api/v1/runs/{vendor_run}/trace"))["trace"]["rootSpan"]
        shown = [named(trace, f"{step} #1") for step in ("load", "store")]
        if all(len(each) == 1 and not each[0]["data"]["isPartial"] for each in shown):
            break
        await asyncio.sleep(0.2)
    return shown


@pytest.mark.parametrize("code", ["superseded", "finished"])
async def test_a_refused_run_ends_quietly(real_rig: Any, rid: str, code: str) -> None:
    """409 ends the vendor run as done, without running a step."""
    rig = real_rig

    def refuse(message: dict[str, Any]) -> Response | None:
        body = {"code": code, "message": code}
        return JSONResponse(body, 409) if message["op"] == "advance" else None

    rig.peer.overrides.append(refuse)
    rig.peer.run(rid, ("steps", "a"))
    run = await rig.api.ended(await rig.api.deliver(rid), SLOW)
    assert (run["status"], run["output"]["ended"]) == ("COMPLETED", code)
    assert rig.peer.asked(rid) == ["advance"]


async def test_another_definition_spends_the_infrastructure_budget(real_rig: Any, rid: str) -> None:
    """426 fails this vendor attempt; the next one begins again from the top."""
    rig, refusals = real_rig, iter([426])

    def refuse(message: dict[str, Any]) -> Response | None:
        status = next(refusals, None) if message["op"] == "advance" else None
        body = {"code": "definition_mismatch", "message": "another one"}
        return None if status is None else JSONResponse(body, status)

    rig.peer.overrides.append(refuse)
    rig.peer.run(rid, ("steps", "a"))
    run = await rig.api.ended(await rig.api.deliver(rid), SLOW)
    assert (run["status"], run["attemptCount"]) == ("COMPLETED", 2)
    assert rig.peer.asked(rid) == ["advance", "advance", "execute"]


async def test_a_run_that_failed_fails_here_without_a_retry(real_rig: Any, rid: str) -> None:
    """Only a failed run is red, by the name of its own error, and the vendor leaves it alone."""
    rig = real_rig
    script = rig.peer.run(rid, ("steps", "a"))
    script.state, script.error = "failed", {"name": "StepFailed", "message": "a broke"}
    run = await rig.api.ended(await rig.api.deliver(rid), SLOW)
    assert (run["status"], run["attemptCount"]) == ("FAILED", 1)
    assert (run["error"]["name"], run["error"]["message"]) == ("StepFailed", "a broke")
    await true_soon(lambda: rig.peer.events(rid) == ["started", "failed"])


async def test_a_cancel_closes_the_calls_and_is_reported(real_rig: Any, rid: str) -> None:
    """Cancelling an executing run hangs up on the service at once."""
    rig = real_rig
    rig.peer.slow["a"] = 60.0
    rig.peer.run(rid, ("steps", "a"))
    vendor_run = await rig.api.deliver(rid)
    await true_soon(lambda: rig.peer.executing)
    await rig.api.post(f"/api/v2/runs/{vendor_run}/cancel")
    await true_soon(lambda: rig.peer.hung_up)
    await true_soon(lambda: "cancelled" in rig.peer.events(rid))
    assert (await rig.api.ended(vendor_run, SLOW))["status"] == "CANCELED"


async def test_a_run_beyond_the_vendors_limit_is_reported(real_rig: Any, rid: str) -> None:
    """The vendor ends it as timed out, and the service hears of it."""
    rig = real_rig
    rig.peer.slow["a"] = 60.0
    rig.peer.run(rid, ("steps", "a"))
    run = await rig.api.ended(await rig.api.deliver(rid, task="brief"), SLOW)
    assert run["status"] == "TIMED_OUT"
    await true_soon(lambda: "timed_out" in rig.peer.events(rid))


async def test_a_payload_without_a_delivery_fails_by_name(real_rig: Any) -> None:
    """A run that Turnout did not send is refused, not guessed at, and tried once."""
    run = await real_rig.api.ended(await real_rig.api.trigger("work", {"hello": "world"}), SLOW)
    assert (run["status"], run["attemptCount"]) == ("FAILED", 1)
    assert run["error"]["name"] == "InvalidPayload"
    assert real_rig.peer.said == []


async def test_a_schedules_tick_is_told_by_its_nominal_time(real_rig: Any) -> None:
    """The slot is the time in the payload, a real date by now, never the clock."""
    values = {"timestamp": ["Date"], "upcoming.0": ["Date"]}
    payload = {
        "scheduleId": "sched_1",
        "type": "IMPERATIVE",
        "timestamp": "2026-11-20T18:42:00.000Z",
        "externalId": "daily",
        "timezone": "UTC",
        "upcoming": ["2026-11-21T18:42:00.000Z"],
    }
    packed = json.dumps({"json": payload, "meta": {"values": values}})
    options = {"payloadType": "application/super+json"}
    body = {"payload": packed, "options": options}
    made = await real_rig.api.post("/api/v1/tasks/tick/trigger", body)
    run = await real_rig.api.ended(made["id"], SLOW)
    assert run["status"] == "COMPLETED"
    (tick,) = real_rig.peer.ticks
    assert (tick["schedule"], tick["slot"]) == ("daily", 1795200120000)
    assert (tick["provider"], tick["provider_run_id"]) == ("triggerdev", made["id"])


async def test_what_a_task_says_reaches_metadata_and_stream(real_rig: Any, rid: str) -> None:
    """The metadata shows the last thing that it said, the stream each, once and in order."""
    rig = real_rig
    rig.peer.run(rid, ("steps", "a"), ("steps", "b")).says = True
    vendor_run = await rig.api.deliver(rid)
    run = await rig.api.ended(vendor_run, SLOW)
    assert run["metadata"]["turnout"]["told"] == {"stage": 2}
    path = f"/realtime/v1/streams/{vendor_run}/turnout"
    read = await rig.api.call("GET", path, headers={"timeout-seconds": "2"})
    data = [line.removeprefix("data: ") for line in read.text.splitlines() if "data: " in line]
    assert [json.loads(json.loads(each)) for each in data] == [{"stage": n} for n in range(3)]


async def test_a_sleep_by_the_platforms_clock_is_no_error_in_the_trace(
    real_rig: Any, rid: str
) -> None:
    """It is a token that times out, and the platform's own wait for one would be shown in red."""
    rig = real_rig
    rig.peer.run(rid, ("steps", "a"), ("sleep", 7_000), ("steps", "b"))
    vendor_run = await rig.api.deliver(rid)
    run = await rig.api.ended(vendor_run, SLOW)
    assert (run["status"], "park" in rig.peer.ops(rid)) == ("COMPLETED", True)
    trace = await rig.api.get(f"/api/v1/runs/{vendor_run}/trace")
    spans = list(spans_of(trace["trace"]["rootSpan"]))
    assert "wait" in {span["data"]["message"] for span in spans}
    assert not [span for span in spans if span["data"]["isError"]]


def spans_of(span: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A span of a trace, and all below it."""
    yield span
    for child in span["children"]:
        yield from spans_of(child)


async def test_the_probe_tells_of_the_way_and_the_clock(real_rig: Any) -> None:
    """What the worker sees of the service, through the path of real runs."""
    real_rig.peer.ahead = 90_000
    run = await real_rig.api.ended(await real_rig.api.trigger("turnout-probe"), SLOW)
    seen = run["output"]
    assert (seen["status"], seen["definition"]) == (200, "d" * 64)
    assert abs(seen["clock_ms"] - 90_000) < 5_000
    assert seen["latency_ms"] > 0


async def test_each_task_has_a_queue_of_its_own(real_rig: Any) -> None:
    """Queues are declared with the tasks, none is made at a trigger."""
    async with httpx.AsyncClient() as client:
        url = f"{real_rig.api.url}/api/v1/queues?perPage=100"
        found = (await client.get(url, headers=dict(real_rig.api.client.headers))).json()["data"]
    assert {"turnout/work", "turnout/tick"} <= {each["name"] for each in found}

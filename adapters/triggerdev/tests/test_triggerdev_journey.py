"""Runs through the server, the stand-in and a scripted service, over real sockets."""

import asyncio
from typing import Any

import httpx
import pytest
from starlette.responses import JSONResponse, Response
from turnout_triggerdev_double.server.main import CONCURRENCY

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def parked(rig: Any, run_id: str) -> str:
    """The token on which the run waits."""
    async with asyncio.timeout(60):
        while rig.peer.scripts[run_id].token is None:
            await asyncio.sleep(0.02)
    return str(rig.peer.scripts[run_id].token)


async def wake(rig: Any, run_id: str) -> None:
    """Make the event happen and complete the token, as a pump does."""
    token = await parked(rig, run_id)
    script = rig.peer.scripts[run_id]
    script.token = None
    script.forward()
    await rig.api.post(f"/api/v1/waitpoints/tokens/{token}/complete", {"data": {"wake": True}})


def refusing(status: int, times: int, op: str, **body: Any) -> Any:
    """An override that answers the first messages of this kind with a refusal."""
    left = [times]

    def override(message: dict[str, Any]) -> Response | None:
        if message["op"] != op or left[0] == 0:
            return None
        left[0] -= 1
        return JSONResponse({"code": "no", "message": "not now", **body}, status)

    return override


async def test_a_run_goes_from_trigger_through_its_steps_to_completed(rig: Any, rid: str) -> None:
    """A delivered run is advanced, its steps are executed in turn, and the vendor run completes."""
    rig.peer.run(rid, ("steps", "load"), ("steps", "store"))
    run = await rig.api.ended(await rig.api.deliver(rid))
    assert run["status"] == "COMPLETED"
    assert run["output"] == {"turnout": 1, "run_id": rid, "sha256": "f" * 64}
    assert rig.peer.events(rid) == ["started", "completed"]
    assert rig.peer.asked(rid) == ["advance", "execute", "execute"]


async def test_every_message_carries_who_calls_and_is_signed(rig: Any, rid: str) -> None:
    """Run, delivery, task, definition, vendor run and attempt stand in each message."""
    rig.peer.run(rid, ("steps", "load"))
    vendor_run = await rig.api.deliver(rid)
    await rig.api.ended(vendor_run)
    for message in rig.peer.said:
        assert message["protocol"] == 1
        assert message["task"] == "work"
        assert message["definition"] == "d" * 64
        assert (message["delivery"], message["provider_attempt"]) == (1, 1)
        assert message["provider_run_id"] == vendor_run
    ids = [headers["webhook-id"] for headers in rig.peer.headers]
    assert len(set(ids)) == len(ids)


async def test_several_steps_of_one_answer_run_at_once(rig: Any, rid: str) -> None:
    """Steps listed together are executed in parallel."""
    for step in ("a", "b", "c"):
        rig.peer.slow[step] = 0.3
    rig.peer.run(rid, ("steps", "a", "b", "c"))
    await rig.api.ended(await rig.api.deliver(rid))
    assert rig.peer.most_executing == 3


async def test_a_short_sleep_stays_in_process_and_a_long_one_takes_a_token(rig: Any) -> None:
    """A pure sleep of up to five seconds needs no vendor wait."""
    rig.peer.run("short", ("sleep", 200), ("steps", "a"))
    rig.peer.run("long", ("sleep", 5400), ("steps", "a"))
    runs = [await rig.api.deliver("short"), await rig.api.deliver("long")]
    for run in runs:
        assert (await rig.api.ended(run))["status"] == "COMPLETED"
    assert "park" not in rig.peer.ops("short")
    assert rig.peer.asked("long") == ["advance", "park", "advance", "execute"]


async def test_an_event_wait_parks_on_a_token_until_it_is_completed(rig: Any, rid: str) -> None:
    """The run parks with a token of its own key and goes on when a wake completes it."""
    rig.peer.run(rid, ("steps", "a"), ("event",), ("steps", "b"))
    vendor_run = await rig.api.deliver(rid)
    token = await parked(rig, rid)
    seen = await rig.api.get(f"/api/v1/waitpoints/tokens/{token}")
    assert seen["idempotencyKey"] == f"{rid}.1.3"
    await wake(rig, rid)
    assert (await rig.api.ended(vendor_run))["status"] == "COMPLETED"


async def test_a_wake_that_comes_before_the_wait_is_not_lost(rig: Any, rid: str) -> None:
    """A token completed between park and wait ends the wait at once."""

    def early(message: dict[str, Any]) -> Response | None:
        if message["op"] == "park":
            script = rig.peer.scripts[rid]
            script.forward()
            url = f"{rig.api.url}/api/v1/waitpoints/tokens/{message['token']}/complete"
            headers = dict(rig.api.client.headers)
            httpx.post(url, headers=headers, json={"data": 1})
            return JSONResponse({"go": True})
        return None

    rig.peer.overrides.append(early)
    rig.peer.run(rid, ("event",), ("steps", "b"))
    assert (await rig.api.ended(await rig.api.deliver(rid)))["status"] == "COMPLETED"


async def test_a_spurious_wake_makes_the_run_park_again(rig: Any, rid: str) -> None:
    """A wake without news is answered by another token, not by a busy loop."""
    rig.peer.run(rid, ("event",), ("steps", "b"))
    vendor_run = await rig.api.deliver(rid)
    first = await parked(rig, rid)
    rig.peer.scripts[rid].token = None
    await rig.api.post(f"/api/v1/waitpoints/tokens/{first}/complete", {"data": 1})
    second = await parked(rig, rid)
    assert second != first
    await wake(rig, rid)
    assert (await rig.api.ended(vendor_run))["status"] == "COMPLETED"
    assert rig.peer.ops(rid).count("advance") == 3


@pytest.mark.parametrize("status", [429, 503])
async def test_an_overloaded_service_gets_the_same_message_again(
    rig: Any, rid: str, status: int
) -> None:
    """429 and 503 change nothing but the time of the message."""
    rig.peer.overrides.append(refusing(status, 2, "execute", retry_after_ms=50))
    rig.peer.run(rid, ("steps", "a"))
    run = await rig.api.ended(await rig.api.deliver(rid))
    assert (run["status"], run["attemptCount"]) == ("COMPLETED", 1)
    executes = [each for each in rig.peer.said if each["op"] == "execute"]
    assert executes == [executes[0]] * 3


@pytest.mark.parametrize("code", ["superseded", "cancelled", "finished"])
async def test_a_refused_run_ends_quietly(rig: Any, rid: str, code: str) -> None:
    """409 ends the vendor run as done, without running a step."""
    rig.peer.overrides.append(refusing(409, 1, "advance", code=code))
    rig.peer.run(rid, ("steps", "a"))
    run = await rig.api.ended(await rig.api.deliver(rid))
    assert run["status"] == "COMPLETED"
    assert run["output"] == {"turnout": 1, "run_id": rid, "ended": code}
    assert rig.peer.asked(rid) == ["advance"]


async def test_another_definition_fails_the_vendor_attempt(rig: Any, rid: str) -> None:
    """426 spends the infrastructure budget: the next vendor attempt tries again."""
    rig.peer.overrides.append(refusing(426, 1, "advance", code="definition_mismatch"))
    rig.peer.run(rid, ("steps", "a"))
    run = await rig.api.ended(await rig.api.deliver(rid))
    assert (run["status"], run["attemptCount"]) == ("COMPLETED", 2)
    attempts = [each["provider_attempt"] for each in rig.peer.said if each["op"] != "report"]
    assert attempts == [1, 2, 2]
    assert rig.peer.events(rid) == ["started", "started", "completed"]


async def test_a_run_whose_budget_is_used_up_is_reported_as_failed(rig: Any, rid: str) -> None:
    """An attempt that another one follows is no failure of the run; the last one is."""
    rig.peer.overrides.append(refusing(426, 3, "advance", code="definition_mismatch"))
    rig.peer.run(rid, ("steps", "a"))
    run = await rig.api.ended(await rig.api.deliver(rid, maxAttempts=2))
    assert (run["status"], run["attemptCount"]) == ("FAILED", 2)
    assert run["error"]["name"] == "TurnoutService[definition_mismatch]"
    assert rig.peer.events(rid) == ["started", "started", "failed"]


@pytest.mark.parametrize("state", ["failed", "timed_out"])
async def test_a_run_that_failed_fails_at_the_vendor_without_retry(
    rig: Any, rid: str, state: str
) -> None:
    """Only a failed run fails at the vendor, and the vendor does not try it again."""
    script = rig.peer.run(rid, ("steps", "a"))
    script.state, script.error = state, {"name": "StepFailed", "message": "a broke"}
    run = await rig.api.ended(await rig.api.deliver(rid))
    assert (run["status"], run["attemptCount"]) == ("FAILED", 1)
    assert (run["error"]["name"], run["error"]["message"]) == ("StepFailed", "a broke")
    assert rig.peer.events(rid) == ["started", "failed"]


async def test_a_cancel_closes_the_calls_and_is_reported(rig: Any, rid: str) -> None:
    """Cancelling an executing run closes its step's call; the service hears of it."""
    rig.peer.slow["a"] = 30.0
    rig.peer.run(rid, ("steps", "a"))
    vendor_run = await rig.api.deliver(rid)
    async with asyncio.timeout(60):
        while rig.peer.executing == 0:
            await asyncio.sleep(0.02)
    await rig.api.post(f"/api/v2/runs/{vendor_run}/cancel")
    assert (await rig.api.run(vendor_run))["status"] == "CANCELED"
    async with asyncio.timeout(60):
        while "cancelled" not in rig.peer.events(rid) or not rig.peer.hung_up:
            await asyncio.sleep(0.02)
    assert rig.peer.events(rid) == ["started", "cancelled"]
    async with asyncio.timeout(60):
        while "finishedAt" not in await rig.api.run(vendor_run):
            await asyncio.sleep(0.02)


async def test_a_cancel_reaches_a_parked_run(rig: Any, rid: str) -> None:
    """A run that waits on a token is stopped too."""
    rig.peer.run(rid, ("event",))
    vendor_run = await rig.api.deliver(rid)
    await parked(rig, rid)
    await rig.api.post(f"/api/v2/runs/{vendor_run}/cancel")
    async with asyncio.timeout(60):
        while "finishedAt" not in await rig.api.run(vendor_run):
            await asyncio.sleep(0.02)
    assert rig.peer.events(rid) == ["started", "cancelled"]


async def test_a_schedules_tick_is_told_by_its_nominal_time(rig: Any) -> None:
    """A scheduled run only claims the slot: the time in the payload, never the clock."""
    payload = {
        "scheduleId": "sched_1",
        "type": "IMPERATIVE",
        "timestamp": "2026-11-20T18:42:00.000Z",
        "externalId": "daily",
        "timezone": "UTC",
        "upcoming": [],
    }
    vendor_run = await rig.api.trigger("tick", payload)
    assert (await rig.api.ended(vendor_run))["status"] == "COMPLETED"
    (tick,) = rig.peer.ticks
    assert (tick["schedule"], tick["slot"]) == ("daily", 1795200120000)
    assert tick["provider_run_id"] == vendor_run


async def test_steps_show_as_spans_under_their_attempt(rig: Any, rid: str) -> None:
    """The trace has the attempt below the run and each step's attempt below that."""
    rig.peer.run(rid, ("steps", "load"), ("steps", "store"))
    vendor_run = await rig.api.deliver(rid)
    await rig.api.ended(vendor_run)
    async with asyncio.timeout(60):
        while True:
            trace = (await rig.api.get(f"/api/v1/runs/{vendor_run}/trace"))["trace"]["rootSpan"]
            if trace["children"]:
                break
            await asyncio.sleep(0.05)
    (attempt,) = trace["children"]
    assert attempt["data"]["message"] == "Attempt 1"
    names = [step["data"]["message"] for step in attempt["children"]]
    assert names == ["load #1", "store #1"]
    assert attempt["children"][0]["data"]["properties"]["turnout.outcome"] == "completed"


async def test_a_killed_server_goes_on_where_it_was(own_rig: Any) -> None:
    """Runs, tokens and what was acknowledged survive SIGKILL; the run completes on attempt 1."""
    rig = own_rig
    rig.peer.run("parked", ("event",), ("steps", "b"))
    vendor_run = await rig.api.deliver("parked")
    await parked(rig, "parked")
    rig.server.kill()
    async with rig.another_server():
        await wake(rig, "parked")
        run = await rig.api.ended(vendor_run)
    assert (run["status"], run["attemptCount"]) == ("COMPLETED", 1)


async def test_runs_of_a_killed_worker_are_cancelled(own_rig: Any, rid: str) -> None:
    """A worker that dies by SIGKILL loses its runs, as the vendor's CLI does; none is retried."""
    rig = own_rig
    rig.peer.slow["a"] = 30.0
    rig.peer.run(rid, ("steps", "a"))
    vendor_run = await rig.api.deliver(rid)
    async with asyncio.timeout(60):
        while rig.peer.executing == 0:
            await asyncio.sleep(0.02)
    rig.standin.kill()
    run = await rig.api.ended(vendor_run)
    assert run["status"] == "CANCELED"


async def test_a_worker_that_stops_says_goodbye(own_rig: Any, rid: str) -> None:
    """A stopped worker's runs end at once."""
    rig = own_rig
    rig.peer.run(rid, ("event",))
    vendor_run = await rig.api.deliver(rid)
    await parked(rig, rid)
    rig.standin.process.terminate()
    run = await rig.api.ended(vendor_run, 3.0)
    assert run["status"] == "CANCELED"
    assert rig.standin.process.wait(5) == 0


async def test_parked_runs_keep_their_slots(rig: Any) -> None:
    """As many as there are slots share one process; another runs once one of them has ended."""
    for index in range(CONCURRENCY):
        rig.peer.run(f"w{index}", ("event",), ("steps", "b"))
    parked_runs = [await rig.api.deliver(f"w{index}") for index in range(CONCURRENCY)]
    for index in range(CONCURRENCY):
        await parked(rig, f"w{index}")
    rig.peer.run("late", ("steps", "a"))
    late = await rig.api.deliver("late")
    assert (await rig.api.run(late))["status"] == "QUEUED"
    await wake(rig, "w0")
    assert (await rig.api.ended(late))["status"] == "COMPLETED"
    for index in range(1, CONCURRENCY):
        await wake(rig, f"w{index}")
    for run in parked_runs:
        assert (await rig.api.ended(run))["status"] == "COMPLETED"


async def test_a_run_that_executes_too_long_is_stopped_as_timed_out(rig: Any, rid: str) -> None:
    """The vendor's own limit ends the run; the service hears of it."""
    rig.peer.slow["slow"] = 30.0
    rig.peer.run(rid, ("steps", "slow"))
    run = await rig.api.ended(await rig.api.deliver(rid, maxDuration=1))
    assert run["status"] == "TIMED_OUT"
    assert rig.peer.events(rid) == ["started", "timed_out"]


async def test_a_payload_without_a_delivery_fails_by_name(rig: Any) -> None:
    """A run that Turnout did not send is refused, not guessed at."""
    run = await rig.api.ended(await rig.api.trigger("work", {"hello": "world"}))
    assert (run["status"], run["error"]["name"]) == ("FAILED", "InvalidPayload")


async def test_progress_is_shown_in_the_runs_metadata(rig: Any, rid: str) -> None:
    """The last progress stands in the metadata of an ended run."""
    rig.peer.run(rid, ("steps", "a"), ("steps", "b"))
    run = await rig.api.ended(await rig.api.deliver(rid))
    assert run["metadata"] == {"turnout": {"done": 2, "current": []}}

"""The rules of the offline server: queues, attempts, waits, schedules; its clock is turned."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from turnout_triggerdev_double.server.batching import MADE_AFTER
from turnout_triggerdev_double.server.main import ACCESS_TOKEN, PROJECT_REF

pytestmark = pytest.mark.asyncio(loop_scope="module")
RETRY = {"maxAttempts": 3, "minTimeoutInMs": 1000}
FAILURE = {"type": "BUILT_IN_ERROR", "name": "Error", "message": "no", "stackTrace": ""}
TOKENS = "/api/v1/waitpoints/tokens"


@asynccontextmanager
async def connected(server: Any) -> AsyncIterator[None]:
    """A worker's presence."""
    headers = dict(server.api.client.headers)
    async with (
        httpx.AsyncClient(base_url=server.url, headers=headers) as client,
        client.stream("GET", "/engine/v1/dev/presence") as stream,
    ):
        lines = stream.aiter_lines()
        while not (await anext(lines)).startswith("event: start"):
            pass
        yield
        await lines.aclose()


async def taken(server: Any) -> list[str]:
    """The runs that the server hands out now."""
    return [message["run"]["friendlyId"] for message in await server.dequeue()]


async def status(server: Any, run: str) -> str:
    """The run's status."""
    return str((await server.api.run(run))["status"])


async def fail(server: Any, begun: Any, delay: int | None) -> Any:
    """End the attempt with a failure that asks for a retry after so many milliseconds."""
    retry = None if delay is None else {"timestamp": 0, "delay": delay}
    return await server.complete(begun, ok=False, error=FAILURE, retry=retry)


# Queues


async def test_a_queue_of_one_hands_out_one_run_at_a_time(offline: Any) -> None:
    """The next run goes when the one before has ended."""
    queue = {"name": "one", "concurrencyLimit": 1}
    await offline.register({"id": "t", "queue": {"name": "one"}}, queues=[queue])
    first, second = await offline.api.trigger("t"), await offline.api.trigger("t")
    (message,) = await offline.dequeue()
    begun = await offline.start(message)
    assert await taken(offline) == []
    await offline.complete(begun)
    assert (message["run"]["friendlyId"], await taken(offline)) == (first, [second])


async def test_a_queues_limit_counts_per_concurrency_key(offline: Any) -> None:
    """Runs of other keys do not wait for each other."""
    queue = {"name": "one", "concurrencyLimit": 1}
    await offline.register({"id": "t", "queue": {"name": "one"}}, queues=[queue])
    runs = [await offline.api.trigger("t", concurrencyKey=key) for key in ("a", "a", "b")]
    assert await taken(offline) == [runs[0], runs[2]]


async def test_a_tasks_own_limits_count_per_key_and_in_total(offline: Any) -> None:
    """PerKey caps each key, total caps all of them."""
    inline = {"perKey": 1, "total": 2}
    await offline.register({"id": "t", "concurrency": {"inline": inline}})
    runs = [await offline.api.trigger("t", concurrencyKey=key) for key in ("a", "a", "b", "c")]
    assert await taken(offline) == [runs[0], runs[2]]
    shown = await offline.api.get("/api/v1/concurrency-limits/task%2Ft")
    assert (shown["running"], shown["total"]["current"]) == (2, 2)
    await offline.api.post("/api/v1/concurrency-limits/task%2Ft/override", {"total": 3})
    assert await taken(offline) == [runs[3]]


async def test_a_named_limit_is_shared_by_tasks(offline: Any) -> None:
    """Runs of two tasks that name one limit share its slots."""
    tasks = [{"id": each, "concurrency": {"limits": ["db"]}} for each in ("a", "b")]
    await offline.register(*tasks, concurrencyLimits=[{"name": "db", "total": 1}])
    first = await offline.api.trigger("a")
    await offline.api.trigger("b")
    assert await taken(offline) == [first]


async def test_the_environments_limit_holds_over_all_queues(served_with: Any) -> None:
    """No more runs execute than the environment allows."""
    async with served_with(concurrency=2) as server:
        await server.register({"id": "a"}, {"id": "b"})
        for task in ("a", "b", "a"):
            await server.api.trigger(task)
        assert len(await taken(server)) == 2
        assert await taken(server) == []


async def test_a_paused_queue_hands_out_nothing_until_it_is_resumed(offline: Any) -> None:
    """Runs stay QUEUED meanwhile."""
    await offline.register({"id": "t"})
    path = "/api/v1/queues/t/pause"
    await offline.api.post(path, {"type": "task", "action": "pause"})
    run = await offline.api.trigger("t")
    assert await taken(offline) == []
    await offline.api.post(path, {"type": "task", "action": "resume"})
    assert await taken(offline) == [run]


async def test_priority_is_a_head_start_in_seconds(offline: Any) -> None:
    """A run with priority goes before those triggered up to so many seconds earlier."""
    await offline.register({"id": "t"})
    early = await offline.api.trigger("t")
    await offline.turn(5)
    middle = await offline.api.trigger("t")
    late = await offline.api.trigger("t", priority=6)
    assert await taken(offline) == [late, early, middle]


async def test_a_waiting_poll_is_answered_when_work_arrives(offline: Any) -> None:
    """A worker may let its dequeue wait."""
    await offline.register({"id": "t"})
    body = {"currentWorker": "w", "oldWorkers": [], "waitMs": 20_000, "maxRuns": 5}
    poll = asyncio.create_task(offline.api.post("/engine/v1/dev/dequeue", body))
    await asyncio.sleep(0.1)
    run = await offline.api.trigger("t")
    async with asyncio.timeout(5):
        (message,) = (await poll)["dequeuedMessages"]
    assert message["run"]["friendlyId"] == run


async def test_runs_wait_for_a_worker_that_knows_their_task(offline: Any) -> None:
    """PENDING_VERSION ends when a version with the task registers; QUEUED without any worker."""
    early = await offline.api.trigger("later")
    assert await status(offline, early) == "QUEUED"
    await offline.register({"id": "t"})
    assert await status(offline, early) == "PENDING_VERSION"
    await offline.register({"id": "t"}, {"id": "later"})
    assert await taken(offline) == [early]


async def test_a_changed_worker_is_a_new_version(offline: Any) -> None:
    """The same tasks are the same version, others the day's next; runs may be locked to one."""
    first = await offline.register({"id": "t"})
    assert (await offline.register({"id": "t"}))["version"] == first["version"]
    second = await offline.register({"id": "t"}, {"id": "u"})
    assert first["version"].split(".")[1] == "1"
    assert second["version"].split(".")[1] == "2"
    await offline.api.trigger("t", lockToVersion=first["version"])
    (message,) = await offline.dequeue()
    assert message["backgroundWorker"]["friendlyId"] == first["id"]


# Attempts


async def test_a_stale_snapshot_is_refused(offline: Any) -> None:
    """Every transition makes a new snapshot; start and complete with an older one are 409."""
    await offline.register({"id": "t"})
    run = await offline.api.trigger("t")
    (message,) = await offline.dequeue()
    begun = await offline.start(message)
    base = f"/engine/v1/dev/runs/{run}/snapshots/{message['snapshot']['friendlyId']}/attempts"
    assert (await offline.api.call("POST", f"{base}/start", {})).status_code == 409
    stale = await offline.api.call("POST", f"{base}/complete", {"completion": {"ok": True}})
    assert stale.status_code == 409
    assert (await offline.complete(begun))["attemptStatus"] == "RUN_FINISHED"


async def test_a_short_retry_stays_in_place_and_keeps_its_slot(offline: Any) -> None:
    """Under 30 s the same worker goes on; the attempt's number grows with the next start."""
    queue = {"name": "one", "concurrencyLimit": 1}
    task = {"id": "t", "queue": {"name": "one"}, "retry": RETRY}
    await offline.register(task, queues=[queue])
    run, _ = await offline.api.trigger("t"), await offline.api.trigger("t")
    begun = await offline.begin()
    ended = await fail(offline, begun, 8_000)
    assert (ended["attemptStatus"], ended["run"]["attemptNumber"]) == ("RETRY_IMMEDIATELY", 1)
    assert await taken(offline) == []
    again = await offline.start(ended | {"run": {"friendlyId": run}})
    assert again["execution"]["attempt"]["number"] == 2
    assert await status(offline, run) == "EXECUTING"


async def test_a_long_retry_goes_through_the_queue_and_gives_its_slot_away(offline: Any) -> None:
    """From 30 s on another run may start meanwhile."""
    queue = {"name": "one", "concurrencyLimit": 1}
    task = {"id": "t", "queue": {"name": "one"}, "retry": RETRY}
    await offline.register(task, queues=[queue])
    first, second = await offline.api.trigger("t"), await offline.api.trigger("t")
    begun = await offline.begin()
    assert (await fail(offline, begun, 31_000))["attemptStatus"] == "RETRY_QUEUED"
    other = await offline.begin()
    assert other["run"]["friendlyId"] == second
    await offline.complete(other)
    assert await taken(offline) == []
    await offline.turn(31)
    assert await taken(offline) == [first]


async def test_attempts_end_with_the_smaller_of_both_limits(offline: Any) -> None:
    """The run's maxAttempts goes before the task's; without either there is no retry."""
    await offline.register({"id": "t", "retry": RETRY}, {"id": "plain"})
    run = await offline.api.trigger("t", maxAttempts=1)
    assert (await fail(offline, await offline.begin(), 100))["attemptStatus"] == "RUN_FINISHED"
    assert await status(offline, run) == "FAILED"
    await offline.api.trigger("plain")
    assert (await fail(offline, await offline.begin(), 100))["attemptStatus"] == "RUN_FINISHED"


async def test_a_crash_goes_back_through_the_queue(offline: Any) -> None:
    """For a process that died the server reads the task's retry settings itself."""
    await offline.register({"id": "t", "retry": RETRY})
    run = await offline.api.trigger("t")
    begun = await offline.begin()
    crash = {"type": "INTERNAL_ERROR", "code": "TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE"}
    ended = await offline.complete(begun, ok=False, error=crash)
    assert ended["attemptStatus"] == "RETRY_QUEUED"
    for _ in range(2):
        await offline.turn(10)
        ended = await offline.complete(await offline.begin(), ok=False, error=crash)
    assert ended["attemptStatus"] == "RUN_FINISHED"
    assert await status(offline, run) == "CRASHED"


async def test_a_worker_that_falls_silent_loses_its_run(offline: Any) -> None:
    """Not started, it returns to the queue after a minute; started, it is CANCELED after five."""
    await offline.register({"id": "t"})
    run = await offline.api.trigger("t")
    await offline.dequeue()
    await offline.turn(61)
    begun = await offline.begin()
    await offline.turn(200)
    path = f"/engine/v1/dev/runs/{run}/snapshots/{begun['snapshot']['friendlyId']}/heartbeat"
    await offline.api.post(path)
    await offline.turn(200)
    assert await status(offline, run) == "EXECUTING"
    await offline.turn(101)
    assert await status(offline, run) == "CANCELED"


async def test_a_cancel_that_no_worker_answers_is_forced_after_a_minute(offline: Any) -> None:
    """CANCELED at once; ended, and its slot free, a minute later."""
    await offline.register({"id": "t"})
    run = await offline.api.trigger("t")
    await offline.begin()
    await offline.api.post(f"/api/v2/runs/{run}/cancel")
    assert "finishedAt" not in await offline.api.run(run)
    await offline.turn(61)
    assert "finishedAt" in await offline.api.run(run)


async def test_a_cancel_takes_the_children_along(offline: Any) -> None:
    """Live children of a cancelled run are cancelled, ended ones stay."""
    await offline.register({"id": "t"})
    parent = await offline.api.trigger("t")
    await offline.begin()
    done = await offline.api.trigger("t", parentRunId=parent)
    await offline.complete(await offline.begin())
    child = await offline.api.trigger("t", parentRunId=parent)
    await offline.api.post(f"/api/v2/runs/{parent}/cancel")
    assert [await status(offline, run) for run in (done, child)] == ["COMPLETED", "CANCELED"]


# Delay, time to live, keys


async def test_a_delayed_run_starts_its_time_to_live_after_the_delay(offline: Any) -> None:
    """DELAYED, then QUEUED, then EXPIRED."""
    run = await offline.api.trigger("t", delay="1h", ttl="5m")
    assert await status(offline, run) == "DELAYED"
    await offline.turn(3600)
    assert await status(offline, run) == "QUEUED"
    await offline.turn(299)
    assert await status(offline, run) == "QUEUED"
    await offline.turn(1)
    assert await status(offline, run) == "EXPIRED"


async def test_a_run_without_time_to_live_never_expires(offline: Any) -> None:
    """Zero opts out of the ten minutes that dev has by default."""
    forever, usual = await offline.api.trigger("t", ttl=0), await offline.api.trigger("t")
    await offline.turn(601)
    assert await status(offline, forever) == "QUEUED"
    assert await status(offline, usual) == "EXPIRED"


async def test_zero_in_the_definition_is_no_time_to_live(offline: Any) -> None:
    """The server drops it there, so the ten minutes of dev hold; at the trigger it is no limit."""
    await offline.register({"id": "t", "ttl": 0}, {"id": "u", "ttl": 3600})
    zero, hour = await offline.api.trigger("t"), await offline.api.trigger("u")
    forever = await offline.api.trigger("t", ttl=0)
    await offline.turn(601)
    assert await status(offline, zero) == "EXPIRED"
    assert await status(offline, hour) == "QUEUED"
    await offline.turn(3600)
    assert await status(offline, hour) == "EXPIRED"
    assert await status(offline, forever) == "QUEUED"


async def test_an_idempotency_key_ends_with_its_time(offline: Any) -> None:
    """Within it the same run answers, after it a new one."""
    options = {"idempotencyKey": "k", "idempotencyKeyTTL": "1m", "ttl": 0}
    first = await offline.api.trigger("t", **options)
    assert await offline.api.trigger("t", **options) == first
    assert await offline.api.trigger("u", **options) != first
    await offline.turn(61)
    assert await offline.api.trigger("t", **options) != first


# Waits


async def test_a_token_lets_its_run_go_on_with_the_output(offline: Any) -> None:
    """The latest snapshot is EXECUTING with the waitpoint; a second completion changes nothing."""
    await offline.register({"id": "t"})
    run = await offline.api.trigger("t")
    await offline.begin()
    token = (await offline.api.post(TOKENS, {"timeout": "1h"}))["id"]
    await offline.api.post(f"/engine/v1/runs/{run}/waitpoints/tokens/{token}/wait")
    assert (await offline.latest(run))["snapshot"]["executionStatus"] == "EXECUTING_WITH_WAITPOINTS"
    await offline.api.post(f"{TOKENS}/{token}/complete", {"data": {"ok": 1}})
    await offline.api.post(f"{TOKENS}/{token}/complete", {"data": {"ok": 2}})
    latest = await offline.latest(run)
    assert latest["snapshot"]["executionStatus"] == "EXECUTING"
    (done,) = latest["completedWaitpoints"]
    assert (done["friendlyId"], json.loads(done["output"])) == (token, {"json": {"ok": 1}})


async def test_a_token_that_times_out_says_so(offline: Any) -> None:
    """The wait ends with the vendor's timeout error."""
    await offline.register({"id": "t"})
    run = await offline.api.trigger("t")
    await offline.begin()
    token = (await offline.api.post(TOKENS, {"timeout": "30s"}))["id"]
    await offline.api.post(f"/engine/v1/runs/{run}/waitpoints/tokens/{token}/wait")
    await offline.turn(30)
    (done,) = (await offline.latest(run))["completedWaitpoints"]
    assert done["outputIsError"]
    assert json.loads(done["output"])["code"] == "TRIGGER_WAITPOINT_TIMEOUT"
    assert (await offline.api.get(f"{TOKENS}/{token}"))["status"] == "TIMED_OUT"


async def test_anyone_who_knows_the_callback_may_complete_a_token(offline: Any) -> None:
    """The address carries the right; a guessed one is not found."""
    made = await offline.api.post(TOKENS, {"idempotencyKey": "once"})
    assert (await offline.api.post(TOKENS, {"idempotencyKey": "once"}))["isCached"]
    async with httpx.AsyncClient() as anyone:
        wrong = made["url"][:-4] + "0000"
        assert (await anyone.post(wrong, json={"a": 1})).status_code == 404
        assert (await anyone.post(made["url"], json={"a": 1})).status_code == 200
    seen = await offline.api.get(f"{TOKENS}/{made['id']}")
    assert (seen["status"], json.loads(seen["output"])) == ("COMPLETED", {"json": {"a": 1}})


async def test_a_wait_for_a_time_ends_then(offline: Any) -> None:
    """wait/duration blocks the run until its date."""
    await offline.register({"id": "t"})
    run = await offline.api.trigger("t")
    await offline.begin()
    body = {"date": "2026-11-20T18:34:00.000Z"}
    await offline.api.post(f"/engine/v1/runs/{run}/wait/duration", body)
    await offline.turn(59)
    assert (await offline.latest(run))["snapshot"]["executionStatus"] == "EXECUTING_WITH_WAITPOINTS"
    await offline.turn(1)
    assert (await offline.latest(run))["completedWaitpoints"][0]["type"] == "DATETIME"


async def test_a_parent_waits_for_its_whole_batch_in_order(offline: Any) -> None:
    """Every item has its index, also one that failed and one whose key was known."""
    await offline.register({"id": "p"}, {"id": "c"})
    parent = await offline.api.trigger("p")
    await offline.begin()
    body = {"runCount": 2, "parentRunId": parent, "resumeParentOnCompletion": True}
    batch = (await offline.api.post("/api/v3/batches", body))["id"]
    for index in range(2):
        line = json.dumps({"index": index, "task": "c", "payload": {"n": index}})
        path = f"/api/v3/batches/{batch}/items"
        sealed = (await offline.api.client.post(path, content=line)).json()["sealed"]
        await offline.turn(MADE_AFTER / 1000)
        if index == 0:
            await offline.complete(await offline.begin(), output="0", outputType="text/plain")
            assert (await offline.latest(parent))["completedWaitpoints"] == []
    assert sealed
    await fail(offline, await offline.begin(), None)
    done = (await offline.latest(parent))["completedWaitpoints"]
    assert [(each["index"], each["outputIsError"]) for each in done] == [(0, False), (1, True)]
    assert done[0]["completedByTaskRun"]["batch"]["friendlyId"] == batch


# Schedules


async def test_a_schedule_starts_runs_at_its_ticks_in_its_zone(offline: Any) -> None:
    """Runs are created up to 30 s early, created at the tick, with the tick in the payload."""
    await offline.register({"id": "s", "triggerSource": "schedule"})
    wanted = {
        "task": "s",
        "cron": "* * * * *",
        "deduplicationKey": "d",
        "externalId": "daily",
        "timezone": "Europe/Paris",
        "window": "0m",
    }
    made = await offline.api.post("/api/v1/schedules", wanted)
    assert made["nextRun"] == made["nextRunEffectiveAt"] == "2026-11-20T18:34:00.000Z"
    async with connected(offline):
        await offline.turn(31)
        (run,) = (await offline.api.get(f"/api/v1/runs?filter[schedule]={made['id']}"))["data"]
        assert (run["createdAt"], run["status"]) == ("2026-11-20T18:34:00.000Z", "QUEUED")
        assert await taken(offline) == []
        await offline.turn(29)
        begun = await offline.begin()
        payload = json.loads(begun["execution"]["run"]["payload"])
        assert payload["meta"]["values"]["timestamp"] == ["Date"]
        assert payload["json"]["timestamp"] == "2026-11-20T18:34:00.000Z"
        assert payload["json"]["externalId"] == "daily"
        assert len(payload["json"]["upcoming"]) == 10
        await offline.api.call("DELETE", f"/api/v1/schedules/{made['id']}")
        await offline.turn(120)
        runs = (await offline.api.get("/api/v1/runs"))["data"]
        assert len(runs) == 1


async def test_a_schedule_without_a_window_is_spread_over_its_gap(offline: Any) -> None:
    """Who forgets the window does not get the exact time."""
    await offline.register({"id": "s", "triggerSource": "schedule"})
    spreads = set()
    for index in range(4):
        wanted = {"task": "s", "cron": "0 4 * * *", "deduplicationKey": f"d{index}"}
        made = await offline.api.post("/api/v1/schedules", wanted)
        assert made["nextRun"] == "2026-11-21T04:00:00.000Z"
        assert "2026-11-21T04:00" <= made["nextRunEffectiveAt"] < "2026-11-21T05:00"
        spreads.add(made["nextRunEffectiveAt"])
    assert len(spreads) > 1


async def test_a_schedule_starts_nothing_while_no_worker_is_connected(offline: Any) -> None:
    """Missed ticks are gone; they are not caught up."""
    await offline.register({"id": "s", "triggerSource": "schedule"})
    wanted = {"task": "s", "cron": "* * * * *", "deduplicationKey": "d", "window": "0m"}
    await offline.api.post("/api/v1/schedules", wanted)
    await offline.turn(300)
    async with connected(offline):
        assert (await offline.api.get("/api/v1/runs"))["data"] == []
        await offline.turn(60)
        assert len((await offline.api.get("/api/v1/runs"))["data"]) == 1


@pytest.mark.parametrize(("cron", "words"), [("*/5 * * * *", "Every 5 minutes"), ("0 3 * * 1", "")])
async def test_a_cron_is_described(offline: Any, cron: str, words: str) -> None:
    """In the real server's words where they are known, else in words all the same."""
    await offline.register({"id": "s", "triggerSource": "schedule"})
    wanted = {"task": "s", "cron": cron, "deduplicationKey": "d"}
    made = await offline.api.post("/api/v1/schedules", wanted)
    assert words in made["generator"]["description"]


# What is kept, and what is limited


async def test_a_restart_keeps_everything_that_was_answered(
    tmp_path: Path, served_with: Any
) -> None:
    """Queue, slots, delays, tokens, keys, schedules and variables go on in a new process."""
    async with served_with(tmp_path) as server:
        queue = {"name": "one", "concurrencyLimit": 1}
        scheduled = {"id": "s", "triggerSource": "schedule"}
        tasks = [{"id": "t", "queue": {"name": "one"}}, scheduled, {"id": "f"}]
        await server.register(*tasks, queues=[queue])
        wanted = {"task": "s", "cron": "0 4 * * *", "deduplicationKey": "d"}
        schedule = (await server.api.post("/api/v1/schedules", wanted))["id"]
        held = await server.api.trigger("t", {"a": 1}, idempotencyKey="k")
        begun = await server.begin()
        queued = await server.api.trigger("t")
        later = await server.api.trigger("t", delay="1h")
        token = (await server.api.post(TOKENS, {"timeout": "1h"}))["id"]
        await server.api.post(f"/engine/v1/runs/{held}/waitpoints/tokens/{token}/wait")
        failed = await server.api.trigger("f", idempotencyKey="f")
        messages = {m["run"]["friendlyId"]: m for m in await server.dequeue()}
        await fail(server, await server.start(messages[failed]), None)
        before = await server.api.run(held)
    async with served_with(tmp_path) as server:
        assert await server.api.run(held) == before
        assert await server.api.trigger("t", idempotencyKey="k") == held
        assert await server.api.trigger("f", idempotencyKey="f", delay="1d") != failed
        assert await taken(server) == []
        await server.api.post(f"{TOKENS}/{token}/complete", {"data": 1})
        assert (await server.latest(held))["snapshot"]["executionStatus"] == "EXECUTING"
        await server.complete(begun)
        assert await taken(server) == [queued]
        assert (await server.api.get(f"/api/v1/schedules/{schedule}"))["active"]
        await server.turn(3600)
        assert await status(server, later) == "QUEUED"


async def test_a_limited_server_says_when_to_come_back(served_with: Any) -> None:
    """429 is problem+json with the reset in milliseconds and in seconds, and no Retry-After."""
    async with served_with(limit="3/2/10") as server:
        answers = [await server.api.call("GET", "/api/v1/runs") for _ in range(5)]
        assert [each.status_code for each in answers] == [200, 200, 200, 429, 429]
        assert [each.headers["x-ratelimit-remaining"] for each in answers[:3]] == ["2", "1", "0"]
        body = answers[3].json()
        assert answers[3].headers["content-type"].startswith("application/problem+json")
        assert "retry-after" not in answers[3].headers
        assert (body["status"], body["limit"], body["remaining"]) == (429, 3, -1)
        assert body["secondsUntilReset"] == 10.0
        server.world.clock.turn(10_000)
        assert (await server.api.call("GET", "/api/v1/runs")).status_code == 200


async def test_metadata_takes_all_operations(offline: Any) -> None:
    """On the run, its parent and its root; the merged document comes back."""
    await offline.register({"id": "t"})
    parent = await offline.api.trigger("t")
    child = await offline.api.trigger("t", parentRunId=parent)
    operations = [
        {"type": "set", "key": "a", "value": 1},
        {"type": "increment", "key": "a", "value": 2},
        {"type": "append", "key": "list", "value": "x"},
        {"type": "append", "key": "list", "value": "y"},
        {"type": "remove", "key": "list", "value": "x"},
        {"type": "set", "key": "$.deep.er", "value": True},
        {"type": "set", "key": "gone", "value": 1},
        {"type": "delete", "key": "gone"},
    ]
    body = {"operations": operations, "parentOperations": [operations[0]]}
    answer = await offline.api.call("PUT", f"/api/v1/runs/{child}/metadata", body)
    assert answer.json()["metadata"] == {"a": 3, "list": ["y"], "deep": {"er": True}}
    assert (await offline.api.run(parent))["metadata"] == {"a": 1}


async def test_large_payloads_go_by_reference(offline: Any) -> None:
    """A packet is put and fetched by addresses of the server; forged addresses are refused."""
    where = (await offline.api.call("PUT", "/api/v2/packets/a/b.json")).json()
    async with httpx.AsyncClient() as client:
        assert (await client.put(where["presignedUrl"], content=b"[1]")).status_code == 200
        fetched = await offline.api.get("/api/v1/packets/a/b.json")
        assert (await client.get(fetched["presignedUrl"])).content == b"[1]"
        forged = where["presignedUrl"].replace("b.json", "c.json")
        assert (await client.get(forged)).status_code == 403


async def test_a_body_beyond_the_limit_is_refused(offline: Any) -> None:
    """413, before it is read whole."""
    body = {"payload": "x" * (3 * 1024 * 1024)}
    answer = await offline.api.call("POST", "/api/v1/tasks/t/trigger", body)
    assert (answer.status_code, answer.json()) == (413, {"error": "Request body too large"})


async def test_spans_and_logs_make_a_trace(offline: Any) -> None:
    """OTLP in JSON is kept by run and shown as tree and as list."""
    await offline.register({"id": "t"})
    run = await offline.api.trigger("t")
    (message,) = await offline.dequeue()
    _, trace, root, _ = message["run"]["traceContext"]["traceparent"].split("-")
    mine = {"key": "ctx.run.id", "value": {"stringValue": run}}
    start = 1_795_199_580_000_000_000
    span = {
        "traceId": trace,
        "spanId": "a" * 16,
        "parentSpanId": root,
        "name": "Attempt 1",
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + 5_000_000),
        "attributes": [mine, {"key": "n", "value": {"intValue": "3"}}],
        "status": {"code": 2},
    }
    export = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    await offline.api.post("/otel/v1/traces", export)
    record = {
        "traceId": trace,
        "spanId": "a" * 16,
        "body": {"stringValue": "hello"},
        "timeUnixNano": str(start + 1),
        "attributes": [mine],
    }
    await offline.api.post(
        "/otel/v1/logs", {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
    )
    tree = (await offline.api.get(f"/api/v1/runs/{run}/trace"))["trace"]["rootSpan"]
    (attempt,) = tree["children"]
    assert (attempt["data"]["isError"], attempt["data"]["duration"]) == (True, 5.0)
    assert attempt["data"]["properties"] == {"n": 3}
    assert attempt["children"][0]["data"]["message"] == "hello"
    events = (await offline.api.get(f"/api/v1/runs/{run}/events"))["events"]
    assert [each["message"] for each in events] == ["t", "Attempt 1", "hello"]
    one = await offline.api.get(f"/api/v1/runs/{run}/spans/{'a' * 16}")
    assert one["properties"] == {"n": 3}


async def test_the_clis_socket_hears_of_runs_that_moved(offline: Any) -> None:
    """socket.io over a websocket: open, connect, subscribe, `run:notify`."""
    websockets = pytest.importorskip("websockets.asyncio.client")
    await offline.register({"id": "t"})
    run = await offline.api.trigger("t")
    await offline.begin()
    url = offline.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    headers = {"Authorization": offline.api.client.headers["authorization"]}
    async with websockets.connect(url, additional_headers=headers) as socket:
        assert (await socket.recv()).startswith("0{")
        await socket.send("40/dev-worker,")
        assert (await socket.recv()).startswith("40/dev-worker,")
        event = ["run:subscribe", {"version": "1", "runFriendlyIds": [run]}]
        await socket.send("42/dev-worker," + json.dumps(event))
        await asyncio.sleep(0.1)
        await offline.api.post(f"/api/v2/runs/{run}/cancel")
        async with asyncio.timeout(5):
            name, body = json.loads((await socket.recv()).split(",", 1)[1])
    assert (name, body["run"]["friendlyId"]) == ("run:notify", run)


async def test_a_key_writes_the_variables_of_its_own_environment_alone(offline: Any) -> None:
    """Another environment, or project, is refused by name; an access token may have all."""
    body = {"variables": {"A": "1"}}
    root = f"/api/v1/projects/{PROJECT_REF}/envvars"
    for path, told in [
        (f"{root}/prod/import", "Invalid environment slug for this API key"),
        ("/api/v1/projects/proj_other/envvars/dev/import", "Invalid project ref for this API key"),
    ]:
        answered = await offline.api.call("POST", path, body)
        assert (answered.status_code, told in answered.json()["error"]) == (400, True)
    assert (await offline.api.call("POST", f"{root}/dev/import", body)).status_code == 200
    token = {"authorization": f"Bearer {ACCESS_TOKEN}"}
    for slug in ("prod", "staging"):
        found = await offline.api.call("GET", f"{root}/{slug}", headers=token)
        assert (found.status_code, found.json()) == (200, [])


async def test_an_imported_secret_is_shown_to_nobody(offline: Any) -> None:
    """It stays one when only its value changes; what is there is written over only by override."""
    path = f"/api/v1/projects/{PROJECT_REF}/envvars/dev"
    shown = {"name": "A", "value": "<redacted>", "isSecret": True}
    body = {"variables": {"A": "1"}, "isSecret": True}
    assert (await offline.api.call("POST", f"{path}/import", body)).status_code == 200
    assert (await offline.api.call("GET", path)).json() == [shown]
    again = await offline.api.call("POST", f"{path}/import", {"variables": {"A": "2"}})
    assert (again.status_code, again.json()["variableErrors"][0]["key"]) == (400, "A")
    over = {"variables": {"A": "2"}, "override": True}
    assert (await offline.api.call("POST", f"{path}/import", over)).status_code == 200
    await offline.api.call("PUT", f"{path}/A", {"value": "3", "isSecret": False})
    assert (await offline.api.call("GET", f"{path}/A")).json() == shown
    read = await offline.api.call("GET", f"/api/v1/projects/{PROJECT_REF}/envvars")
    assert read.json()["variables"]["A"] == "3"

"""The server answers as the real one did: statuses, headers and shapes, recorded and condensed.

`fixtures/answers.jsonl` has one exchange a line: what stays is literal, what varies is named
(`<moment>`, `<id>`, `<text>`, `<number>`).
"""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from turnout_triggerdev_double.server.batching import MADE_AFTER

pytestmark = pytest.mark.asyncio(loop_scope="module")
KNOWN = {
    each["name"]: each
    for each in map(
        json.loads, (Path(__file__).parent / "fixtures" / "answers.jsonl").read_text().splitlines()
    )
}
MOMENT = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
ID = re.compile(r"^(run|batch|sched|waitpoint|queue)_\w+$")
LITERAL = frozenset(
    (
        *("status", "error", "message", "code", "type", "triggerFunction", "taskKind", "ttl"),
        *("expression", "description", "timezone", "title", "expected", "received", "action"),
        *("taskIdentifier", "task", "generator", "outputType", "executionStatus", "name"),
        *("deduplicationKey", "externalId"),
    )
)
COUNTS = frozenset(
    (
        *("depth", "attemptCount", "runCount", "itemsAccepted", "limit", "maximum", "minimum"),
        *("currentPage", "totalPages", "count"),
    )
)
RETRY = {"maxAttempts": 3, "minTimeoutInMs": 1000}
TASKS = (
    {"id": "hello", "retry": RETRY},
    {"id": "child"},
    {"id": "parent"},
    {"id": "queued", "queue": {"name": "one-at-a-time"}},
    {"id": "imperative-scheduled", "triggerSource": "schedule"},
    {
        "id": "declarative-scheduled",
        "triggerSource": "schedule",
        "schedule": {"cron": "*/2 * * * *", "timezone": "UTC", "window": "0m"},
    },
)


def shape(value: Any, name: str = "") -> Any:
    """The value with all that varies replaced by what it is."""
    match value:
        case dict():
            return {key: shape(each, key) for key, each in value.items()}
        case list():
            if value and isinstance(value[0], dict):
                return [shape(value[0], name)]
            return value if name in {"path", "tags"} else ["..."][: len(value)]
        case str():
            kinds = {"<moment>": MOMENT, "<id>": ID}
            kind = next((kind for kind, form in kinds.items() if form.match(value)), "<text>")
            return value if kind == "<text>" and name in LITERAL else kind
        case bool() | None:
            return value
        case _:
            return value if name in COUNTS else "<number>"


def same(name: str, answer: httpx.Response, *, ignoring: tuple[str, ...] = ()) -> None:
    """The answer is as recorded under that name."""
    known = KNOWN[name]
    assert answer.status_code == known["status"], (name, answer.text)
    if "type" in known:
        assert answer.headers["content-type"].split(";")[0] == known["type"], name
    assert answer.headers.get("x-should-retry") == known.get("retry"), name
    assert ("x-trigger-jwt" in answer.headers) == known.get("token", False), name
    if isinstance(known["body"], str):
        assert known["body"] == "<page>" or answer.text == known["body"], name
        return
    seen, wanted = shape(answer.json()), known["body"]
    for key in ignoring:
        seen.pop(key, None)
        wanted.pop(key, None)
    assert seen == wanted, name


@pytest_asyncio.fixture(loop_scope="module")
async def server(offline: Any) -> Any:
    """A server that knows the tasks."""
    queues = [{"name": "one-at-a-time", "concurrencyLimit": 1}]
    await offline.register(*TASKS, queues=queues)
    return offline


async def trigger(server: Any, task: str = "hello", **body: Any) -> str:
    """The id of a new run."""
    answer = await server.api.call("POST", f"/api/v1/tasks/{task}/trigger", body)
    return str(answer.json()["id"])


async def see(server: Any, run: str, headers: dict[str, str] | None = None) -> httpx.Response:
    """The run as the API shows it."""
    response = await server.api.call("GET", f"/api/v3/runs/{run}", headers=headers)
    assert isinstance(response, httpx.Response)
    return response


async def ask(server: Any, name: str, method: str, path: str, body: Any = None, **more: Any) -> Any:
    """Ask, and compare with what was recorded under the name."""
    content = body if isinstance(body, str) else None
    if content is not None:
        answer = await server.api.client.request(method, path, content=content, **more)
    else:
        answer = await server.api.call(method, path, body, **more)
    same(name, answer)
    return answer


def as_key(token: str) -> dict[str, str]:
    """The header of a token."""
    return {"authorization": f"Bearer {token}"}


REFUSED_TRIGGERS = {
    "error-trigger-11-tags": {"payload": {}, "options": {"tags": ["a"] * 11}},
    "error-trigger-array-body": "[1,2]",
    "error-trigger-bad-machine": {"payload": {}, "options": {"machine": "giant-9x"}},
    "error-trigger-bad-maxAttempts": {"payload": {}, "options": {"maxAttempts": "x"}},
    "error-trigger-empty-body": "",
    "error-trigger-invalid-json": "{not json",
    "error-trigger-long-idempotency-key": {"options": {"idempotencyKey": "x" * 3000}},
    "error-trigger-long-tag": {"payload": {}, "options": {"tags": ["x" * 200]}},
    "error-trigger-queue-as-string": {"payload": {}, "options": {"queue": "one-at-a-time"}},
    "error-trigger-unknown-version": {"payload": {}, "options": {"lockToVersion": "20200101.1"}},
}


@pytest.mark.parametrize("name", REFUSED_TRIGGERS)
async def test_a_wrong_trigger_is_refused_in_the_real_words(server: Any, name: str) -> None:
    """Each fault of a trigger has its status and its text."""
    await ask(server, name, "POST", "/api/v1/tasks/hello/trigger", REFUSED_TRIGGERS[name])


ACCEPTED_TRIGGERS = {
    "error-trigger-bad-delay": {"payload": {}, "options": {"delay": "nonsense"}},
    "error-trigger-bad-ttl": {"payload": {}, "options": {"ttl": "nonsense"}},
    "error-trigger-bad-idem-ttl": {"options": {"idempotencyKey": "k", "idempotencyKeyTTL": "zz"}},
    "trigger-200-unknown-option": {"payload": {"a": 1}, "options": {"unknownOption": True}},
}


@pytest.mark.parametrize("name", ACCEPTED_TRIGGERS)
async def test_some_wrong_options_are_accepted_silently(server: Any, name: str) -> None:
    """Bad delays and times to live, and unknown options, change nothing."""
    await ask(server, name, "POST", "/api/v1/tasks/hello/trigger", ACCEPTED_TRIGGERS[name])


async def test_unknown_tasks_and_queues_wait_for_a_version(server: Any) -> None:
    """A task or queue that no worker has registered is accepted, and its run waits."""
    unknown = "/api/v1/tasks/no-such-task/trigger"
    answer = await ask(server, "trigger-200-unknown-task", "POST", unknown, {"payload": {"a": 1}})
    run = answer.json()["id"]
    same("retrieve-unknown-task-1-PENDING_VERSION-a0", await see(server, run))
    await ask(server, "cancel-pending-version", "POST", f"/api/v2/runs/{run}/cancel")
    same("retrieve-unknown-task-canceled-later", await see(server, run))
    options = {"queue": {"name": "does-not-exist"}}
    run = await trigger(server, payload={}, options=options)
    same("error-trigger-unknown-queue-then-retrieve", await see(server, run))
    slash = "/api/v1/tasks/hello%2Fslash/trigger"
    await ask(server, "trigger-task-id-with-slash", "POST", slash, {"payload": {"a": 1}})


async def test_who_calls_is_checked_as_by_the_real_server(server: Any) -> None:
    """No header, a wrong key, another environment's key, a personal token, a public token."""
    run = await trigger(server, payload={"name": "jwt"})
    path, bad = f"/api/v3/runs/{run}", as_key("tr_dev_wrong")
    await ask(server, "error-401-list-bad-key", "GET", "/api/v1/runs", headers=bad)
    await ask(server, "error-401-schedules-bad-key", "GET", "/api/v1/schedules", headers=bad)
    await ask(
        server, "error-401-trigger-bad-key", "POST", "/api/v1/tasks/x/trigger", {}, headers=bad
    )
    async with httpx.AsyncClient(base_url=server.url) as nobody:
        same("error-401-retrieve-no-auth", await nobody.get(path))
        same("error-401-schedules-no-auth", await nobody.get("/api/v1/schedules"))
    other = as_key("tr_prod_offline")
    await ask(server, "error-404-run-of-other-environment", "GET", path, headers=other)
    cancel = f"/api/v2/runs/{run}/cancel"
    await ask(server, "error-404-cancel-run-of-other-environment", "POST", cancel, headers=other)
    personal = as_key(server.world.project.access_token)
    await ask(server, "runs-with-pat", "GET", "/api/v1/runs", headers=personal)
    same(
        "whoami-pat",
        await server.api.call("GET", "/api/v2/whoami", headers=personal),
        ignoring=("project",),
    )


async def test_a_public_token_reads_its_run_and_no_other(server: Any) -> None:
    """The token in a trigger's answer is good for reading that run."""
    body = {"payload": {"name": "jwt"}}
    answer = await server.api.call("POST", "/api/v1/tasks/hello/trigger", body)
    await server.begin()
    token, other = as_key(answer.headers["x-trigger-jwt"]), await trigger(server, payload={})
    run = answer.json()["id"]
    same("retrieve-with-x-trigger-jwt", await see(server, run, token), ignoring=("attemptCount",))
    same("error-403-retrieve-other-run-with-jwt", await see(server, other, token))
    cancel = f"/api/v2/runs/{run}/cancel"
    await ask(server, "error-403-cancel-with-read-jwt", "POST", cancel, headers=token)


async def test_what_is_not_there_is_refused_as_by_the_real_server(server: Any) -> None:
    """Unknown runs, batches, queues, schedules and paths, and wrong methods."""
    known = await trigger(server, payload={})
    asked = [
        ("error-404-retrieve-unknown-run", "GET", "/api/v3/runs/run_doesnotexist0000000000"),
        ("error-404-retrieve-malformed-id", "GET", "/api/v3/runs/not-a-run-id"),
        ("error-404-cancel-unknown-run", "POST", "/api/v2/runs/run_nope/cancel"),
        ("error-404-unknown-route", "GET", "/api/v9/nope"),
        ("cancel-v1-route", "POST", f"/api/v1/runs/{known}/cancel"),
        ("error-405-get-cancel", "GET", f"/api/v2/runs/{known}/cancel"),
        ("error-405-get-trigger", "GET", "/api/v1/tasks/hello/trigger"),
        ("error-405-post-retrieve", "POST", f"/api/v3/runs/{known}"),
        ("batch-404", "GET", "/api/v1/batches/batch_nope"),
        ("queue-404", "GET", "/api/v1/queues/nope?type=custom"),
        ("replay-404", "POST", "/api/v1/runs/run_nope/replay"),
        ("schedule-retrieve-404", "GET", "/api/v1/schedules/sched_nope"),
        ("schedule-activate-404", "POST", "/api/v1/schedules/sched_nope/activate"),
    ]
    for name, method, path in asked:
        await ask(server, name, method, path)
    await ask(server, "tags-404", "POST", "/api/v1/runs/run_nope/tags", {"tags": ["x"]})
    reset = "/api/v1/idempotencyKeys/nope/reset"
    await ask(server, "idempotency-reset-404", "POST", reset, {"taskIdentifier": "hello"})


async def test_a_run_looks_alike_at_every_stage(server: Any) -> None:
    """Queued, dequeued, executing and completed runs, in both vocabularies."""
    options = {
        "tags": ["user_1", "rig"],
        "metadata": {"k": 1},
        "idempotencyKey": "idem-obs-1",
        "idempotencyKeyTTL": "1h",
        "ttl": "10m",
        "maxAttempts": 2,
        "concurrencyKey": "ck1",
        "priority": 0,
        "machine": "small-1x",
        "maxDuration": 60,
    }
    body = {"payload": {"name": "full", "sleepMs": 500}, "options": options}
    path = "/api/v1/tasks/hello/trigger"
    run = (await ask(server, "trigger-200-all-options", "POST", path, body)).json()["id"]
    again = {"idempotency-key": "idem-obs-1"}
    same_key = await ask(
        server, "trigger-200-idempotency-header-cached", "POST", path, {}, headers=again
    )
    assert same_key.json()["id"] == run
    begun = await server.begin()
    output = {"greeting": "hello full", "attempt": 1}
    await server.complete(
        begun,
        output=json.dumps({"json": output}),
        outputType="application/super+json",
        flushedMetadata={
            "data": '{"metadata":{"k":1,"attempt":1}}',
            "dataType": "application/json",
        },
    )
    same("retrieve-COMPLETED-all-options", await see(server, run))
    listed = await server.api.call("GET", "/api/v1/runs?filter[tag]=user_1")
    same("runs-list-tag", listed)
    await ask(server, "cancel-already-completed", "POST", f"/api/v2/runs/{run}/cancel")
    await ask(server, "result-success", "GET", f"/api/v1/runs/{run}/result")
    delay = {"delay": "2h"}
    await ask(server, "reschedule-completed", "POST", f"/api/v1/runs/{run}/reschedule", delay)
    await ask(server, "replay-200", "POST", f"/api/v1/runs/{run}/replay")
    tags = f"/api/v1/runs/{run}/tags"
    await ask(server, "tags-200", "POST", tags, {"tags": ["t1", "t2"]})
    await ask(server, "tags-string-200", "POST", tags, {"tags": "t3"})


async def test_the_statuses_of_a_waiting_parent_and_its_child(server: Any) -> None:
    """A parent that waits in dev keeps EXECUTING; relatives are listed, children finished."""
    run = await trigger(server, "parent", payload={"key": "KV"})
    same("retrieve-parent-v20250716-1-QUEUED-a0", await see(server, run))
    (message,) = await server.dequeue()
    same("retrieve-parent-v20250716-2-DEQUEUED-a0", await see(server, run))
    begun = await server.start(message)
    same("retrieve-parent-v20250716-3-EXECUTING-a1", await see(server, run))
    options = {
        "parentRunId": run,
        "resumeParentOnCompletion": True,
        "idempotencyKey": "K1-a",
    }
    child = await trigger(server, "child", payload={"step": "a"}, options=options)
    assert (await server.latest(run))["snapshot"]["executionStatus"] == "EXECUTING_WITH_WAITPOINTS"
    started = await server.begin()
    await server.complete(started, output='{"step":"a","at":1}', outputType="application/json")
    latest = await server.latest(run)
    assert latest["snapshot"]["executionStatus"] == "EXECUTING"
    (done,) = latest["completedWaitpoints"]
    assert done["completedByTaskRun"]["friendlyId"] == child
    results = {"results": [{"id": child, "output": {"step": "a", "at": 1}}], "attempt": 1}
    await server.complete(begun, output=json.dumps(results), outputType="application/json")
    same("retrieve-parent-v20250716-4-COMPLETED-a1", await see(server, run))
    same("retrieve-child", await see(server, child))


async def test_failures_and_their_errors_look_alike(server: Any) -> None:
    """Three attempts that failed, a run that took too long, one of a version that is gone."""
    run = await trigger(server, payload={"name": "fail", "failTimes": 9})
    begun = await server.begin()
    boom = {"type": "BUILT_IN_ERROR", "name": "Error", "stackTrace": "Error: failing on purpose"}
    boom["message"] = "failing on purpose, attempt 3"
    for attempt in (1, 2, 3):
        retry = {"timestamp": 0, "delay": 1000}
        flushed = {
            "data": f'{{"metadata":{{"attempt":{attempt}}}}}',
            "dataType": "application/json",
        }
        ended = await server.complete(
            begun, ok=False, error=boom, retry=retry, flushedMetadata=flushed
        )
        if ended["attemptStatus"] == "RETRY_IMMEDIATELY":
            begun = await server.start(ended | {"run": {"friendlyId": run}})
    assert ended["attemptStatus"] == "RUN_FINISHED"
    same("retrieve-FAILED-after-3-attempts", await see(server, run))
    await ask(server, "result-failed", "GET", f"/api/v1/runs/{run}/result")
    await ask(server, "cancel-already-failed", "POST", f"/api/v2/runs/{run}/cancel")
    slow = await trigger(server, payload={"sleepMs": 15000}, options={"metadata": {"attempt": 1}})
    begun = await server.begin()
    too_long = {"type": "INTERNAL_ERROR", "code": "MAX_DURATION_EXCEEDED"}
    await server.complete(begun, ok=False, error=too_long)
    same("retrieve-maxduration-4-TIMED_OUT-a1", await see(server, slow))
    old = await trigger(server, payload={"name": "old"})
    begun = await server.begin()
    gone = {"type": "INTERNAL_ERROR", "code": "COULD_NOT_FIND_EXECUTOR"}
    await server.complete(begun, ok=False, error=gone)
    same("retrieve-locked-old-3-SYSTEM_FAILURE-a1", await see(server, old))


async def test_payloads_come_back_as_they_were_meant(server: Any) -> None:
    """Nothing, null, text and super+json."""
    bodies = {
        "retrieve-emptybody-3-COMPLETED-a1": {},
        "retrieve-nullpayload-3-COMPLETED-a1": {"payload": None},
        "retrieve-jsonstring-3-COMPLETED-a1": {
            "payload": '{"name":"str"}',
            "options": {"payloadType": "application/json"},
        },
        "retrieve-superjson-4-COMPLETED-a1": {
            "payload": '{"json": {"name": "sj"}}',
            "options": {"payloadType": "application/super+json"},
        },
    }
    output = json.dumps({"greeting": "hello", "attempt": 1})
    for name, body in bodies.items():
        run = await trigger(server, **body)
        begun = await server.begin()
        flushed = {"data": '{"metadata":{"attempt":1}}', "dataType": "application/json"}
        await server.complete(
            begun, output=output, outputType="application/json", flushedMetadata=flushed
        )
        same(name, await see(server, run))


async def test_cancelled_and_expired_runs_look_alike(server: Any) -> None:
    """`finishedAt` is never set on a run cancelled in the queue; EXPIRED has no flag at all."""
    held = await trigger(server, "queued", payload={"sleepMs": 20000})
    begun = await server.begin()
    run = await trigger(server, "queued", payload={"n": 2})
    same("retrieve-QUEUED-behind-concurrency-1", await see(server, run))
    expired = await trigger(server, "queued", payload={"n": 101}, options={"ttl": "2s"})
    await server.turn(3)
    same("retrieve-ttl-2-EXPIRED-a0", await see(server, expired))
    listed = await server.api.call("GET", "/api/v1/runs?filter[status]=EXPIRED&page[size]=1")
    same("runs-list-status-EXPIRED-v", listed)
    await ask(server, "cancel-queued", "POST", f"/api/v2/runs/{run}/cancel")
    same("retrieve-queued-canceled-later", await see(server, run))
    later = await trigger(server, payload={"name": "delayed"}, options={"delay": "1h"})
    delay = {"delay": "2h"}
    await ask(server, "reschedule-delayed", "POST", f"/api/v1/runs/{later}/reschedule", delay)
    await ask(server, "cancel-delayed", "POST", f"/api/v2/runs/{later}/cancel")
    same("retrieve-delayed-canceled-later", await see(server, later))
    await ask(server, "cancel-executing", "POST", f"/api/v2/runs/{held}/cancel")
    seen = await see(server, held)
    same("retrieve-executing-canceled-1-CANCELED-a1", seen, ignoring=("taskIdentifier",))
    cancelled = {"type": "INTERNAL_ERROR", "code": "TASK_RUN_CANCELLED"}
    flushed = {"data": '{"metadata":{"attempt":1}}', "dataType": "application/json"}
    await server.complete(begun, ok=False, error=cancelled, flushedMetadata=flushed)
    seen = await see(server, held)
    same("retrieve-executing-canceled-later", seen, ignoring=("taskIdentifier",))
    await ask(server, "cancel-already-canceled", "POST", f"/api/v2/runs/{held}/cancel")
    await ask(server, "cancel-with-json-body", "POST", f"/api/v2/runs/{held}/cancel", {})
    same(
        "result-canceled",
        await server.api.call("GET", f"/api/v1/runs/{held}/result"),
        ignoring=("taskIdentifier",),
    )


async def test_idempotency_follows_the_real_rules(server: Any) -> None:
    """A key answers for live, completed and cancelled runs, and is free after a failure."""
    path, options = "/api/v1/tasks/hello/trigger", {"idempotencyKey": "k"}
    first = await trigger(server, payload={}, options=options)
    await server.api.post(f"/api/v2/runs/{first}/cancel")
    name = "trigger-idem-after-CANCELED"
    answer = await ask(server, name, "POST", path, {"payload": {}, "options": options})
    assert answer.json()["id"] == first
    reset = "/api/v1/idempotencyKeys/k/reset"
    await ask(server, "idempotency-reset-200", "POST", reset, {"taskIdentifier": "hello"})
    second = await trigger(server, payload={}, options=options)
    assert second != first
    begun = await server.begin()
    await server.complete(begun, ok=False, error={"type": "STRING_ERROR", "raw": "no"})
    name = "trigger-idem-after-FAILED"
    answer = await ask(server, name, "POST", path, {"payload": {}, "options": options})
    assert answer.json()["id"] != second


async def test_batches_of_all_generations_look_alike(server: Any) -> None:
    """v1 and v2 take all items at once, v3 takes them as lines."""
    items = [{"task": "hello", "payload": {"name": "b1"}}, {"task": "child", "payload": {}}]
    await ask(server, "batch-v1", "POST", "/api/v1/tasks/batch", {"items": items})
    answer = await ask(server, "batch-v2", "POST", "/api/v2/tasks/batch", {"items": items})
    second = answer.json()["id"]
    answer = await ask(server, "batch-v3-create", "POST", "/api/v3/batches", {"runCount": 2})
    third = answer.json()["id"]
    lines = "\n".join(json.dumps({"index": i, **item}) for i, item in enumerate(items))
    await ask(server, "batch-v3-items", "POST", f"/api/v3/batches/{third}/items", lines)
    await server.turn(MADE_AFTER / 1_000)
    for message in await server.dequeue():
        begun = await server.start(message)
        await server.complete(begun, output="1", outputType="application/json")
    await ask(server, "batch-retrieve-v1", "GET", f"/api/v1/batches/{second}")
    await ask(server, "batch-retrieve-v2", "GET", f"/api/v2/batches/{second}")
    await ask(server, "batch-v3-retrieve", "GET", f"/api/v1/batches/{third}")
    await ask(server, "batch-results", "GET", f"/api/v1/batches/{second}/results")


async def test_lists_filter_and_page_as_the_real_server(server: Any) -> None:
    """Sizes, statuses, garbage cursors."""
    for index in range(4):
        await trigger(server, "declarative-scheduled", payload={"n": index})
    answer = await ask(server, "runs-list-200-size3", "GET", "/api/v1/runs?page[size]=3")
    first = answer.json()
    after = first["pagination"]["next"]
    rest = await server.api.get(f"/api/v1/runs?page[size]=3&page[after]={after}")
    ids = [run["id"] for run in (*first["data"], *rest["data"])]
    assert len(ids) == len(set(ids)) == 4
    back = rest["pagination"]["previous"]
    again = await server.api.get(f"/api/v1/runs?page[size]=3&page[before]={back}")
    assert again["data"] == first["data"]
    garbage = await server.api.get("/api/v1/runs?page[after]=garbage&page[size]=3")
    assert garbage == first
    asked = {
        "runs-list-istest": "filter[isTest]=true",
        "runs-list-schedule-unknown": "filter[schedule]=sched_nope",
        "runs-list-size-bad": "page[size]=x",
        "runs-list-size-too-big": "page[size]=1000",
        "runs-list-status-bogus": "filter[status]=BOGUS",
    }
    for name, query in asked.items():
        await ask(server, name, "GET", f"/api/v1/runs?{query}")


async def test_schedules_are_made_changed_and_refused_alike(server: Any) -> None:
    """Upsert by key, unknown ids made, bad crons and zones and tasks refused, pages."""
    path, task = "/api/v1/schedules", "imperative-scheduled"
    wanted = {
        "task": task,
        "cron": "*/5 * * * *",
        "timezone": "America/New_York",
        "externalId": "user_123",
        "deduplicationKey": "dk-1",
    }
    made = (await ask(server, "schedule-create-200", "POST", path, wanted)).json()["id"]
    plain = {"task": task, "cron": "0 3 * * *", "deduplicationKey": "dk-1"}
    name = "schedule-create-200-same-dedup-key-updates"
    assert (await ask(server, name, "POST", path, plain)).json()["id"] == made
    refused = {
        "schedule-create-6-field-cron": {"cron": "* * * * * *"},
        "schedule-create-bad-cron": {"cron": "nonsense"},
        "schedule-create-not-a-scheduled-task": {"task": "hello"},
        "schedule-create-unknown-task": {"task": "no-such"},
    }
    for name, change in refused.items():
        await ask(server, name, "POST", path, plain | change)
    answer = await server.api.call("POST", path, plain | {"timezone": "Mars/Phobos"})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("Invalid IANA timezone: 'Mars/Phobos'. View the list")
    await ask(server, "schedule-create-invalid-json", "POST", path, "{bad")
    short = {"cron": "0 3 * * *", "deduplicationKey": "dk-7"}
    await ask(server, "schedule-create-missing-task", "POST", path, short)
    del plain["deduplicationKey"]
    await ask(server, "schedule-create-no-dedup-key", "POST", path, plain)
    await server.turn(1)
    other = {"task": "declarative-scheduled", "cron": "0 4 * * *", "deduplicationKey": "dk-8"}
    await ask(server, "schedule-create-on-declarative-task", "POST", path, other)
    await ask(server, "schedule-list-200", "GET", path)
    await ask(server, "schedule-list-page1-perPage1", "GET", f"{path}?page=1&perPage=1")
    await ask(server, "schedule-list-page-beyond", "GET", f"{path}?page=9&perPage=1")
    await ask(server, "schedule-list-bad-page", "GET", f"{path}?page=0")
    one = f"{path}/{made}"
    await ask(server, "schedule-retrieve-200", "GET", one)
    production = as_key("tr_prod_offline")
    await ask(server, "schedule-retrieve-other-project", "GET", one, headers=production)
    change = {"task": task, "cron": "30 4 * * *", "timezone": "Europe/London"}
    change["externalId"] = "user_456"
    await ask(server, "schedule-update-200", "PUT", one, change)
    await ask(server, "schedule-update-bad-cron", "PUT", one, {"task": task, "cron": "bad"})
    await ask(server, "schedule-update-missing-task", "PUT", one, {"cron": "30 4 * * *"})
    await ask(server, "schedule-deactivate-200", "POST", f"{one}/deactivate")
    await ask(server, "schedule-activate-200", "POST", f"{one}/activate")
    unknown = {"task": task, "cron": "30 4 * * *"}
    await ask(server, "schedule-update-404", "PUT", f"{path}/sched_nope", unknown)
    await ask(server, "schedule-delete-200", "DELETE", one)
    await ask(server, "schedule-delete-twice", "DELETE", one)


async def test_a_declared_schedule_cannot_be_changed_by_the_api(server: Any) -> None:
    """It is listed, read and switched, but not updated."""
    listed = (await server.api.get("/api/v1/schedules"))["data"]
    (declared,) = [each for each in listed if each["type"] == "DECLARATIVE"]
    one = f"/api/v1/schedules/{declared['id']}"
    for name, method, path in (
        ("schedule-retrieve-declarative", "GET", one),
        ("schedule-activate-declarative", "POST", f"{one}/activate"),
    ):
        same(name, await server.api.call(method, path), ignoring=("window",))
    change = {"task": "declarative-scheduled", "cron": "30 4 * * *"}
    await ask(server, "schedule-update-declarative", "PUT", one, change)


async def test_tokens_metadata_queues_and_variables_look_alike(server: Any) -> None:
    """The other nouns of the API."""
    tokens = "/api/v1/waitpoints/tokens"
    wanted = {"timeout": "1h", "tags": ["w"]}
    token = (await ask(server, "waitpoint-create", "POST", tokens, wanted)).json()["id"]
    data = {"data": {"ok": True}}
    await ask(server, "waitpoint-complete", "POST", f"{tokens}/{token}/complete", data)
    await ask(server, "waitpoint-get", "GET", f"{tokens}/{token}")
    run = await trigger(server, payload={}, options={"delay": "1h"})
    path = f"/api/v1/runs/{run}/metadata"
    await ask(server, "metadata-put-200", "PUT", path, {"metadata": {"a": {"b": 2}}})
    await ask(server, "metadata-get-200", "GET", path)
    same("retrieve-DELAYED-with-metadata", await see(server, run))
    custom = "/api/v1/queues/one-at-a-time"
    await ask(server, "queue-get-custom", "GET", f"{custom}?type=custom")
    await ask(server, "queue-get-task", "GET", "/api/v1/queues/hello?type=task")
    action = {"type": "custom", "action": "pause"}
    await ask(server, "queue-pause", "POST", f"{custom}/pause", action)
    action = {"type": "custom", "action": "resume"}
    await ask(server, "queue-resume", "POST", f"{custom}/pause", action)
    path = f"/api/v1/projects/{server.world.project.ref}/envvars/dev"
    await ask(server, "envvars-list", "GET", path)
    await ask(server, "envvars-create", "POST", path, {"name": "FOO", "value": "bar"})
    await ask(server, "envvars-get", "GET", f"{path}/FOO")
    await ask(server, "deployments-list", "GET", "/api/v1/deployments")


@asynccontextmanager
async def connected(server: Any) -> AsyncIterator[None]:
    """A worker's presence."""
    async with server.api.client.stream("GET", "/engine/v1/dev/presence") as stream:
        lines = stream.aiter_lines()
        while not (await anext(lines)).startswith("event: start"):
            pass
        yield
        await lines.aclose()


async def test_a_scheduled_run_tells_its_schedule_and_its_ticks(server: Any) -> None:
    """The payload has this tick, the last and the next ten."""
    wanted = {
        "task": "imperative-scheduled",
        "cron": "* * * * *",
        "timezone": "Europe/Paris",
        "externalId": "ext-77",
        "deduplicationKey": "every-minute",
        "window": "0m",
    }
    made = (await server.api.post("/api/v1/schedules", wanted))["id"]
    async with connected(server):
        await server.turn(60)
        await server.turn(60)
        listed = await server.api.get(f"/api/v1/runs?filter[schedule]={made}")
        run = listed["data"][0]["id"]
        for message in await server.dequeue():
            begun = await server.start(message)
            payload = json.loads(begun["execution"]["run"]["payload"])["json"]
            output = json.dumps({"payload": payload})
            await server.complete(begun, output=output, outputType="application/json")
    same("retrieve-imperative-scheduled-run", await see(server, run))


async def test_older_clients_read_the_older_vocabulary(server: Any) -> None:
    """Without the version header a dequeued run is EXECUTING already."""
    run = await trigger(server, payload={"name": "base"})
    await server.dequeue()
    same("retrieve-base-2-EXECUTING-a0", await see(server, run, {"x-trigger-api-version": ""}))


async def test_a_limited_call_is_refused_as_by_the_real_server(served_with: Any) -> None:
    """429 with the bucket's numbers in the body."""
    async with served_with(limit="1/1/10") as server:
        await server.api.get("/api/v1/runs")
        answer = await server.api.call("GET", "/api/v1/runs")
        same("error-429-rate-limited", answer, ignoring=("error", "limit"))


async def test_a_trace_and_its_events_look_alike(server: Any) -> None:
    """The run, its attempt, the function, a log line."""
    run = await trigger(server, payload={"name": "base"})
    (message,) = await server.dequeue()
    _, trace, root, _ = message["run"]["traceContext"]["traceparent"].split("-")
    start = 1_795_199_580_000_000_000
    mine = {"key": "ctx.run.id", "value": {"stringValue": run}}

    def span(name: str, own: str, parent: str) -> dict[str, Any]:
        return {
            "traceId": trace,
            "spanId": own,
            "parentSpanId": parent,
            "name": name,
            "startTimeUnixNano": str(start),
            "endTimeUnixNano": str(start + 1000),
            "attributes": [mine],
        }

    spans = [span("Attempt 1", "a" * 16, root), span("run()", "b" * 16, "a" * 16)]
    await server.api.post(
        "/otel/v1/traces", {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
    )
    properties = {"attempt": {"intValue": "1"}, "payload.name": {"stringValue": "base"}}
    log = {
        "traceId": trace,
        "spanId": "b" * 16,
        "timeUnixNano": str(start),
        "body": {"stringValue": "hello"},
        "attributes": [mine, *({"key": k, "value": v} for k, v in properties.items())],
    }
    await server.api.post(
        "/otel/v1/logs", {"resourceLogs": [{"scopeLogs": [{"logRecords": [log]}]}]}
    )
    begun = await server.start(message)
    await server.complete(begun)
    same("run-trace", await server.api.call("GET", f"/api/v1/runs/{run}/trace"))
    same("run-events", await server.api.call("GET", f"/api/v1/runs/{run}/events"))


async def test_every_recorded_exchange_is_asked_for() -> None:
    """No recorded answer is left unproved."""
    source = Path(__file__).read_text()
    assert [name for name in KNOWN if f'"{name}"' not in source] == []

"""What the double does beyond runs: debounce, bulk actions, deployments, streams, zones, pages.

Every rule is one that a self-hosted 4.5.12 server was seen to keep, unless it says otherwise.
"""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from turnout_triggerdev_double.server.main import ACCESS_TOKEN, KEYS, PROJECT_REF

pytestmark = pytest.mark.asyncio(loop_scope="module")
DEBOUNCE = {"key": "d1", "delay": "20s"}
STAGING = {"authorization": f"Bearer {KEYS['stg']}"}


async def debounced(server: Any, payload: Any, **wanted: Any) -> str:
    """The id of the run that answers for a debounced trigger."""
    options = {"debounce": DEBOUNCE | wanted} | wanted.pop("options", {})
    return str(await server.api.trigger("work", payload, **options))


async def refusal(server: Any, path: str, body: Any) -> tuple[int, str]:
    """The status and the text of a refused request."""
    answer = await server.api.call("POST", path, body)
    return answer.status_code, answer.json()["error"]


async def test_a_debounced_run_is_pushed_back_by_whoever_comes_while_it_waits(
    offline: Any,
) -> None:
    """One run answers, never as cached; the delay counts anew from the last trigger."""
    first = await debounced(offline, {"n": 1})
    await offline.turn(10.7)
    assert await debounced(offline, {"n": 2}) == first
    run = await offline.api.run(first)
    assert (run["status"], run["payload"]) == ("DELAYED", {"n": 1})
    now = offline.world.now()
    assert offline.world.runs[first].delayed_until == (now + 20_000) // 1_000 * 1_000
    await offline.turn(19)
    assert (await offline.api.run(first))["status"] == "DELAYED"
    await offline.turn(1)
    assert (await offline.api.run(first))["status"] == "QUEUED"
    assert await debounced(offline, {"n": 3}) != first


async def test_a_trailing_debounce_takes_the_last_triggers_data(offline: Any) -> None:
    """Payload, tags and metadata are the later trigger's."""
    first = await debounced(offline, {"n": 1})
    options = {"debounce": DEBOUNCE | {"mode": "trailing"}, "tags": ["x"], "metadata": '{"a":1}'}
    assert await offline.api.trigger("work", {"n": 3}, **options) == first
    run = await offline.api.run(first)
    assert (run["payload"], run["tags"], run["metadata"]) == ({"n": 3}, ["x"], {"a": 1})


async def test_a_debounced_run_is_not_pushed_beyond_its_longest_delay(offline: Any) -> None:
    """Past `maxDelay`, a trigger starts a run of its own."""
    first = await debounced(offline, {}, maxDelay="30s")
    await offline.turn(15)
    assert await debounced(offline, {}, maxDelay="30s") != first


@pytest.mark.parametrize(
    ("wanted", "status", "text"),
    [
        ({"delay": "zzz"}, 422, "Debounce requires a valid delay duration. Provided: zzz"),
        ({"mode": "x"}, 400, "Expected 'leading' | 'trailing', received 'x'"),
        ({"maxDelay": "3s"}, 422, "debounce.maxDelay (3s) must be longer than debounce.delay"),
    ],
)
async def test_a_wrong_debounce_is_refused_in_the_real_words(
    offline: Any, wanted: dict[str, str], status: int, text: str
) -> None:
    """The text names what is wrong."""
    body = {"payload": {}, "options": {"debounce": DEBOUNCE | wanted}}
    found, told = await refusal(offline, "/api/v1/tasks/work/trigger", body)
    assert (found, text in told) == (status, True), told


async def test_a_bulk_action_cancels_what_it_names_and_is_done_a_second_later(
    offline: Any,
) -> None:
    """202 at once; the runs say which action cancelled them; one that has ended is a failure."""
    ids = [await offline.api.trigger("work", tags=["bulk"]) for _ in range(3)]
    body = {"action": "cancel", "name": "stop them", "runIds": [*ids[:2], "run_nope"]}
    answer = await offline.api.call("POST", "/api/v1/bulk-actions", body)
    path = f"/api/v1/bulk-actions/{answer.json()['id']}"
    assert (answer.status_code, (await offline.api.get(path))["status"]) == (202, "PENDING")
    await offline.turn(1)
    done = await offline.api.get(path)
    assert (done["status"], done["type"], done["name"]) == ("COMPLETED", "CANCEL", "stop them")
    assert done["counts"] == {"total": 3, "success": 2, "failure": 1}
    run = await offline.api.run(ids[0])
    reason = f"Bulk action {done['id']} cancelled run"
    assert (run["status"], run["error"]) == ("CANCELED", {"message": reason})
    assert (await offline.api.run(ids[2]))["status"] == "QUEUED"
    assert await refusal(offline, f"{path}/abort", {}) == (
        *(409, f"Bulk action group already completed: {done['id']}"),
    )


async def test_a_bulk_action_replays_what_a_filter_finds(offline: Any) -> None:
    """The filter's words are the list's; the new runs are found by the action."""
    for _ in range(2):
        run = await offline.api.trigger("work", tags=["bulk"])
        await offline.api.post(f"/api/v2/runs/{run}/cancel")
    body = {"action": "replay", "filter": {"tag": "bulk", "status": ["CANCELED"]}}
    action = (await offline.api.post("/api/v1/bulk-actions", body))["id"]
    await offline.turn(1)
    found = await offline.api.get(f"/api/v1/runs?filter[bulkAction]={action}")
    statuses = sorted(each["status"] for each in found["data"])
    assert statuses == ["CANCELED", "CANCELED", "QUEUED", "QUEUED"]
    listed = await offline.api.get("/api/v1/bulk-actions?page[size]=1")
    assert [each["id"] for each in listed["data"]] == [action]


async def test_a_wrong_bulk_action_is_refused_in_the_real_words(offline: Any) -> None:
    """Exactly one choice of runs, and one of two actions."""
    path = "/api/v1/bulk-actions"
    one = "Validation error: Exactly one of filter or runIds must be provided"
    assert await refusal(offline, path, {"action": "cancel"}) == (400, one)
    both = {"action": "cancel", "runIds": [], "filter": {}}
    assert await refusal(offline, path, both) == (400, one)
    status, told = await refusal(offline, path, {"action": "x", "runIds": []})
    assert (status, "Expected 'cancel' | 'replay'" in told) == (400, True)
    answer = await offline.api.call("GET", f"{path}/bulk_nope")
    assert (answer.status_code, answer.headers["x-should-retry"]) == (404, "false")


async def registered(server: Any, digest: str) -> str:
    """Register a version in staging; its number."""
    body = {"metadata": {"contentHash": digest, "tasks": [{"id": "work", "filePath": digest}]}}
    path = f"/api/v1/projects/{PROJECT_REF}/background-workers"
    answer = await server.api.call("POST", path, body, headers=STAGING)
    return str(answer.json()["version"])


async def test_deployments_are_listed_and_promoted(offline: Any) -> None:
    """What registers in a deployed environment is its deployment; an older one needs leave."""

    async def ask(method: str, path: str) -> httpx.Response:
        response = await offline.api.call(method, f"/api/v1/deployments{path}", headers=STAGING)
        assert isinstance(response, httpx.Response)
        return response

    assert (await ask("GET", "")).json() == {"data": [], "pagination": {}}
    assert (await ask("GET", "/current")).status_code == 404
    old, new = await registered(offline, "a"), await registered(offline, "b")
    listed = (await ask("GET", "")).json()["data"]
    assert [(each["version"], each["status"]) for each in listed] == [
        *((new, "DEPLOYED"), (old, "DEPLOYED")),
    ]
    assert (await ask("GET", "/current")).json()["version"] == new
    assert (await ask("POST", f"/{new}/promote")).status_code == 400
    told = (await ask("POST", f"/{old}/promote")).json()["error"]
    assert told == "Cannot promote a deployment that is older than the current deployment."
    assert (await ask("POST", f"/{old}/promote?allowRollbacks=true")).json()["version"] == old
    assert (await ask("GET", "/current")).json()["version"] == old
    assert (await ask("GET", f"/{listed[0]['id']}")).json()["version"] == new
    assert (await ask("POST", "/20200101.1/promote")).status_code == 404
    assert (await offline.api.get("/api/v1/deployments"))["data"] == []


async def test_a_stream_is_written_in_parts_and_read_as_events(offline: Any) -> None:
    """Lines and appended parts, in order; who resends from a chunk doubles nothing."""
    run = await offline.api.trigger("work")
    path = f"/realtime/v1/streams/{run}/self/s1"
    answer = await offline.api.call("PUT", path)
    assert (answer.status_code, answer.json()) == (202, {"version": "v1"})
    send = offline.api.client.request
    assert (await send("POST", f"{path}/append", content='"one"')).json() == {"ok": True}
    for _ in range(2):
        answer = await send("POST", path, content='"two"\n"three"\n')
        assert (answer.status_code, answer.text) == (200, "")
    assert (await send("HEAD", path)).headers["x-last-chunk-index"] == "1"
    await offline.api.post(f"/api/v2/runs/{run}/cancel")
    brief = {"timeout-seconds": "1"}
    text = (await send("GET", f"/realtime/v1/streams/{run}/s1", headers=brief)).text
    parts = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    assert parts == ['"\\"one\\""', '"two"', '"three"']
    seen = text.partition("\n")[0].removeprefix("id: ")
    rest = await send(
        "GET", f"/realtime/v1/streams/{run}/s1", headers=brief | {"last-event-id": seen}
    )
    assert rest.text.count("data: ") == 2
    answer = await offline.api.call("PUT", path)
    told = "Cannot initialize a realtime stream on a completed run"
    assert (answer.status_code, answer.text) == (400, told)


async def test_a_stream_goes_to_its_run_its_parent_or_its_root(offline: Any) -> None:
    """Who has no parent has no such stream; other targets are refused."""
    parent = await offline.api.trigger("work")
    child = await offline.api.trigger("work", parentRunId=parent)
    send = offline.api.client.request
    for target in ("parent", "root"):
        path = f"/realtime/v1/streams/{child}/{target}/s"
        assert (await send("POST", path, content=f'"{target}"\n')).status_code == 200
    length = offline.world.store.stream_length(parent, "s", "default")
    assert length == 1
    lost = await send("PUT", f"/realtime/v1/streams/{parent}/parent/s")
    assert (lost.status_code, lost.text) == (404, "Target not found")
    wrong = await send("PUT", f"/realtime/v1/streams/{parent}/aunt/s")
    assert (wrong.status_code, wrong.json()["error"]) == (400, "Params Error")
    assert (await send("PUT", "/realtime/v1/streams/run_nope/self/s")).status_code == 404


async def test_a_reader_waits_for_what_comes(offline: Any) -> None:
    """A part that is written while somebody reads reaches them."""
    run = await offline.api.trigger("work")
    path = f"/realtime/v1/streams/{run}/self/s"
    send = offline.api.client.request
    url = f"/realtime/v1/streams/{run}/s"
    reading = asyncio.create_task(send("GET", url, headers={"timeout-seconds": "1"}))
    await asyncio.sleep(0.05)
    await send("POST", path, content='"late"\n')
    assert 'data: "late"' in (await reading).text
    assert (await send("GET", url, headers={"timeout-seconds": "0"})).status_code == 400


async def test_zones_have_one_name_each_and_some_of_them_the_older(offline: Any) -> None:
    """The real list has Europe/Kiev and Asia/Calcutta, and refuses the newer names."""
    names = (await offline.api.get("/api/v1/timezones"))["timezones"]
    assert {"UTC", "Europe/Berlin", "Europe/Kiev", "Asia/Calcutta"} <= set(names)
    assert not {"Europe/Kyiv", "Asia/Kolkata"} & set(names)


async def test_a_path_of_workers_says_staging(offline: Any) -> None:
    """All other paths say `stg`, and this one refuses it."""
    headers = {"authorization": f"Bearer {ACCESS_TOKEN}"}
    path = f"/api/v1/projects/{PROJECT_REF}/{{}}/workers/current"
    answer = await offline.api.call("GET", path.format("stg"), headers=headers)
    assert (answer.status_code, answer.json()) == (400, {"error": "Invalid Params"})
    answer = await offline.api.call("GET", path.format("staging"), headers=headers)
    assert (answer.status_code, answer.json()) == (404, {"error": "Worker not found"})


SPAN = {
    "traceId": "",
    "spanId": "1" * 16,
    "name": "step: <load>",
    "startTimeUnixNano": "1795199580000000000",
    "endTimeUnixNano": "1795199580250000000",
}


async def test_a_person_can_read_a_trace(offline: Any) -> None:
    """A page of the latest runs, and one a run with its spans; nothing is taken as HTML."""
    run = await offline.api.trigger("work", {"secret": "s3cret"}, tags=["<b>"])
    trace = offline.world.runs[run].trace_id
    export = {"resourceSpans": [{"scopeSpans": [{"spans": [SPAN | {"traceId": trace}]}]}]}
    await offline.api.post("/otel/v1/traces", export)
    pages = [
        (await offline.api.call("GET", f"/double/runs{each}")).text for each in ("", f"/{run}")
    ]
    assert all("a double, not production" in each for each in pages)
    assert run in pages[0]
    assert "step: &lt;load&gt;" in pages[1]
    assert "250 ms" in pages[1]
    assert "&lt;b&gt;" in pages[1]
    assert "s3cret" not in pages[1]
    assert (await offline.api.call("GET", "/double/runs/run_nope")).status_code == 404


async def test_all_of_it_survives_a_restart(served_with: Any, tmp_path: Path) -> None:
    """Debounced runs, pending bulk actions, promotions and streams are taken up again."""
    async with served_with(tmp_path) as server:
        run = await debounced(server, {"n": 1})
        other = await server.api.trigger("work", tags=["bulk"])
        body = {"action": "cancel", "filter": {"tag": "bulk"}}
        action = (await server.api.post("/api/v1/bulk-actions", body))["id"]
        send = server.api.client.request
        await send("POST", f"/realtime/v1/streams/{run}/self/s", content='"kept"\n')
        old = await registered(server, "a")
        await registered(server, "b")
        promote = f"/api/v1/deployments/{old}/promote?allowRollbacks=true"
        await server.turn(0.5)
        await server.api.call("POST", promote, headers=STAGING)
    async with served_with(tmp_path) as server:
        await server.turn(0.9)
        assert await debounced(server, {"n": 2}) == run
        await server.turn(0.2)
        done = await server.api.get(f"/api/v1/bulk-actions/{action}")
        assert (done["status"], (await server.api.run(other))["status"]) == (
            *("COMPLETED", "CANCELED"),
        )
        assert server.world.store.stream_length(run, "s", "default") == 1
        current = await server.api.call("GET", "/api/v1/deployments/current", headers=STAGING)
        assert current.json()["version"] == old

"""Events of senders that do not know Turnout: by the server, and by the service's own door."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import inngest
import inngest_tasks
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inngest_lab import Lab, free_port
from inngest_stage import Stage, ended, until
from turnout_inngest.ingress import (
    MAX_BODY,
    MAX_TRIGGERS,
    event_key,
    ingress_functions,
    names_of,
)
from turnout_inngest.settings import read_settings
from turnout_inngest_double.options import Options

import turnout
from turnout import Turnout
from turnout.errors import InvalidSettings
from turnout.model.runs import Run, RunFilter

HERE = "https://agents.example.org"
BY_SERVER = {"TURNOUT_INNGEST_INGRESS": "subscribed"}
BY_DOOR = {"TURNOUT_INNGEST_EVENT_KEYS": "old-key, new-key"}


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A stage without anything on it."""
    return Stage(tmp_path)


# -- by the server --------------------------------------------------------------------------------


async def test_an_event_at_the_server_starts_a_run_once_for_ever(stage: Stage) -> None:
    """Sent by the official SDK, with an id and without; a repetition and a rerun start nothing."""
    async with stage.server(), stage.service(inngest_tasks.everything, **BY_SERVER) as live:
        sender = _sender(stage.url)
        one = inngest.Event(name="do/plain", data={"n": 1}, id="order-1")
        await sender.send(one)
        await until(lambda: _count(live, 1))
        await sender.send([one, inngest.Event(name="do/plain", data={"n": 2})])
        first, second = await until(lambda: _count(live, 2))
        for run in (first, second):
            assert (await ended(live, run.run_id)).journal.run.result == b"3"
        for vendor_run in await _ingress_runs(stage):
            answer = await stage.api.post(f"/v2/runs/{vendor_run}/rerun", json={})
            assert answer.status_code == 200, answer.text
        await until(lambda: _reruns_over(stage))
        assert len(await _runs(live)) == 2


async def test_an_event_at_the_server_meets_a_wait(stage: Stage) -> None:
    """Named outright, an event that starts no task still wakes who waits for it."""
    ingress = {"TURNOUT_INNGEST_INGRESS": "subscribed, said/yes"}
    async with stage.server(), stage.service(inngest_tasks.everything, **ingress) as live:
        await _sender(stage.url).send(inngest.Event(name="do/waiting", data={"who": "w"}))
        (run,) = await until(lambda: _count(live, 1, "waiting"))
        await until(lambda: _parked(live, run.run_id, "event"))
        await _sender(stage.url).send(inngest.Event(name="said/yes", data={"who": "w", "n": 7}))
        report = await ended(live, run.run_id)
        assert b'"n":7' in (report.journal.run.result or b"")


async def test_nothing_listens_unless_it_is_asked_for(stage: Stage) -> None:
    """By default there is no ingress function, and no door."""
    async with stage.server(), stage.service(inngest_tasks.everything) as live:
        listed = (await stage.api.get("/v1/apps/stage/functions")).json()
        assert not [each for each in listed if "_ingress" in str(each)]
        async with httpx.AsyncClient(base_url=stage.environ["TURNOUT_SERVICE_URL"]) as client:
            answer = await client.post("/e/key", json={"name": "do/plain", "data": {}})
        assert answer.status_code == 404
        assert not await _runs(live)


@pytest.mark.parametrize("name", ["adopted/plain", "turnout/wake"])
async def test_a_reserved_event_at_the_server_is_not_taken_in(tmp_path: Path, name: str) -> None:
    """Whoever has an event key cannot start a task past its own trigger's condition."""
    taken: list[Any] = []

    async def emit(events: Any) -> Any:
        taken.extend(events)

    lab = Lab(Options(port=free_port(), data=tmp_path))
    lab.functions = ingress_functions([name], lab.client, emit, retries=9)
    async with lab.server(), lab.application():
        run = await lab.run_in(await lab.emit(name), "FAILED")
    assert (name in str(run["output"]), taken) == (True, [])


def test_ten_names_to_a_function() -> None:
    """The vendor takes no more triggers of one function; no name is listened to twice."""
    names = ",".join(f"e/{n}" for n in range(MAX_TRIGGERS + 1))
    given = {"INNGEST_DEV": "1", "TURNOUT_INNGEST_INGRESS": f"{names},e/1,subscribed"}
    found = names_of(inngest_tasks.everything, read_settings(given, HERE))
    assert len(found) == len(set(found))
    assert {"e/10", "do/plain", "said/stop"} <= set(found)


@pytest.mark.parametrize(
    "name", ["inngest/function.failed", "turnout/wake", "adopted/x", "bad name", "a/*"]
)
def test_names_that_are_nobodys_to_send(name: str) -> None:
    """Refused by the setting's name."""
    with pytest.raises(InvalidSettings, match="TURNOUT_INNGEST_INGRESS"):
        read_settings({"INNGEST_DEV": "1", "TURNOUT_INNGEST_INGRESS": name}, HERE)


@given(st.text(max_size=600), st.text(max_size=600))
def test_keys_tell_ids_apart(one: str, other: str) -> None:
    """Within the length that a key may have; the same id under another name is another event."""
    keys = {event_key("a/b", one), event_key("a/b", other), event_key("a/c", one)}
    assert len(keys) == (2 if one == other else 3)
    assert all(0 < len(each) <= 512 for each in keys)


# -- by the door ----------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def door(stage: Stage) -> AsyncIterator[tuple[Turnout, httpx.AsyncClient]]:
    """A service with a door; its server is away, which is no reason not to take events in."""
    live = turnout.open_turnout(inngest_tasks.everything, {**stage.environ, **BY_DOOR})
    transport = httpx.ASGITransport(app=turnout.asgi(live))
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield live, client
    await live.close()


async def test_the_official_client_posts_to_the_service(stage: Stage) -> None:
    """Only its base URL changes; the runs are there before the answer is."""
    async with stage.server(), stage.service(inngest_tasks.everything, **BY_DOOR) as live:
        sender = _sender(stage.environ["TURNOUT_SERVICE_URL"], event_key="new-key")
        events = [inngest.Event(name="do/plain", data={"n": n}, id=f"o-{n}") for n in range(3)]
        assert len(await sender.send(events)) == 3
        runs = await _runs(live)
        assert len(runs) == 3
        await sender.send(events[0])
        assert len(await _runs(live)) == 3
        for run in runs:
            assert (await ended(live, run.run_id)).journal.run.result == b"3"


async def test_both_ways_in_are_one(stage: Stage) -> None:
    """An event posted at the server and at the service starts its runs once."""
    both = {**BY_SERVER, **BY_DOOR}
    async with stage.server(), stage.service(inngest_tasks.everything, **both) as live:
        event = inngest.Event(name="do/plain", data={}, id="same")
        sender = _sender(stage.environ["TURNOUT_SERVICE_URL"], event_key="old-key")
        await asyncio.gather(sender.send(event), _sender(stage.url).send(event))
        await until(lambda: _count(live, 1))
        await until(lambda: _ingress_over(stage))
        assert len(await _runs(live)) == 1


async def test_the_doors_answers(stage: Stage) -> None:
    """Those of the vendor's server: one or a list, ids in order, 200."""
    async with door(stage) as (live, client):
        answer = await client.post("/e/old-key", json={"name": "do/plain", "data": {"n": 1}})
        assert answer.json()["status"] == 200
        assert len(answer.json()["ids"]) == 1
        two = [{"name": "do/plain"}, {"name": "nobody/hears", "data": {}, "user": {}, "v": "1"}]
        assert len((await client.post("/e/new-key", json=two)).json()["ids"]) == 2
        assert (await client.post("/e/new-key", json=[])).json() == {"ids": [], "status": 200}
        assert len(await _runs(live)) == 2


async def test_the_door_takes_labels(stage: Stage) -> None:
    """Beside what the vendor's senders say; out of bounds they are refused, by their bound."""
    async with door(stage) as (live, client):
        labels = {"tags": ["vip"], "user_id": 42, "metadata": {"order": 7}}
        event = {"name": "do/plain", "data": {"n": 1}}
        assert (await client.post("/e/old-key", json={**event, **labels})).status_code == 200
        (run,) = await _runs(live)
        assert (run.labels.tags, run.labels.user_id) == (("vip",), "42")
        assert run.labels.metadata == b'{"order":7}'
        for wrong in (
            {"tags": ["x" * 10_000]},
            {"tags": 5},
            {"user_id": {}},
            {"metadata": {"a": "x" * 20_000}},
            {"metadata": "text"},
        ):
            answer = await client.post("/e/old-key", json={**event, **wrong})
            assert answer.status_code in {400, 413}, answer.text
            assert next(iter(wrong)) in answer.text
        assert len(await _runs(live)) == 1


async def test_a_request_that_is_sent_again(stage: Stage) -> None:
    """Its seed tells it; without a seed and without ids, each is another event."""
    async with door(stage) as (live, client):
        events = [{"name": "do/plain", "data": {}}, {"name": "do/plain", "data": {}}]
        headers = {"x-inngest-event-id-seed": "1700000000000,abcdefghijklmn=="}
        for _ in range(2):
            await client.post("/e/old-key", json=events, headers=headers)
        assert len(await _runs(live)) == 2
        await client.post("/e/old-key", json=events)
        assert len(await _runs(live)) == 4


async def test_one_event_many_times_at_once(stage: Stage) -> None:
    """In one request and in several, its id starts one run."""
    async with door(stage) as (live, client):
        event = {"name": "do/plain", "data": {}, "id": "one"}
        await asyncio.gather(
            *(client.post("/e/old-key", json=[event, event] if n % 2 else event) for n in range(8))
        )
        assert len(await _runs(live)) == 1


async def test_a_later_start(stage: Stage) -> None:
    """A ts to come delays the run; one that is over does not."""
    async with door(stage) as (live, client):
        now = live.clock.now()
        for ts in (now + 3_600_000, now - 3_600_000):
            await client.post("/e/old-key", json={"name": "do/plain", "data": {}, "ts": ts})
        due = sorted(run.due_at or 0 for run in await _runs(live))
        assert due[-1] >= now + 3_600_000 > due[0]


WRONG_KEYS = ("", "wrong", "old-ke", "old-key2", "OLD-KEY", "%00", "x" * 5_000)


async def test_a_wrong_key(stage: Stage) -> None:
    """Refused as the vendor's server refuses it."""
    async with door(stage) as (live, client):
        for key in WRONG_KEYS:
            answer = await client.post(f"/e/{key}", json={"name": "do/plain", "data": {}})
            assert answer.status_code == (401 if key else 404), key
        assert not await _runs(live)


BAD_EVENTS: tuple[Any, ...] = (
    "text",
    {"data": {}},
    {"name": "", "data": {}},
    {"name": 7, "data": {}},
    {"name": "bad name"},
    {"name": "inngest/function.failed"},
    {"name": "turnout/wake"},
    {"name": "adopted/plain"},
    {"name": "do/plain", "data": [1]},
    {"name": "do/plain", "id": 7},
    {"name": "do/plain", "ts": "now"},
    {"name": "do/plain", "ts": True},
    {"name": "do/plain", "ts": 1},
    {"name": "do/plain", "ts": 9**20},
)


async def test_a_bad_event_refuses_the_request(stage: Stage) -> None:
    """With its reason, and nothing of the list is recorded."""
    async with door(stage) as (live, client):
        for event in BAD_EVENTS:
            answer = await client.post("/e/old-key", json=[{"name": "do/plain"}, event])
            assert answer.status_code == 400, event
            assert answer.json()["ids"] == [""]
            assert answer.json()["error"]
        assert not await _runs(live)


async def test_bounds(stage: Stage) -> None:
    """No JSON, too many events, too large a payload or a body: refused before it is recorded."""
    async with door(stage) as (live, client):
        assert (await client.post("/e/old-key", content=b"{")).status_code == 400
        many = [{"name": "do/plain"}] * 1_001
        assert (await client.post("/e/old-key", json=many)).status_code == 400
        large = {"name": "do/plain", "data": {"x": "x" * (3 * 1024 * 1024)}}
        assert (await client.post("/e/old-key", json=large)).status_code == 413
        body = b" " * (MAX_BODY + 1)
        assert (await client.post("/e/old-key", content=body)).status_code == 413
        assert not await _runs(live)


def _sender(url: str, **more: Any) -> inngest.Inngest:
    return inngest.Inngest(
        app_id="other-sender", event_api_base_url=url, is_production=False, **more
    )


async def _runs(live: Turnout) -> list[Run]:
    return list(await live.store.runs.find(RunFilter(limit=50)))


async def _count(live: Turnout, count: int, task: str = "plain") -> list[Run] | None:
    found = [run for run in await _runs(live) if run.task == task]
    return found if len(found) >= count else None


async def _parked(live: Turnout, run_id: str, reason: str) -> bool | None:
    return reason in (await live.orchestrator.status(run_id)).journal.run.parked_for or None


async def _ingress_runs(stage: Stage) -> list[str]:
    answer = await stage.api.get("/v2/apps/stage/functions/_ingress.1/runs")
    return [each["id"] for each in answer.json().get("data", ())]


async def _reruns_over(stage: Stage) -> bool | None:
    answer = await stage.api.get("/v2/apps/stage/functions/_ingress.1/runs")
    runs = answer.json()["data"]
    return (len(runs) >= 4 and all(run.get("endedAt") for run in runs)) or None


async def _ingress_over(stage: Stage) -> bool | None:
    found = []
    for number in (1, 2):
        answer = await stage.api.get(f"/v2/apps/stage/functions/_ingress.{number}/runs")
        found += answer.json().get("data", [])
    return (bool(found) and all(run.get("endedAt") for run in found)) or None

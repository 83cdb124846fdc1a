"""Every recorded exchange: understood by the adapter's client, answered alike by the double.

`fixtures/exchanges.jsonl` has all 319 exchanges of a self-hosted 4.5.12 server, condensed: ids,
moments and numbers are named, and what varies is left out. `test_triggerdev_wire.py` replays 148 of
them by name; here all are walked through, and those that nothing covers are named with the reason.
"""

import importlib.util
import json
import re
from collections.abc import Iterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from turnout_triggerdev.api import NOT_FOUND_PAUSES, Api, items_of, text_of
from turnout_triggerdev.settings import TriggerdevSettings
from turnout_triggerdev.statuses import STATUSES, status_of

from turnout.errors import ProviderRefused, ProviderUnavailable

PATH = Path(__file__).parent / "fixtures" / "exchanges.jsonl"
_spec = importlib.util.spec_from_file_location(
    "recorded", Path(__file__).with_name("test_triggerdev_wire.py")
)
assert _spec is not None
assert _spec.loader is not None
recorded = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(recorded)
KNOWN, RETRY, shape = recorded.KNOWN, recorded.RETRY, recorded.shape
EXCHANGES = [json.loads(line) for line in PATH.read_text().splitlines()]
RUN = "/api/v3/runs/{run}"
OURS = {
    ("GET", RUN),
    ("GET", "/api/v1/runs"),
    ("GET", "/api/v1/queues"),
    ("GET", "/api/v1/timezones"),
    ("GET", "/api/v1/schedules"),
    ("POST", "/api/v1/schedules"),
    ("DELETE", "/api/v1/schedules/{sched}"),
    ("POST", "/api/v1/schedules/{sched}/activate"),
    ("POST", "/api/v1/schedules/{sched}/deactivate"),
    ("POST", "/api/v2/runs/{run}/cancel"),
    ("POST", "/api/v1/tasks/{task}/trigger"),
    ("POST", "/api/v3/batches"),
    ("POST", "/api/v3/batches/{batch}/items"),
    ("POST", "/api/v1/waitpoints/tokens/{waitpoint}/complete"),
}
"""The calls of the adapter."""

CONTENT = ("payload", "output", "metadata", "error", "tags", "relatedRuns")
"""Of these only the presence is compared: they are the run's own."""

REASONS = {
    "project-runs-pat": "a 500 of the recorded server's own; neither we nor the CLI ask for it",
    "retrieve-locked-old-1-EXECUTING-a0": "an old version is refused by the CLI, not the server",
    "retrieve-locked-old-2-EXECUTING-a1": "an old version is refused by the CLI, not the server",
    "timezones-200": "its body was not kept; test_triggerdev_double.py knows the list",
    "metadata-put-on-completed": "the stand-in and the SDK write metadata only while a run goes on",
}
"""Why an exchange is not compared with the double."""


def called(exchange: dict[str, Any]) -> tuple[str, str]:
    """The method and the path's pattern."""
    path = exchange["path"].split("?")[0]
    path = re.sub(r"/tasks/[^/]+/trigger$", "/tasks/{task}/trigger", path)
    return exchange["method"], path


class Replay:
    """A server that gives one recorded answer."""

    exchange: dict[str, Any]

    async def take(self, _: Request) -> Response:
        """Answer as recorded."""
        headers = {"x-should-retry": self.exchange["retry"]} if "retry" in self.exchange else {}
        body, kind = self.exchange["body"], self.exchange["type"]
        if isinstance(body, str):
            return Response(body, self.exchange["status"], headers, kind or None)
        return JSONResponse(body, self.exchange["status"], headers, kind)

    def app(self) -> Starlette:
        """The server as an application."""
        methods = ["GET", "POST", "PUT", "DELETE"]
        return Starlette(routes=[Route("/{path:path}", self.take, methods=methods)])


class NoTime:
    """A clock on which waiting takes no time."""

    def now(self) -> int:
        return 0

    async def sleep(self, _: int) -> None:
        """Return at once."""


@asynccontextmanager
async def replaying(listening: Any) -> Any:
    """The adapter's client at a server of recorded answers."""
    replay = Replay()
    async with listening(replay.app()) as url:
        api = Api(TriggerdevSettings(api_url=url, secret_key="tr_dev_x"), NoTime())
        yield replay, api
        await api.close()


async def asked(api: Api, exchange: dict[str, Any]) -> Any:
    """Ask as the adapter does."""
    path = exchange["path"].split("?")[0]
    match exchange["method"]:
        case "GET":
            return await api.get(path)
        case "DELETE":
            return await api.delete(path)
        case _:
            return await api.post(path, {})


@pytest.mark.asyncio(loop_scope="module")
async def test_every_answer_to_our_calls_is_understood(listening: Any) -> None:
    """Good ones are read, 404 is nothing, and all others say the server's own words."""
    ours = [each for each in EXCHANGES if called(each) in OURS and each["name"] not in REASONS]
    assert len(ours) > 230
    async with replaying(listening) as (replay, api):
        for exchange in ours:
            replay.exchange = exchange
            await _understood(api, exchange)


async def _understood(api: Api, exchange: dict[str, Any]) -> None:
    name, status, body = exchange["name"], exchange["status"], exchange["body"]
    if status == 404:
        assert await asked(api, exchange) is None, name
    elif status >= 400:
        error = ProviderUnavailable if status >= 500 else ProviderRefused
        with pytest.raises(error) as raised:
            await asked(api, exchange)
        told = body.get("error") or body.get("title") if isinstance(body, dict) else ""
        assert str(told or status) in str(raised.value), name
    else:
        found = await asked(api, exchange)
        if exchange["method"] != "DELETE":
            _read(exchange, found)


def _read(exchange: dict[str, Any], found: Any) -> None:
    """Read what the adapter reads of a good answer."""
    name, call = exchange["name"], called(exchange)
    assert found == exchange["body"], name
    if call == ("GET", RUN):
        word = text_of(found, "status")
        assert word in STATUSES, name
        assert status_of(word).terminal == (word not in _going()), name
    elif call[0] == "GET" and call[1] != "/api/v1/timezones":
        assert all(text_of(each, "id") for each in items_of(found)), name
    elif call[1].endswith(("/trigger", "/cancel", "/activate", "/deactivate", "/batches")):
        assert text_of(found, "id"), name


def _going() -> set[str]:
    return {*("PENDING_VERSION", "DELAYED", "QUEUED", "DEQUEUED", "EXECUTING", "WAITING")}


def test_every_status_that_was_seen_is_in_the_table() -> None:
    """The words of all recorded runs, those of relatives and lists included."""
    seen = set(_words([each["body"] for each in EXCHANGES if each["status"] == 200]))
    assert seen - {"PENDING", "PROCESSING"} <= set(STATUSES)
    assert {"EXPIRED", "TIMED_OUT", "SYSTEM_FAILURE"} <= seen


def _words(value: Any) -> Iterator[str]:
    match value:
        case {"status": str(word), "id": str(), "taskIdentifier": _}:
            yield word
    for each in value.values() if isinstance(value, dict) else value if _is_list(value) else ():
        yield from _words(each)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


# The double


def test_every_exchange_is_compared_or_has_its_reason() -> None:
    """None is left out silently; a reason that is not needed any more is taken away."""
    names = {each["name"] for each in EXCHANGES}
    assert len(EXCHANGES) == len(names) == 319
    left = names - set(KNOWN) - set(alike()) - {e["name"] for e in rebuilt()} - set(replayed())
    assert left == set(REASONS)


@cache
def alike() -> dict[str, str]:
    """Exchanges that look like one that is replayed by name, and which one that is."""
    known = {_look(each): each["name"] for each in EXCHANGES if each["name"] in KNOWN}
    return {
        each["name"]: known[_look(each)]
        for each in EXCHANGES
        if each["name"] not in KNOWN and _look(each) in known
    }


def _look(exchange: dict[str, Any]) -> str:
    return json.dumps([called(exchange), exchange["status"], exchange["body"]], sort_keys=True)


@cache
def rebuilt() -> list[dict[str, Any]]:
    """Runs that the double is brought to show in the recorded state."""
    return [
        each
        for each in EXCHANGES
        if (*called(each), each["status"]) == ("GET", RUN, 200)
        and each["name"] not in {*KNOWN, *alike(), *REASONS}
    ]


@pytest.mark.asyncio(loop_scope="module")
async def test_the_double_shows_runs_as_they_were_seen(offline: Any) -> None:
    """Each recorded state of a run, by the same trigger and the same steps of a worker."""
    tasks: dict[str, Any] = {each["body"]["taskIdentifier"]: {} for each in rebuilt()}
    tasks["declarative-scheduled"] = {"triggerSource": "schedule"}
    await offline.register(*({"id": id_, "retry": RETRY, **more} for id_, more in tasks.items()))
    for exchange in rebuilt():
        run = await _rebuild(offline, exchange["body"])
        headers = {} if exchange.get("unversioned") else {"x-trigger-api-version": "2025-07-16"}
        answer = await offline.api.client.get(
            f"/api/v3/runs/{run}", headers={"x-trigger-api-version": "", **headers}
        )
        assert _bare(shape(answer.json())) == _bare(exchange["body"]), exchange["name"]
        await _end(offline)


def _bare(body: dict[str, Any]) -> dict[str, Any]:
    """What is compared: every field's presence, and all words but the run's own content."""
    bare = {name: "" if name in CONTENT else value for name, value in body.items()}
    # A clock that stands still gives runs no length; a schedule is shown as its own test says.
    return bare | {"schedule": "" if "schedule" in body else None}


async def _rebuild(server: Any, body: dict[str, Any]) -> str:
    options: dict[str, Any] = {
        "tags": body["tags"],
        "idempotencyKey": f"k{len(server.world.runs)}" if "idempotencyKey" in body else None,
        "ttl": body.get("ttl", 0),
        "delay": "3s" if "delayedUntil" in body else None,
        "metadata": '{"a":1}' if "metadata" in body else None,
    }
    if body["status"] == "QUEUED" and "version" in body:
        (worker,) = server.world.workers.values()
        options["lockToVersion"] = worker.version
    given = {"options": {name: each for name, each in options.items() if each is not None}}
    if "payload" in body:
        given["payload"] = {"a": 1}
    path = f"/api/v1/tasks/{body['taskIdentifier']}/trigger"
    run = str((await server.api.post(path, given))["id"])
    if "schedule" in body:
        schedule = {"task": body["taskIdentifier"], "cron": "* * * * *", "deduplicationKey": run}
        made = await server.api.post("/api/v1/schedules", schedule)
        server.world.runs[run].schedule = made["id"]
        server.world.runs[run].task_kind = "SCHEDULED"
    if "delayedUntil" in body and body["status"] != "DELAYED":
        await server.turn(3)
    await _bring(server, body)
    return run


async def _bring(server: Any, body: dict[str, Any]) -> None:
    """Do what a worker does until the run is where it was."""
    attempts, word = body["attemptCount"], body["status"]
    if word in {"PENDING_VERSION", "DELAYED", "QUEUED"}:
        return
    messages = await server.dequeue()
    assert len(messages) == 1, (body, [(r.status, r.task) for r in server.world.runs.values()])
    (message,) = messages
    begun: Any = None
    for attempt in range(attempts):
        begun = await server.start(message) if attempt == 0 else await _again(server, begun)
    error = {"type": "STRING_ERROR", "raw": "no"}
    if word == "COMPLETED":
        output = {"output": '{"a":1}', "outputType": "application/json"}
        await server.complete(begun, **(output if "output" in body else {}))
    elif word == "FAILED":
        await server.complete(begun, ok=False, error=error)


async def _again(server: Any, begun: Any) -> Any:
    """Fail the attempt and start the next one in its place."""
    error, retry = {"type": "STRING_ERROR", "raw": "no"}, {"timestamp": 0, "delay": 1_000}
    await server.complete(begun, ok=False, error=error, retry=retry)
    run = begun["run"]["friendlyId"]
    snapshot = (await server.latest(run))["snapshot"]["friendlyId"]
    return await server.api.post(f"/engine/v1/dev/runs/{run}/snapshots/{snapshot}/attempts/start")


async def _end(server: Any) -> None:
    """Let nothing of one exchange stand in the way of the next."""
    open_runs = [run for run in server.world.runs.values() if run.execution_status != "FINISHED"]
    for run in open_runs:
        await server.api.post(f"/api/v2/runs/{run.id}/cancel")
    if any(run.execution_status == "PENDING_CANCEL" for run in open_runs):
        await server.turn(61)


@cache
def replayed() -> dict[str, dict[str, Any]]:
    """Requests that the double is simply asked again."""
    done = {*KNOWN, *alike(), *REASONS, *(each["name"] for each in rebuilt())}
    return {each["name"]: each for each in EXCHANGES if each["name"] not in done}


@pytest.mark.asyncio(loop_scope="module")
async def test_the_double_answers_all_other_requests_alike(offline: Any) -> None:
    """The same status, the same fields and the same words."""
    queues = [{"name": "one-at-a-time", "concurrencyLimit": 1}]
    await offline.register(
        *({"id": each} for each in ("hello", "child", "parent")),
        {"id": "queued", "queue": {"name": "one-at-a-time"}},
        {"id": "imperative-scheduled", "triggerSource": "schedule"},
        {
            "id": "declarative-scheduled",
            "triggerSource": "schedule",
            "schedule": {"cron": "*/2 * * * *", "timezone": "UTC"},
        },
        queues=queues,
    )
    run = await offline.api.trigger("hello", {"a": 1})
    schedule = {"cron": "* * * * *", "deduplicationKey": "d", "externalId": "e"}
    await offline.api.post("/api/v1/schedules", {"task": "imperative-scheduled", **schedule})
    wrong = []
    for name, exchange in replayed().items():
        told = await _ask_again(offline, exchange, run)
        wanted = (exchange["status"], _outline(exchange["body"]))
        seen = (told.status_code, _outline(_body_of(told)))
        if seen != wanted:
            wrong.append((name, seen, wanted))
    assert wrong == [], "\n".join(map(str, wrong))


async def _ask_again(server: Any, exchange: dict[str, Any], run: str) -> Any:
    name = exchange["name"]
    schedules = {each.type: each.id for each in server.world.schedules.values()}
    chosen = schedules["DECLARATIVE" if "declarative" in name else "IMPERATIVE"]
    path = exchange["path"].replace("{run}", run).replace("{sched}", chosen)
    headers = {"x-trigger-api-version": ""} if exchange.get("unversioned") else {}
    if name.startswith("error-401"):
        headers["authorization"] = "" if "no-auth" in name else "Bearer tr_dev_wrong"
    sent = exchange.get("sent")
    content = sent if isinstance(sent, str) or sent is None else json.dumps(sent)
    return await server.api.client.request(
        exchange["method"], path, content=content, headers=headers
    )


def _body_of(answer: Any) -> Any:
    kind = answer.headers.get("content-type", "")
    return "<page>" if "html" in kind else answer.json() if "json" in kind else answer.text


def _outline(body: Any) -> Any:
    """Fields and error texts; how much a list has is the recorded server's own."""
    match body:
        case {"data": list(), **rest}:
            return {"data": [], **dict.fromkeys(rest, "")}
        case {"timezones": list()}:
            return {"timezones": []}
        case {"error": str(text), **rest}:
            return {"error": re.sub(r"http\S+", "<origin>", text), **dict.fromkeys(rest, "")}
        case dict():
            return dict.fromkeys(sorted(body), "")
        case _:
            return body


def test_waiting_for_what_is_not_there_yet_is_short() -> None:
    """A 404 that may be early is asked for again within a second."""
    assert sum(NOT_FOUND_PAUSES) < 1_000

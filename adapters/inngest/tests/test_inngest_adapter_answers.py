"""What the adapter makes of a server's answers, good and bad: a scripted server on a socket."""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inngest_lab import free_port, serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from turnout_inngest.caller import InngestCaller
from turnout_inngest.memos import next_of, receipt_of
from turnout_inngest.plugin import plugin
from turnout_inngest.wakes import NAMES, wake_name
from turnout_inngest_double.backoff import JITTER_MS, TABLE_S
from turnout_testing.clock import TurnableClock

import turnout
from turnout import Context
from turnout.errors import ProviderRefused, ProviderUnavailable, UnmappedStatus
from turnout.model.ids import new_run_id
from turnout.model.runs import Delivery, Wake
from turnout.model.status import DeliveryState, RunStatus
from turnout.ports.caller import Surroundings
from turnout.ports.listing import Lists


@turnout.task("job", on="do/job")
async def job(ctx: Context, payload: Any) -> None:
    """Do nothing."""


APP = turnout.app("scripted", job)
NOT_FOUND = (404, {"errors": [{"code": "not_found", "message": "Run not found"}]})
NO_ROUTE = (404, {"errors": [{"code": "api_error", "message": "Not Found"}]})
ENDED = "2026-01-01T00:00:00.500Z"


@dataclass
class Script:
    """Answers by method and path, and what was asked. An answer is (status, JSON or text)."""

    port: int = field(default_factory=free_port)
    answers: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)

    async def answer(self, request: Request) -> Response:
        what = f"{request.method} {request.url.path}"
        self.asked.append(what)
        self.bodies.append(await request.json() if await request.body() else None)
        status, body = self.answers.get(what, NO_ROUTE)
        if isinstance(body, str):
            return Response(body, status, headers=self.headers)
        import orjson

        return Response(
            orjson.dumps(body), status, headers=self.headers, media_type="application/json"
        )


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    """A server that answers by the book that a test writes."""
    made = Script()
    methods = ["GET", "POST", "DELETE", "PUT"]
    application = Starlette(routes=[Route("/{path:path}", made.answer, methods=methods)])
    async with serving(application, made.port):
        yield made


@contextlib.asynccontextmanager
async def opened(port: int) -> AsyncIterator[InngestCaller]:
    """A caller for that server; its worker is never called."""
    worker: Any = None
    caller = plugin.open(
        Surroundings(
            settings={"INNGEST_DEV": f"http://127.0.0.1:{port}"},
            app=APP,
            worker=worker,
            clock=TurnableClock(),
            service_url="http://127.0.0.1:1",
        )
    )
    assert isinstance(caller, InngestCaller)
    try:
        yield caller
    finally:
        await caller.close()


@pytest.fixture
async def caller(script: Script) -> AsyncIterator[InngestCaller]:
    """A caller for the scripted server."""
    async with opened(script.port) as made:
        yield made


def delivery(number: int = 1, known: str | None = None, **more: Any) -> Delivery:
    """A delivery of one of our runs."""
    return Delivery(
        run_id=f"run-{number}",
        number=1,
        provider="inngest",
        task="job",
        state=DeliveryState.SENT,
        provider_run_id=known,
        **more,
    )


# -- deliver and wake -----------------------------------------------------------------------------


async def test_a_batch_is_one_request(script: Script, caller: InngestCaller) -> None:
    """Internal names, the delivery's key as id, no payload; known by the event until it calls."""
    script.answers["POST /e/dev"] = (200, {"ids": ["A", "B"], "status": 200})
    told = await caller.deliver([delivery(1), delivery(2)])
    assert [each.provider_run_id for each in told] == ["event:A", "event:B"]
    assert script.asked == ["POST /e/dev"]
    first, second = script.bodies[0]
    assert first["name"] == "turnout/deliver.scripted.job"
    assert (first["id"], second["id"]) == ("run-1.1", "run-2.1")
    assert set(first["data"]) == {"run_id", "delivery", "task", "protocol", "definition"}


async def test_partial_acceptance(script: Script, caller: InngestCaller) -> None:
    """What a refused batch names was accepted; the rest has the reason."""
    script.answers["POST /e/dev"] = (400, {"ids": ["A"], "status": 400, "error": "too many"})
    first, second = await caller.deliver([delivery(1), delivery(2)])
    assert first.error is None
    assert isinstance(second.error, ProviderRefused)
    assert "too many" in str(second.error)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((200, {"ids": [""], "status": 200}), ProviderUnavailable),
        ((200, {"hello": "world"}), ProviderUnavailable),
        ((200, {"ids": []}), ProviderUnavailable),
        ((200, [1, 2]), ProviderUnavailable),
        ((200, "<html>hello</html>"), ProviderUnavailable),
        ((404, {"error": "no such page"}), ProviderRefused),
        ((401, {"status": 401, "message": "", "error": "Event key not found"}), ProviderRefused),
        ((500, "oops"), ProviderUnavailable),
        ((502, ""), ProviderUnavailable),
    ],
)
async def test_an_answer_that_is_no_acceptance(
    script: Script, caller: InngestCaller, answer: Any, error: type[Exception]
) -> None:
    """A wrong address that answers JSON, empty ids, errors: never taken for accepted."""
    script.answers["POST /e/dev"] = answer
    (told,) = await caller.deliver([delivery()])
    assert told.provider_run_id is None
    assert isinstance(told.error, error)


async def test_a_pause_that_is_asked_for(script: Script, caller: InngestCaller) -> None:
    """429 says how long."""
    script.answers["POST /e/dev"] = (429, {"error": "slow down"})
    script.headers["retry-after"] = "7"
    (told,) = await caller.deliver([delivery()])
    assert isinstance(told.error, ProviderUnavailable)
    assert told.error.retry_after == timedelta(seconds=7)


async def test_a_server_that_is_away() -> None:
    """Nothing of the HTTP client's comes out."""
    async with opened(free_port()) as caller:
        with pytest.raises(ProviderUnavailable):
            await caller.deliver([delivery()])
        with pytest.raises(ProviderUnavailable):
            await caller.wake([Wake(run_id="r", seq=1, due_at=0)])
        with pytest.raises(ProviderUnavailable):
            await caller.look(delivery(known="R"))
        with pytest.raises(ProviderUnavailable):
            await caller.define(APP)


async def test_wakes_are_one_request(script: Script, caller: InngestCaller) -> None:
    """Each names its run and the seq."""
    script.answers["POST /e/dev"] = (200, {"ids": ["A", "B"], "status": 200})
    await caller.wake([Wake(run_id=f"r{n}", seq=n, due_at=0) for n in (1, 2)])
    assert script.bodies == [
        [
            {"name": "turnout/wake.0755", "data": {"run_id": "r1", "seq": 1}},
            {"name": "turnout/wake.0887", "data": {"run_id": "r2", "seq": 2}},
        ]
    ]


async def test_a_wake_that_is_sent_again(script: Script, caller: InngestCaller) -> None:
    """It goes under the old name, too: a run that the release before parked waits for that one."""
    script.answers["POST /e/dev"] = (200, {"ids": ["A", "B"], "status": 200})
    await caller.wake([Wake(run_id="r1", seq=1, due_at=0, sent=1)])
    (events,) = script.bodies
    assert [event["name"] for event in events] == ["turnout/wake.0755", "turnout/wake"]


@given(st.sets(st.text(min_size=1, max_size=40), min_size=1, max_size=50))
def test_a_run_has_one_name_of_1024(run_ids: set[str]) -> None:
    """Always the same: the server records what a run waits for."""
    for run_id in run_ids:
        prefix, _, number = wake_name(run_id).partition(".")
        assert (prefix, wake_name(run_id)) == ("turnout/wake", f"turnout/wake.{int(number):04}")
        assert int(number) < NAMES


def test_names_are_spread_evenly() -> None:
    """So that no wake is compared with many more waits than another."""
    counts = Counter(wake_name(new_run_id(at)) for at in range(10_240))
    assert len(counts) > NAMES * 0.99
    assert max(counts.values()) < 40


# -- look and stop --------------------------------------------------------------------------------


def run(status: str, **more: Any) -> dict[str, Any]:
    """A run as API v2 shows it."""
    return {"id": "R", "status": status, "function": {"id": "job"}, **more}


@pytest.mark.parametrize("inherited", ["COMPLETED", "FAILED"])
async def test_an_end_without_its_time_is_none(
    script: Script, caller: InngestCaller, inherited: str
) -> None:
    """While a run goes on its own page shows its first step's status; the event's list is right."""
    page = run(inherited, trigger={"eventIds": ["E"]})
    script.answers["GET /v2/runs/R"] = (200, {"data": page})
    script.answers["GET /v2/events/E/runs"] = (200, {"data": [run("RUNNING")]})
    seen = await caller.look(delivery(known="R"))
    assert (seen.state, seen.word) == (RunStatus.RUNNING, "RUNNING")
    script.answers["GET /v2/events/E/runs"] = (200, {})
    assert (await caller.look(delivery(known="R"))).state is RunStatus.RUNNING


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("COMPLETED", RunStatus.COMPLETED),
        ("FAILED", RunStatus.FAILED),
        ("CANCELLED", RunStatus.CANCELLED),
        ("SKIPPED", RunStatus.CANCELLED),
    ],
)
async def test_ends(script: Script, caller: InngestCaller, word: str, state: RunStatus) -> None:
    """An end with its time is believed."""
    script.answers["GET /v2/runs/R"] = (200, {"data": run(word, endedAt=ENDED)})
    seen = await caller.look(delivery(known="R"))
    assert (seen.state, seen.word, seen.ended_at) == (state, word, 1_767_225_600_500)


async def test_a_word_that_is_new(script: Script, caller: InngestCaller) -> None:
    """It is an error, never a guess."""
    script.answers["GET /v2/runs/R"] = (200, {"data": run("HIBERNATING")})
    with pytest.raises(UnmappedStatus, match="HIBERNATING"):
        await caller.look(delivery(known="R"))


async def test_a_run_that_nobody_knows(script: Script, caller: InngestCaller) -> None:
    """Not found is an answer; and an event without a run of ours has none."""
    script.answers["GET /v2/runs/R"] = NOT_FOUND
    assert (await caller.look(delivery(known="R"))).state is None
    script.answers["GET /v2/events/E/runs"] = (200, {"metadata": {}})
    script.answers["GET /v1/events"] = (200, {"data": []})
    assert (await caller.look(delivery(known="event:E"))).state is None
    assert (await caller.look(delivery())).state is None


async def test_a_run_known_by_its_event(script: Script, caller: InngestCaller) -> None:
    """The run of the task's own function is meant, not another subscriber's."""
    other = {**run("FAILED", endedAt=ENDED), "id": "O", "function": {"id": "other"}}
    script.answers["GET /v2/events/E/runs"] = (200, {"data": [other, run("QUEUED")]})
    assert (await caller.look(delivery(known="event:E"))).state is RunStatus.QUEUED


async def test_a_server_without_the_new_api(script: Script, caller: InngestCaller) -> None:
    """Reads API v1, whose errors come with status 200, and cancels there."""
    old = {"run_id": "R", "status": "Running", "run_started_at": "2026-01-01T00:00:00Z"}
    script.answers["GET /v1/runs/R"] = (200, {"data": old})
    script.answers["DELETE /v1/runs/R"] = (200, "")
    assert (await caller.look(delivery(known="R"))).state is RunStatus.RUNNING
    assert await caller.stop(delivery(known="R")) is False
    assert "DELETE /v1/runs/R" in script.asked
    script.answers["GET /v1/runs/R"] = (200, {"data": {**old, "status": "Cancelled"}})
    assert (await caller.look(delivery(known="R"))).state is RunStatus.RUNNING
    cancelled = {**old, "status": "Cancelled", "ended_at": ENDED}
    script.answers["GET /v1/runs/R"] = (200, {"data": cancelled})
    assert await caller.stop(delivery(known="R")) is True
    script.answers["GET /v1/runs/R"] = (200, {"error": "Unable", "data": None, "status": 500})
    assert (await caller.look(delivery(known="R"))).state is None


@pytest.mark.parametrize("code", ["run_already_cancelled", "run_already_ended"])
async def test_a_run_that_ended_before_its_stop(
    script: Script, caller: InngestCaller, code: str
) -> None:
    """409 is no fault; reading confirms."""
    script.answers["GET /v2/runs/R"] = (200, {"data": run("RUNNING")})
    script.answers["POST /v2/runs/R/cancel"] = (409, {"errors": [{"code": code}]})
    assert await caller.stop(delivery(known="R")) is False
    script.answers["GET /v2/runs/R"] = (200, {"data": run("COMPLETED", endedAt=ENDED)})
    assert await caller.stop(delivery(known="R")) is True


async def test_a_stop_before_there_is_a_run(script: Script, caller: InngestCaller) -> None:
    """An event just accepted may still start one; one of long ago will not."""
    script.answers["GET /v2/events/E/runs"] = (200, {})
    script.answers["GET /v1/events"] = (200, {"data": []})
    now = TurnableClock().now()
    assert await caller.stop(delivery(known="event:E", sent_at=now)) is False
    assert await caller.stop(delivery(known="event:E", sent_at=now - 60_000)) is True
    assert await caller.stop(delivery()) is True


def event(event_id: str, key: str) -> dict[str, Any]:
    """An event as API v1 lists it."""
    return {"internal_id": event_id, "id": key, "name": "turnout/deliver.scripted.job"}


async def test_a_key_that_was_sent_twice(script: Script, caller: InngestCaller) -> None:
    """The second event never has a run: the first one's is looked at, and is what a stop stops."""
    now = TurnableClock().now()
    listed = [event("E2", "run-1.1"), event("X", "run-7.1"), event("E1", "run-1.1")]
    script.answers["GET /v1/events"] = (200, {"data": listed})
    script.answers["GET /v2/events/E2/runs"] = (200, {})
    script.answers["GET /v2/events/E1/runs"] = (200, {"data": [run("QUEUED")]})
    known = delivery(known="event:E2", sent_at=now - 60_000)
    assert (await caller.look(known)).state is RunStatus.QUEUED
    script.answers["POST /v2/runs/R/cancel"] = (200, {"data": {"runId": "R"}})
    script.answers["GET /v2/runs/R"] = (200, {"data": run("CANCELLED", endedAt=ENDED)})
    assert await caller.stop(known) is True
    assert "POST /v2/runs/R/cancel" in script.asked
    assert script.asked.count("GET /v1/events") == 1, "one list serves several looks"


async def test_a_list_of_events_has_pages(script: Script, caller: InngestCaller) -> None:
    """Read newest first, from the last one on, and only so many."""
    page = [event(f"E{number}", f"other-{number}") for number in range(50)]
    script.answers["GET /v1/events"] = (200, {"data": page})
    script.answers["GET /v2/events/E/runs"] = (200, {})
    assert (await caller.look(delivery(known="event:E", sent_at=0))).state is None
    assert script.asked.count("GET /v1/events") == 2, "a page that repeats the last one ends it"


@pytest.mark.parametrize(
    "page",
    [
        [],
        "run",
        {"status": 7},
        {"status": "RUNNING", "trigger": "event"},
        {"status": "RUNNING", "trigger": {"eventIds": "E"}},
        {"status": "RUNNING", "trigger": {"eventIds": [{"id": "E"}]}},
        {"status": "COMPLETED", "endedAt": "yesterday"},
        {"status": "COMPLETED", "endedAt": 1_767_225_600},
        {"status": "COMPLETED", "endedAt": "2026-01-01T00:00:00"},
    ],
)
async def test_a_run_of_another_shape(script: Script, caller: InngestCaller, page: Any) -> None:
    """Whatever a server answers, the error names it and says what to look at."""
    if isinstance(page, dict):
        page = {"id": "R", **page}
    script.answers["GET /v2/runs/R"] = (200, {"data": page})
    with pytest.raises(ProviderUnavailable, match="see that the address"):
        await caller.look(delivery(known="R"))


@pytest.mark.parametrize(
    "listed", [7, {"id": "R"}, ["R"], [{"function": "job"}], [{"function": {"id": 7}}]]
)
async def test_runs_of_another_shape(script: Script, caller: InngestCaller, listed: Any) -> None:
    """A list that is none is an error, never "there is no run", which would deliver again."""
    script.answers["GET /v2/events/E/runs"] = (200, {"data": listed})
    with pytest.raises(ProviderUnavailable, match="Inngest answered"):
        await caller.look(delivery(known="event:E"))


async def test_a_wrong_address_is_no_empty_list(script: Script, caller: InngestCaller) -> None:
    """The vendor has no 404 for an unknown event or app: one without its code is another server."""
    with pytest.raises(ProviderRefused, match="INNGEST_BASE_URL"):
        await caller.look(delivery(known="event:E"))
    with pytest.raises(ProviderRefused, match="INNGEST_BASE_URL"):
        await caller.armed()


async def test_a_run_without_an_id_is_not_cancelled(script: Script, caller: InngestCaller) -> None:
    """Nothing is posted to a run by a made-up id."""
    nameless = {"status": "RUNNING", "function": {"id": "job"}}
    script.answers["GET /v2/events/E/runs"] = (200, {"data": [nameless]})
    with pytest.raises(ProviderUnavailable, match="'id'"):
        await caller.stop(delivery(known="event:E"))
    assert script.asked == ["GET /v2/events/E/runs"]


@pytest.mark.parametrize(
    "function",
    [{"id": 7}, {"id": "_schedule.a", "triggers": 7}, {"id": "_schedule.a", "triggers": [1]}],
)
async def test_functions_of_another_shape(
    script: Script, caller: InngestCaller, function: Any
) -> None:
    """So is a function that cannot be read."""
    script.answers["GET /v2/apps/scripted/functions"] = (200, {"data": [function]})
    with pytest.raises(ProviderUnavailable, match="Inngest answered"):
        await caller.armed()


@pytest.mark.parametrize("page", [[], {"latestSync": "failed"}, {"latestSync": {"error": 7}}])
async def test_a_reason_of_another_shape(script: Script, caller: InngestCaller, page: Any) -> None:
    """A refusal whose reason cannot be read says that."""
    script.answers["POST /fn/register"] = (400, {"error": "invalid", "status": 400})
    script.answers["GET /v2/apps/scripted/functions"] = (200, {})
    script.answers["GET /v2/apps/scripted"] = (200, {"data": page})
    with pytest.raises(ProviderUnavailable, match="Inngest answered"):
        await caller.define(APP)


@pytest.mark.parametrize("memo", [{}, {"next": 7}, {"next": {"seq": 1}}, {"next": {"state": "x"}}])
def test_a_step_of_another_shape(memo: Any) -> None:
    """What the vendor gives back of our own steps is read with the same care."""
    with pytest.raises(ProviderUnavailable, match="see that the address"):
        next_of(memo)
    with pytest.raises(ProviderUnavailable, match="see that the address"):
        receipt_of(memo)


# -- define ---------------------------------------------------------------------------------------


async def test_the_reason_of_a_refused_app(script: Script, caller: InngestCaller) -> None:
    """The answer to a registration does not say why; the app's page does."""
    script.answers["POST /fn/register"] = (
        400,
        {"error": "At least one function is invalid", "status": 400},
    )
    script.answers["GET /v2/apps/scripted/functions"] = (200, {})
    page = {"latestSync": {"error": "function 'job': no such zone"}}
    script.answers["GET /v2/apps/scripted"] = (200, {"data": page})
    with pytest.raises(ProviderRefused, match="no such zone"):
        await caller.define(APP)


async def test_functions_are_read_page_by_page(script: Script, caller: InngestCaller) -> None:
    """A cursor that does not move ends the reading."""
    page = {"data": [{"id": "job"}], "page": {"hasMore": True, "cursor": "c"}}
    script.answers["GET /v2/apps/scripted/functions"] = (200, page)
    assert await caller.defined() == ["job"]
    assert len(script.asked) == 2


# -- the server's own list ------------------------------------------------------------------------


def listed_run(number: int, function: str = "job", **more: Any) -> dict[str, Any]:
    """A run as the list shows it."""
    times = {"queuedAt": ENDED, "startedAt": ENDED}
    return {"id": f"R{number}", "status": "RUNNING", "function": {"id": function}, **times, **more}


def list_page(numbers: range, following: str = "") -> tuple[int, dict[str, Any]]:
    """A page of the list."""
    page = {"limit": 100, **({"cursor": following, "hasMore": True} if following else {})}
    return 200, {"data": [listed_run(number) for number in numbers], "page": page}


async def test_the_list_is_read_page_by_page(script: Script, caller: InngestCaller) -> None:
    """Functions that are none of our tasks are left out; a word of an end needs its time."""
    assert isinstance(caller, Lists)
    status, body = list_page(range(3), "c")
    body["data"][0]["function"]["id"] = "turnout-schedule-x"
    body["data"][1]["status"] = "COMPLETED"
    script.answers["GET /v2/runs"] = (status, body)
    page, cursor = await caller.list_runs()
    assert {run: seen.state for run, seen in page.items()} == {
        "R1": RunStatus.RUNNING,
        "R2": RunStatus.RUNNING,
    }
    script.answers["GET /v2/runs"] = (200, {"page": {"limit": 100}})
    assert await caller.list_runs(cursor=cursor) == ({}, "")


async def test_a_delivery_carries_its_stamp_and_a_listed_run_gives_it_back(
    script: Script, caller: InngestCaller
) -> None:
    """By the event that started the run; a run without one, or of a lost event, gives nothing."""

    async def stamps(sent: Delivery) -> dict[str, str]:
        return {"store": "s1", "proof": f"p-{sent.key}"}

    caller._surroundings = replace(caller._surroundings, stamps=stamps)
    script.answers["POST /e/dev"] = (200, {"ids": ["E1"], "status": 200})
    await caller.deliver([delivery()])
    ((event,),) = [body for body in script.bodies if body]
    assert (event["data"]["store"], event["data"]["proof"]) == ("s1", "p-run-1.1")
    status, body = list_page(range(2))
    body["data"][0]["trigger"] = {"eventIds": ["E1"]}
    body["data"][1].pop("trigger", None)
    script.answers["GET /v2/runs"] = (status, body)
    page, _ = await caller.list_runs()
    assert [seen.aliases for seen in page.values()] == [("event:E1",), ()]
    script.answers["GET /v1/events/E1"] = (200, {"data": {**event, "internal_id": "E1"}})
    carried = [await caller.stamp(run, seen) for run, seen in page.items()]
    assert carried == [event["data"], {}]
    script.answers["GET /v1/events/E1"] = (200, {"data": None, "error": "no", "status": 404})
    assert await caller.stamp("R0", page["R0"]) == {}


@pytest.mark.parametrize(
    "again",
    [list_page(range(3), "c"), list_page(range(2, 5), "d"), list_page(range(4, 6), "c")],
    ids=["the-first", "overlapping", "the-same-cursor"],
)
async def test_a_page_that_is_seen_twice_ends_the_list(
    script: Script, caller: InngestCaller, again: Any
) -> None:
    """Else a sweep over it would never end."""
    script.answers["GET /v2/runs"] = list_page(range(3), "c")
    _, cursor = await caller.list_runs()
    script.answers["GET /v2/runs"] = again
    with pytest.raises(ProviderRefused, match="twice"):
        await caller.list_runs(cursor=cursor)


async def test_an_empty_page_before_the_last_ends_the_list(
    script: Script, caller: InngestCaller
) -> None:
    """A sweep cannot tell where it stands."""
    script.answers["GET /v2/runs"] = list_page(range(0), "c")
    with pytest.raises(ProviderRefused, match="empty"):
        await caller.list_runs()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((429, {"error": "slow down"}), ProviderUnavailable),
        ((500, "oops"), ProviderUnavailable),
        ((200, {"data": 7}), ProviderUnavailable),
        ((200, {"page": 7}), ProviderUnavailable),
        ((200, {"data": [{"status": "RUNNING"}]}), ProviderUnavailable),
        (NO_ROUTE, ProviderRefused),
        ((400, {"errors": [{"code": "x", "message": "Cursor is invalid"}]}), ProviderRefused),
    ],
)
async def test_a_page_that_fails_is_an_error_and_is_asked_for_again(
    script: Script, caller: InngestCaller, answer: Any, error: type[Exception]
) -> None:
    """In the middle of a list too: the cursor serves as before."""
    script.answers["GET /v2/runs"] = list_page(range(3), "c")
    _, cursor = await caller.list_runs()
    script.answers["GET /v2/runs"] = answer
    with pytest.raises(error):
        await caller.list_runs(cursor=cursor)
    script.answers["GET /v2/runs"] = list_page(range(3, 5))
    page, following = await caller.list_runs(cursor=cursor)
    assert ([*page], following) == (["R3", "R4"], "")


def test_the_declared_recovery_covers_the_servers_first_back_off() -> None:
    """A call that found nobody comes again after the first delay and all of its jitter."""
    assert InngestCaller.recovery > TABLE_S[0] * 1_000 + JITTER_MS

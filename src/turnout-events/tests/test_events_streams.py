"""A run's events: each told, in order, to those with the token, from where they left off."""

import asyncio
import gc
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from turnout_events.run_events import RunReader, beginning, read_position
from turnout_events.streams import EventStreams

import turnout
from turnout import Context, Event, Turnout, read_settings, task
from turnout.errors import InvalidSettings, WrongUse
from turnout.model.status import RunStatus
from turnout.web.app import asgi

TOKEN = "0123456789abcdef"
BEARER = {"authorization": f"Bearer {TOKEN}"}


def words(number: int) -> int:
    """Give a number back."""
    return number


@task("streams", on="streams/go")
async def streams(ctx: Context, payload: dict[str, Any]) -> str:
    """Stream from the function and from a step, then perhaps wait."""
    ctx.stream("log", {"begun": True})

    async def body() -> int:
        ctx.stream("words", "one")
        ctx.progress({"half": True})
        return 1

    await ctx.step("count", body)
    for number in range(payload.get("more", 0)):
        ctx.stream("log", number)
    await ctx.step("again", words, 2)
    if payload.get("waits"):
        await ctx.wait_for_event("streams/on", timeout="1h")
    ctx.stream("log", "over\nand out")
    return "done"


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Turnout]:
    """Open a service on a database of its own."""
    environment = {
        "TURNOUT_DATABASE_URL": f"sqlite:///{tmp_path}/t.db",
        "TURNOUT_ARTIFACTS": "none",
        "TURNOUT_EVENTS_TOKEN": TOKEN,
        "ORCHESTRATOR_PROVIDER": "local",
    }
    async with turnout.open_turnout(turnout.app("streaming", streams), environment) as opened:
        yield opened


async def emitted(live: Turnout, **payload: Any) -> str:
    """Start a run."""
    (done,) = await live.orchestrator.emit(Event(name="streams/go", payload=payload))
    return done.runs[0].run_id


async def ended(live: Turnout, run_id: str) -> None:
    """Wait for a run's end."""
    for _ in range(1_000):
        if (await live.store.journals.load(run_id)).run.state.terminal:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the run does not end")


async def get(app: Any, run_id: str, **headers: str) -> httpx.Response:
    """Read a run's events to their end."""
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        return await client.get(f"/turnout/runs/{run_id}/events", headers={**BEARER, **headers})


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """Serve over a socket, and give the address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


def events_of(text: str) -> list[dict[str, Any]]:
    """Read server-sent events."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if "data" in fields:
            found.append({**fields, "data": json.loads(fields["data"])})
    return found


def told(events: list[dict[str, Any]]) -> list[Any]:
    """What was told, in short."""
    names = {"status": "state", "chunk": "chunk", "progress": "told", "step": "step"}
    return [(each["event"], each["data"][names[each["event"]]]) for each in events]


async def test_everything_is_told_in_order_and_once(live: Turnout) -> None:
    """States, chunks with whose they are, progress, ends of steps, and the run's end last."""
    run_id = await emitted(live, more=250)
    answer = await get(asgi(live), run_id)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = events_of(answer.text)
    found = told(events)
    assert found[-1] == ("status", "completed")
    assert sorted(str(each[1]) for each in found if each[0] == "step") == ["again", "count"]
    assert ("progress", {"half": True}) in found
    chunks = [each["data"] for each in events if each["event"] == "chunk"]
    assert [each["number"] for each in chunks] == list(range(253))
    own = [each["chunk"] for each in chunks if each["step"] is None]
    assert own == [{"begun": True}, *range(250), "over\nand out"]
    (other,) = (each for each in chunks if each["step"] is not None)
    assert (other["stream"], other["step"], other["attempt"]) == ("words", "count", 1)


async def test_a_reader_goes_on_from_any_event(live: Turnout) -> None:
    """What follows an id is what followed it; only ends of steps may come again."""
    run_id = await emitted(live)
    await ended(live, run_id)
    app = asgi(live)
    events = events_of((await get(app, run_id)).text)
    for at, each in enumerate(events[:-1]):
        rest = events_of((await get(app, run_id, **{"last-event-id": each["id"]})).text)
        left = told(events[at + 1 :])
        assert [one for one in told(rest) if one[0] != "step"] == [
            one for one in left if one[0] != "step"
        ]
        assert set(map(str, left)) <= set(map(str, told(rest)))
    last = await get(app, run_id, **{"last-event-id": events[-1]["id"]})
    assert (last.status_code, last.content) == (204, b"")


async def test_a_run_is_followed_while_it_goes_on(live: Turnout) -> None:
    """Over a socket: events come as they happen, comments while nothing does, then the end."""
    run_id = await emitted(live, waits=True)
    streams_ = EventStreams(live.store.journals, SecretStr(TOKEN), look_every=0.01, keep_alive=0.05)
    app = Starlette(routes=[Route("/turnout/runs/{run_id}/events", streams_.answer)])
    text = ""
    async with (
        served(app) as url,
        httpx.AsyncClient(timeout=30, base_url=url, headers=BEARER) as client,
        client.stream("GET", f"/turnout/runs/{run_id}/events") as answer,
    ):
        async for piece in answer.aiter_text():
            text += piece
            if ": still here" in text and "again" in text and "streams/on" not in text:
                await live.orchestrator.emit(Event(name="streams/on"))
                text += "streams/on"
    assert '"state":"completed"' in text.partition("streams/on")[2]


async def test_a_stream_ends_where_the_service_stops(live: Turnout) -> None:
    """A reader of a run that goes on holds up no server that stops."""
    run_id = await emitted(live, waits=True)
    stopping = [False]
    streams_ = EventStreams(
        live.store.journals, SecretStr(TOKEN), look_every=0.01, stopping=lambda: stopping[0]
    )
    app = Starlette(routes=[Route("/turnout/runs/{run_id}/events", streams_.answer)])
    async with (
        served(app) as url,
        httpx.AsyncClient(timeout=30, base_url=url, headers=BEARER) as client,
        client.stream("GET", f"/turnout/runs/{run_id}/events") as answer,
    ):
        async for _piece in answer.aiter_text():
            stopping[0] = True
    assert not (await live.orchestrator.status(run_id)).journal.run.state.terminal


async def test_readers_without_the_token_are_refused(live: Turnout) -> None:
    """401 says which header is wanted; without the setting there is nothing at all."""
    run_id = await emitted(live)
    for wrong in ("", "Bearer", "Bearer nope", f"Basic {TOKEN}", "Bearer \xff", f"bearer{TOKEN}"):
        answer = await get(asgi(live), run_id, authorization=wrong.encode("latin-1"))  # type: ignore[arg-type]
        assert answer.status_code == 401
        assert "TURNOUT_EVENTS_TOKEN" in answer.json()["message"]
        assert TOKEN not in answer.text
    shut = live.settings.model_copy(update={"events_token": None})
    live.settings = shut
    assert (await get(asgi(live), run_id)).status_code == 404


async def test_what_cannot_be_followed_is_refused_by_name(live: Turnout) -> None:
    """An unknown run, an id that is none, and a reader too many."""
    run_id = await emitted(live)
    app = asgi(live)
    assert (await get(app, "nope")).status_code == 404
    assert (await get(app, "a%0Ab")).status_code == 400
    for wrong in ("1", "1-2-3", "-1-0-0-0", "a-b-c-d", "1-1-1-0", "1-1-1-0-00000000" * 50):
        assert (await get(app, run_id, **{"last-event-id": wrong})).status_code == 400
    full = EventStreams(live.store.journals, SecretStr(TOKEN), limit=0)
    routes = [Route("/turnout/runs/{run_id}/events", full.answer)]
    answer = await get(Starlette(routes=routes), run_id)
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")


async def test_places_of_readers_that_went_are_free(live: Turnout) -> None:
    """A reader who has read to the end holds no place."""
    run_id = await emitted(live)
    one = EventStreams(live.store.journals, SecretStr(TOKEN), limit=1)
    app = Starlette(routes=[Route("/turnout/runs/{run_id}/events", one.answer)])
    for _ in range(3):
        assert (await get(app, run_id)).status_code == 200


async def test_a_reader_who_goes_away_leaves_its_place_at_once(live: Turnout) -> None:
    """No collection of cycles is waited for: with none at all, reader after reader is let in."""
    run_id = await emitted(live, waits=True)
    few = EventStreams(live.store.journals, SecretStr(TOKEN), limit=2, look_every=0.01)
    app = Starlette(routes=[Route("/turnout/runs/{run_id}/events", few.answer)])
    gc.disable()
    try:
        async with served(app) as url, httpx.AsyncClient(base_url=url, headers=BEARER) as client:
            for _ in range(6):
                await let_in(client, run_id)
    finally:
        gc.enable()


async def let_in(client: httpx.AsyncClient, run_id: str) -> None:
    """Read one piece as soon as there is a place, and go away."""
    async with asyncio.timeout(60):
        while True:
            async with client.stream("GET", f"/turnout/runs/{run_id}/events") as answer:
                if answer.status_code == 200:
                    await anext(answer.aiter_bytes())
                    return
            await asyncio.sleep(0.01)


async def test_readers_who_come_at_once_share_the_places(live: Turnout) -> None:
    """As many as there are places are let in, however many look at the run meanwhile."""
    run_id = await emitted(live, waits=True)
    few = EventStreams(live.store.journals, SecretStr(TOKEN), limit=3)
    requests = [
        Request(
            {
                "type": "http",
                "headers": [(b"authorization", f"Bearer {TOKEN}".encode())],
                "path_params": {"run_id": run_id},
            }
        )
        for _ in range(20)
    ]
    answers = await asyncio.gather(*(few.answer(each) for each in requests))
    assert Counter(each.status_code for each in answers) == {200: 3, 503: 17}
    del answers
    await asyncio.sleep(0)  # the loop lets go of what it gathered
    gc.collect()
    assert (await few.answer(requests[0])).status_code == 200  # what was not sent holds no place


async def test_a_reader_who_is_refused_holds_no_place(live: Turnout) -> None:
    """Neither an unknown run nor an end that was told keeps others out."""
    run_id = await emitted(live)
    await ended(live, run_id)
    one = EventStreams(live.store.journals, SecretStr(TOKEN), limit=1)
    app = Starlette(routes=[Route("/turnout/runs/{run_id}/events", one.answer)])
    last = events_of((await get(app, run_id)).text)[-1]["id"]
    for _ in range(3):
        assert (await get(app, "nope")).status_code == 404
        assert (await get(app, run_id, **{"last-event-id": last})).status_code == 204
    assert (await get(app, run_id)).status_code == 200


async def test_an_id_that_cannot_be_this_runs_is_refused(live: Turnout) -> None:
    """An ended run's id says nothing of one that goes on; nor does one that is ahead of it."""
    over, on = await emitted(live), await emitted(live, waits=True)
    await ended(live, over)
    app = asgi(live)
    last = events_of((await get(app, over)).text)[-1]["id"]
    answer = await get(app, on, **{"last-event-id": last})
    assert (answer.status_code, "another run" in answer.text) == (400, True)
    run = beginning(on).run
    for ahead in (f"9-0-0-0-{run}", f"1-999999-0-0-{run}"):
        answer = await get(app, on, **{"last-event-id": ahead})
        assert (answer.status_code, "beyond" in answer.text) == (400, True)


async def test_a_reader_of_a_run_that_stands_still_reads_one_row(live: Turnout) -> None:
    """While the run's seq is the same, its journal is not read."""
    run_id = await emitted(live, waits=True)
    while "event" not in (await live.store.journals.load(run_id)).run.parked_for:
        await asyncio.sleep(0.01)
    asked: list[str] = []

    class Seen:
        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            return getattr(live.store.journals, name)

    reader = RunReader(Seen(), run_id)
    assert await reader.look()
    asked.clear()
    assert not await reader.look()
    assert asked == ["streamed"]
    await live.orchestrator.cancel(run_id)
    last = (await reader.look())[-1]
    assert (last.event, last.data["state"]) == ("status", RunStatus.CANCELLED.value)
    assert reader.over
    assert str(read_position(last.id, run_id)) == last.id
    for wrong in ("1-2-3-x", str(beginning("another"))):
        with pytest.raises(WrongUse):
            read_position(wrong, run_id)


def test_a_short_token_is_refused(tmp_path: Path) -> None:
    """The setting is named, its value is not shown."""
    with pytest.raises(InvalidSettings, match="TURNOUT_EVENTS_TOKEN") as caught:
        read_settings({"TURNOUT_EVENTS_TOKEN": "hunter2"}, folder=tmp_path)
    assert "hunter2" not in str(caught.value)

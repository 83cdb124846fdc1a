"""The adapter reads the vendor's own list of runs, page by page, as `Lists` promises."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response
from turnout_triggerdev.sightings import PAGE

from turnout.errors import ProviderRefused, ProviderUnavailable, Unavailable
from turnout.model.providers import Sighting
from turnout.model.runs import Delivery
from turnout.model.status import RunStatus
from turnout.ports.listing import Lists

# Test modules are imported by path, so what they share is put on the path by hand.
sys.path.insert(0, str(Path(__file__).parent))

from triggerdev_peer import RUNS_IN, Oracle, StandingTime, calling, delivery, rig

MANY = 2 * PAGE + 7


async def listed(caller: Any, since: int | None = None) -> list[dict[str, Sighting]]:
    """Every page, to the last."""
    assert isinstance(caller, Lists)
    pages, cursor = [], ""
    while not pages or cursor:
        page, cursor = await caller.list_runs(since=since, cursor=cursor)
        pages.append(dict(page))
    return pages


async def test_open_runs_of_this_app_are_listed_once_over_all_pages(served_with: Any) -> None:
    """Not those of other tasks, nor those that have ended; the tags name the run and delivery."""
    async with rig(served_with) as (server, caller):
        await caller.deliver([delivery(0)])
        begun = await server.begin()
        await server.complete(begun, output='"done"', outputType="application/json")
        await caller.deliver([delivery(1, task="other")])
        await caller.deliver([delivery(number) for number in range(2, MANY)])
        await server.turn(RUNS_IN)
        expected = {
            run.id
            for run in server.world.runs.values()
            if run.task == "work" and run.status == "PENDING"
        }
        pages = await listed(caller)
        assert [len(page) for page in pages][:-1] == [PAGE, PAGE]
        assert sum(map(len, pages)) == len({run for page in pages for run in page})
        assert {run for page in pages for run in page} == expected
        (some, *_) = pages[-1].values()
        assert some.state is RunStatus.QUEUED
        assert {tag.partition(":")[0] for tag in some.evidence["tags"]} == {
            "turnout",
            "task",
            "run",
        }


async def test_runs_since_a_time_are_listed_in_any_state(served_with: Any) -> None:
    """Also those that have ended; none that were created before."""
    async with rig(served_with) as (server, caller):
        await caller.deliver([delivery(0)])
        await server.turn(60)
        since = server.world.now()
        (sent,) = await caller.deliver([delivery(1)])
        await caller.stop(delivery(1, provider_run_id=sent.provider_run_id))
        pages = await listed(caller, since)
        assert [*map(list, pages)] == [[sent.provider_run_id]]
        assert pages[0][sent.provider_run_id].state is RunStatus.CANCELLED


async def test_a_delivery_carries_its_stamp_and_a_listed_run_gives_it_back(
    served_with: Any,
) -> None:
    """The list shows whose it is by tags that no user may give; the payload has the rest."""

    async def stamps(sent: Delivery) -> dict[str, str]:
        return {"store": "s1", "proof": f"p-{sent.key}"}

    async with rig(served_with) as (server, caller):
        caller._stamps = stamps
        await caller.deliver([delivery(0, tags=("store:of-a-user", "blue"))])
        await server.turn(RUNS_IN)
        ((run_id, seen),) = (await listed(caller))[0].items()
        assert (seen.key, seen.store) == (delivery(0).key, "s1")
        carried = await caller.stamp(run_id, seen)
        assert carried["proof"] == f"p-{delivery(0).key}"
        assert carried["run_id"] == delivery(0).run_id


async def test_a_delivery_whose_stamp_cannot_be_made_is_not_sent(served_with: Any) -> None:
    """Its neighbours are, and the error is its own."""

    async def stamps(sent: Delivery) -> dict[str, str]:
        if sent.run_id == delivery(1).run_id:
            raise Unavailable("the store is away")
        return {"store": "s1"}

    async with rig(served_with) as (_, caller):
        caller._stamps = stamps
        answers = await caller.deliver([delivery(number) for number in range(3)])
        assert [str(answer.error or "") for answer in answers] == ["", "the store is away", ""]
        assert [bool(answer.provider_run_id) for answer in answers] == [True, False, True]


async def test_the_list_goes_back_a_week_unless_a_period_is_asked_for(served_with: Any) -> None:
    """As on the real server; open runs and those that are looked for by a tag may be older."""
    async with rig(served_with) as (server, caller):
        (sent,) = await caller.deliver([delivery(0)])
        await server.turn(8 * 86_400)
        assert (await caller._api.get("/api/v1/runs"))["data"] == []
        assert [*map(list, await listed(caller))] == [[sent.provider_run_id]]
        assert (await caller.look(delivery(0))).state is RunStatus.QUEUED


def item(number: int) -> dict[str, Any]:
    """A run as the list shows it: a higher number is newer."""
    created = f"2026-11-20T12:00:00.{number:03}Z"
    return {"id": f"run_{number}", "status": "EXECUTING", "createdAt": created}


def page_of(numbers: range, following: Any = None) -> Response:
    """A page of the list."""
    links = {} if following is None else {"next": following}
    return JSONResponse({"data": [item(number) for number in numbers], "pagination": links})


FIRST, SECOND = range(9, 5, -1), range(5, 2, -1)


@pytest.mark.parametrize(
    "again",
    [page_of(FIRST, "b"), page_of(range(12, 8, -1), "b"), page_of(range(6, 3, -1), "b")],
    ids=["the-first", "the-first-and-newer", "overlapping"],
)
async def test_a_page_that_is_seen_twice_ends_the_list(listening: Any, again: Response) -> None:
    """The server answers a cursor that it cannot read with the first page: else it never ends."""
    oracle = Oracle(page_of(FIRST, "a"), again)
    async with listening(oracle.app()) as url, calling(url, StandingTime()) as caller:
        with pytest.raises(ProviderRefused, match="twice"):
            await listed(caller)


async def test_an_empty_page_before_the_last_ends_the_list(listening: Any) -> None:
    """A sweep cannot tell where it stands."""
    oracle = Oracle(page_of(FIRST, "a"), page_of(range(0), "b"))
    async with listening(oracle.app()) as url, calling(url, StandingTime()) as caller:
        with pytest.raises(ProviderRefused, match="empty"):
            await listed(caller)


@pytest.mark.parametrize("status", [429, 500, 502])
async def test_a_page_that_fails_is_asked_for_again(listening: Any, status: int) -> None:
    """The error says so, or the rate limit is waited out; the cursor serves as before."""
    refused = JSONResponse({"error": "later", "secondsUntilReset": 1}, status)
    oracle = Oracle(page_of(FIRST, "a"), refused, page_of(SECOND))
    async with listening(oracle.app()) as url, calling(url, StandingTime()) as caller:
        assert isinstance(caller, Lists)
        _, cursor = await caller.list_runs()
        if status != 429:
            with pytest.raises(ProviderUnavailable):
                await caller.list_runs(cursor=cursor)
        page, following = await caller.list_runs(cursor=cursor)
        assert ([*page], following) == (["run_5", "run_4", "run_3"], "")


async def test_a_list_that_skips_runs_is_read_to_its_end(listening: Any) -> None:
    """What a page leaves out is on none; what the vendor filters badly is filtered here."""
    oracle = Oracle(page_of(FIRST, "a"), page_of(range(3, 0, -1), "b"), page_of(range(0)))
    async with listening(oracle.app()) as url, calling(url, StandingTime()) as caller:
        assert sum(map(len, await listed(caller))) == len(FIRST) + 3
    oracle = Oracle(page_of(FIRST, "a"), page_of(SECOND, "b"), page_of(SECOND, "b"))
    since = 1_795_176_000_005
    async with listening(oracle.app()) as url, calling(url, StandingTime()) as caller:
        pages = await listed(caller, since)
        assert [*map(len, pages)] == [4, 1]


@pytest.mark.parametrize(
    "answer",
    [
        {"data": [{"id": "run_1", "status": "QUEUED"}], "pagination": {}},
        {"data": [{**item(1), "createdAt": "yesterday"}], "pagination": {}},
        {"data": [item(1)], "pagination": []},
        {"data": [item(1)], "pagination": {"next": 7}},
        {"data": [{**item(1), "status": None}], "pagination": {}},
    ],
)
async def test_a_list_of_another_shape_is_a_clear_error(listening: Any, answer: Any) -> None:
    """No page is half read."""
    oracle = Oracle(JSONResponse(answer))
    async with listening(oracle.app()) as url, calling(url, StandingTime()) as caller:
        assert isinstance(caller, Lists)
        with pytest.raises(ProviderUnavailable):
            await asyncio.wait_for(caller.list_runs(), 10)

"""The change from native to adopted, as adopting.md has it: nothing is lost or starts twice."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastapi
import httpx
import inngest
import inngest.fast_api
import pytest
from adopted_change import Changing
from inngest_lab import free_port, serving
from inngest_stage import Stage, until
from turnout_inngest.adoption import Adopted, adopt

from turnout import Turnout
from turnout.model.runs import RunFilter

AHEAD = timedelta(seconds=3)
"""How long before the moment the deployments are made; hours, in earnest."""


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A stage without anything on it."""
    return Stage(tmp_path)


class Sender:
    """Sends trips and talks without a pause, every third of them twice, and keeps their ids."""

    def __init__(self, shop: Changing) -> None:
        self._client = shop.client
        self._mark = shop.mark
        self.trips: list[str] = []
        self.talks: list[int] = []

    async def send(self) -> None:
        """Send one more of each; now and then one that was sent before, from either side."""
        number = len(self.trips)
        trip = self.trip(str(number))
        self.trips.append(trip)
        self.talks.append(number)
        events = [self._trip(trip), self._talk(number)]
        if number % 3 == 0:
            events += [self._trip(self.trips[number // 2]), self._talk(number // 2)]
        for each in events:
            await self._client.send(each)

    async def until_over(self, after: datetime, more: int) -> None:
        """Send until a moment has passed, and `more` thereafter."""
        while datetime.now(UTC) < after:
            await self.send()
            await asyncio.sleep(0.2)
        for _ in range(more):
            await self.send()

    def talk(self, number: int) -> str:
        """Give the id of a talk."""
        return f"talk-{self._mark}-{number}"

    def trip(self, word: str) -> str:
        """Give the id of a trip."""
        return f"trip-{self._mark}-{word}"

    async def again(self, *trips: str) -> None:
        """Send trips anew."""
        for each in trips:
            await self._client.send(self._trip(each))

    async def tell(self, name: str, numbers: Sequence[int]) -> None:
        """Answer talks, or hush them."""
        for each in numbers:
            await self._client.send(inngest.Event(name=name, data={"n": each}))

    def _trip(self, trip: str) -> inngest.Event:
        return inngest.Event(name="change/trip", data={}, id=trip)

    def _talk(self, number: int) -> inngest.Event:
        return inngest.Event(name="change/talk", data={"n": number}, id=self.talk(number))


@contextlib.asynccontextmanager
async def native(
    stage: Stage, client: inngest.Inngest, functions: list[Any]
) -> AsyncIterator[None]:
    """Serve functions as the SDK does, and register them."""
    app, port = fastapi.FastAPI(), free_port()
    inngest.fast_api.serve(app, client, functions)
    async with serving(app, port), httpx.AsyncClient() as http:
        answer = await http.put(f"http://127.0.0.1:{port}/api/inngest")
        assert answer.status_code == 200, answer.text
        yield


async def test_nothing_is_lost_and_nothing_starts_twice(stage: Stage) -> None:
    """Every event is run once, by one side, whenever it comes and however often."""
    async with stage.server(), contextlib.AsyncExitStack() as before:
        shop = Changing(stage.url)
        sender = Sender(shop)
        await before.enter_async_context(native(stage, shop.client, shop.functions))
        for _ in range(6):
            await sender.send()
        adopted = adopt(shop.client, shop.functions)
        assert adopted.heard == ("change/hush", "change/answer")
        ingress = {"TURNOUT_INNGEST_INGRESS": ",".join(adopted.heard)}
        async with stage.service(adopted.app(schedules=False), **ingress) as live:
            after = datetime.now(UTC) + AHEAD
            handover = adopted.handover(lambda events: live.orchestrator.emit(*events), after=after)
            async with native(stage, shop.client, handover):
                await before.aclose()
                await sender.until_over(after, 6)
                await until(lambda: _all(shop, "ask", sender))
                hushed, answered = sender.talks[::5], set(sender.talks) - set(sender.talks[::5])
                await sender.tell("change/hush", hushed)
                await until(lambda: _answered(shop, sender, answered))
                await until(lambda: _done(shop, sender.trips))
                await until(lambda: _idle(stage, shop, live))
        last = await _after_the_change(stage, shop, sender, adopted)
        _check(shop, sender, last, set(hushed))
        sides = _sides(shop, sender)
        assert min(sides.values()) >= 6, sides


async def _after_the_change(
    stage: Stage, shop: Changing, sender: Sender, adopted: Adopted
) -> list[str]:
    """Arm the ingress beside the functions that hand over, then take these away."""
    late = [sender.trip(f"late-{number}") for number in range(3)]
    heard = ",".join(["subscribed", *adopted.heard])
    async with stage.service(adopted.app(), TURNOUT_INNGEST_INGRESS=heard) as live:
        long_ago = datetime(2026, 1, 1, tzinfo=UTC)
        handover = adopted.handover(lambda each: live.orchestrator.emit(*each), after=long_ago)
        async with native(stage, shop.client, handover):
            handed = [each for each in sender.trips if not _is_native(shop, "trip", each)]
            await sender.again(handed[-1], late[0], late[1], late[0])
            await until(lambda: _done(shop, late[:2]))
            await until(lambda: _idle(stage, shop, live))
        async with native(stage, shop.client, [_nothing(shop.client)]):
            await sender.again(late[2], late[1], handed[-1])
            await until(lambda: _done(shop, late))
            await until(lambda: _idle(stage, shop, live))
    return late


def _nothing(client: inngest.Inngest) -> inngest.Function[Any]:
    @client.create_function(fn_id="nothing", trigger=inngest.TriggerEvent(event="change/nothing"))
    async def nothing(ctx: inngest.Context) -> None:
        del ctx

    return nothing


def _check(shop: Changing, sender: Sender, late: list[str], hushed: set[int]) -> None:
    for trip in [*sender.trips, *late]:
        seen = [each for each in shop.notes if each[1] == trip]
        assert shop.done("trip", trip) == {"leave": 1, "arrive": 1}, seen
        assert shop.done("told", trip) == {"tell": 1}, seen
        assert len(shop.runs("trip", trip)) == len(shop.runs("told", trip)) == 1, trip
    for number in sender.talks:
        talk = sender.talk(number)
        expected = {"ask": 1} if number in hushed else {"ask": 1, "heard": 1}
        assert shop.done("talk", talk) == expected, talk
        assert len(shop.runs("talk", talk)) == 1, talk


def _sides(shop: Changing, sender: Sender) -> dict[str, int]:
    """Count the trips by the side that ran them."""
    natives = sum(_is_native(shop, "trip", each) for each in sender.trips)
    return {"native": natives, "adopted": len(sender.trips) - natives}


def _is_native(shop: Changing, function: str, event: str) -> bool:
    """The vendor's ids are in capitals, ours are not."""
    return all(run.isupper() for run in shop.runs(function, event))


async def _all(shop: Changing, step: str, sender: Sender) -> bool | None:
    return all(step in shop.done("talk", sender.talk(each)) for each in sender.talks) or None


async def _answered(shop: Changing, sender: Sender, numbers: set[int]) -> bool | None:
    """Answer those that have not heard it: one that did not wait yet hears nothing."""
    deaf = [each for each in numbers if "heard" not in shop.done("talk", sender.talk(each))]
    await sender.tell("change/answer", deaf)
    await asyncio.sleep(1 if deaf else 0)
    return None if deaf else True


async def _done(shop: Changing, trips: Sequence[str]) -> bool | None:
    return (
        all(shop.done("trip", each)["arrive"] and shop.done("told", each) for each in trips) or None
    )


async def _idle(stage: Stage, shop: Changing, live: Turnout) -> bool | None:
    """Whether nothing is under way on either side."""
    runs = await live.store.runs.find(RunFilter(limit=500))
    if any(not each.state.terminal for each in runs):
        return None
    query = {"appId": shop.client.app_id, "status": ["RUNNING", "QUEUED"], "limit": 10}
    answer = await stage.api.get("/v2/runs", params=query)
    assert answer.status_code == 200, answer.text
    return not answer.json().get("data") or None

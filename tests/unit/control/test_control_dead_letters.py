"""Events that are refused at a door: kept with the reason, and emitted again once they fit."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel
from turnout_testing.clock import TurnableClock

from turnout import App, Context, Event, Turnout, app, open_turnout, task
from turnout.control.emissions import LARGEST_PAYLOAD
from turnout.errors import InvalidPayload, TooLarge, WrongUse
from turnout.model.runs import RunFilter
from turnout.model.time import as_datetime
from turnout.ports.run_store import RunStore
from turnout.stores.sql import open_run_store


class Order(BaseModel):
    """What the task takes."""

    amount: int


class Lenient(BaseModel):
    """What it takes once it is mended."""

    amount: int = 0


def app_of(model: type[BaseModel]) -> App:
    """Make an app whose task takes orders by this model."""

    async def order(_ctx: Context, payload: Any) -> int:
        return int(payload.amount)

    order.__annotations__["payload"] = model
    return app("letters", task("order", on="order/placed")(order))


@pytest.fixture
async def store() -> AsyncIterator[RunStore]:
    """Give a run store that outlives what is opened on it."""
    opened = open_run_store("sqlite://")
    yield opened
    await opened.close()


def opened(store: RunStore, model: type[BaseModel] = Order) -> Turnout:
    """Open the app on the store, without starting it."""
    settings = {"ORCHESTRATOR_PROVIDER": "memory"}
    return open_turnout(app_of(model), settings, clock=TurnableClock(), store=store, serve=False)


async def test_a_refused_event_is_kept_and_emitted_once_it_fits(store: RunStore) -> None:
    """The door's caller hears the reason; the letter starts the run that the event would have."""
    door = opened(store)
    later = as_datetime(door.clock.now() + 3_600_000)
    refused = Event(name="order/placed", payload={"sum": 7}, key="o-1", at=later)
    for _ in range(2):
        with pytest.raises(InvalidPayload, match=r"payload\.amount"):
            await door.dead_letters.receive([refused])
    (letter,) = await store.dead_letters.read(limit=9)
    assert (letter.name, letter.payload, letter.key) == ("order/placed", b'{"sum":7}', "o-1")
    assert "payload.amount" in letter.error
    with pytest.raises(InvalidPayload):
        await door.dead_letters.emit(letter)
    assert await store.dead_letters.count() == 1
    mended = opened(store, Lenient)
    for _ in range(2):
        await mended.dead_letters.emit(letter)
    (run,) = await store.runs.find(RunFilter())
    assert (run.key, run.payload, run.due_at) == ("o-1", b'{"sum":7}', letter.due_at)
    assert await store.dead_letters.count() == 0


async def test_a_letter_without_a_key_starts_its_run_once(store: RunStore) -> None:
    """A kill between its emit and the note of it is repeated safely."""
    with pytest.raises(InvalidPayload):
        await opened(store).dead_letters.receive([Event(name="order/placed", payload={})])
    (letter,) = await store.dead_letters.read(limit=9)
    mended = opened(store, Lenient)
    first, second = [await mended.dead_letters.emit(letter) for _ in range(2)]
    assert first.runs[0].run_id == second.runs[0].run_id


async def test_events_of_one_request_are_kept_together(store: RunStore) -> None:
    """They are recorded all or none, so each is a letter, with its own reason."""
    events = [Event(name="order/placed", payload={"amount": amount}) for amount in (1, "x")]
    with pytest.raises(WrongUse):
        await opened(store).dead_letters.receive(events)
    letters = await store.dead_letters.read(limit=9)
    assert sorted(letter.error.split(":")[0] for letter in letters) == [
        "invalid_payload",
        "refused together with another event of its request",
    ]
    assert await store.runs.find(RunFilter()) == []


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ({"amount": 1, "x": "x" * LARGEST_PAYLOAD}, TooLarge),
        ({"amount": float("nan")}, WrongUse),
        ({"amount": "\ud800"}, WrongUse),
    ],
)
async def test_what_cannot_be_kept_is_refused_as_ever(
    store: RunStore, payload: Any, error: type[WrongUse], caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and no letter holds what no event may be."""
    with pytest.raises(error):
        await opened(store).dead_letters.receive([Event(name="order/placed", payload=payload)])
    assert await store.dead_letters.count() == 0
    assert any(vars(record).get("action") == "dead_letter" for record in caplog.records)


async def test_an_event_with_a_name_that_cannot_be_is_kept_by_its_storable_name(
    store: RunStore,
) -> None:
    """Whatever a sender writes, the door answers with its reason."""
    with pytest.raises(WrongUse):
        await opened(store).dead_letters.receive([Event(name="a\0b\ud800", key="k\0", payload={})])
    assert await store.dead_letters.count() == 1

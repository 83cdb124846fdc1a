"""Which provider a new run goes to in a dual run: by routes that are read in time, and stickily."""

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnout import Concurrency, Context, Event, app, open_turnout, task
from turnout.errors import InvalidDefinition, StoreUnavailable
from turnout.model.routing import DUAL, Route, Selection, Stage, choose
from turnout.model.tasks import Task
from turnout.service.routes import FRESH, RouteBoard

SELECTION = Selection(provider=DUAL, primary="old", shadow="new")


@pytest.fixture
def environ(tmp_path: Path, made_up_adapters: None) -> dict[str, str]:
    """Settings of a dual run of two made-up vendors."""
    return {
        "ORCHESTRATOR_PROVIDER": "dual",
        "ORCHESTRATOR_PRIMARY": "acme",
        "ORCHESTRATOR_SHADOW": "bolt",
        "TURNOUT_DATABASE_URL": f"sqlite:///{tmp_path}/runs.db",
        "TURNOUT_ARTIFACTS": "none",
        "TURNOUT_SERVICE_URL": "http://127.0.0.1:1",
        "ACME_URL": "http://127.0.0.1:9",
        "ACME_KEY": "right",
        "BOLT_URL": "http://127.0.0.1:9",
        "BOLT_KEY": "right",
    }


def ramp(percentage: int) -> Route:
    """Make a route that sends so many of a hundred runs to the new provider."""
    return Route(stage=Stage.RAMP, old="acme", new="bolt", percentage=percentage)


def made(**options: Any) -> Task:
    """Make a task with these options."""

    @task("order", on="order/placed", **options)
    async def order(_ctx: Context, _payload: dict[str, Any]) -> None:
        pass

    return order


class Routes:
    """A store of routes that counts its readings, and may be away."""

    def __init__(self) -> None:
        self.readings = 0
        self.away = False

    async def read(self) -> dict[str, Route]:
        """Read the one route, which has the number of the reading."""
        if self.away:
            raise StoreUnavailable
        self.readings += 1
        return {"order": replace(ramp(self.readings), generation=self.readings)}

    async def put(self, task: str, route: Route, now: int) -> None:
        """Do nothing."""


async def test_a_process_that_is_not_started_follows_the_routes(
    environ: dict[str, str],
) -> None:
    """A web process that only emits sends each run where the route says, from the first one."""
    live = open_turnout(app("shop", made()), environ, serve=False)
    await live.store.routes.put("order", Route(stage=Stage.NEW, old="acme", new="bolt"), 0)
    (emitted,) = await live.orchestrator.emit(Event(name="order/placed"))
    run = (await live.store.journals.load(emitted.runs[0].run_id)).run
    assert (run.provider, run.shadow) == ("bolt", None)
    await live.close()


async def test_routes_are_read_again_after_a_second() -> None:
    """One reading serves all emits of a second; routes that were read outlive a store's outage."""
    store, now = Routes(), [5.0]
    board = RouteBoard(store, monotonic=lambda: now[0])
    store.away = True
    with pytest.raises(StoreUnavailable):
        await board.refresh()
    store.away = False
    for passed in (0.0, FRESH, 0.1, 0.5):
        now[0] += passed
        await board.refresh()
    assert (store.readings, board()["order"].percentage) == (2, 2)
    store.away = True
    now[0] += 60
    await board.refresh()
    assert board()["order"].percentage == 2


async def test_whoever_waits_for_other_routes_learns_of_them_at_once() -> None:
    """A replica says which routes it goes by as soon as it has read them."""
    store, now = Routes(), [5.0]
    board = RouteBoard(store, monotonic=lambda: now[0])
    assert (board.generation, board.age) == (0, None)
    waits = [asyncio.create_task(board.changed(60)) for _ in range(2)]
    await asyncio.sleep(0)
    await board.read()
    now[0] += 0.25
    await asyncio.gather(*waits)
    assert (board.generation, board.age) == (1, 250)
    await board.changed(0)


@pytest.mark.parametrize(
    ("options", "together"),
    [
        ({"concurrency": Concurrency(limit=1, key="payload.customer")}, "customer"),
        ({"sticky": "payload.cart"}, "cart"),
        (
            {
                "concurrency": Concurrency(limit=1, key="payload.customer"),
                "sticky": "payload.cart",
            },
            "customer",
        ),
        ({"concurrency": Concurrency(limit=1)}, None),
        ({"concurrency": Concurrency(limit=1), "sticky": "payload.cart"}, "cart"),
        ({}, None),
    ],
)
async def test_what_belongs_together_stays_together_while_a_task_ramps(
    environ: dict[str, str], options: dict[str, Any], together: str | None
) -> None:
    """By the concurrency key, else by what the task declares, else each run for itself."""
    live = open_turnout(app("shop", made(**options)), environ, serve=False)
    await live.store.routes.put("order", ramp(50), 0)
    events = [
        Event(
            name="order/placed",
            payload={"customer": number % 12, "cart": number // 12},
            key=f"order-{number}",
        )
        for number in range(144)
    ]
    emitted = await live.orchestrator.emit(*events)
    providers = [
        (await live.store.journals.load(one.runs[0].run_id)).run.provider for one in emitted
    ]
    assert set(providers) == {"acme", "bolt"}
    sides: dict[int, set[str]] = {}
    for event, provider in zip(events, providers, strict=True):
        if together is not None:
            sides.setdefault(event.payload[together], set()).add(provider)
    assert all(len(side) == 1 for side in sides.values())
    if together is None:
        assert 40 < Counter(providers)["bolt"] < 104
    await live.close()


@settings(max_examples=60, deadline=None)
@given(sticky=st.text(max_size=40), percentage=st.integers(0, 100))
def test_a_ramp_sends_what_it_says(sticky: str, percentage: int) -> None:
    """Nothing at 0 %, all at 100 %, and what is on the new side stays there as the part grows."""

    def side(part: int) -> str:
        return choose(SELECTION, {"t": ramp(part)}, task="t", sticky=sticky).provider

    assert (side(0), side(100)) == ("acme", "bolt")
    if side(percentage) == "bolt":
        assert {side(part) for part in range(percentage, 101)} == {"bolt"}


def test_a_sticky_path_that_cannot_be_is_refused() -> None:
    """It starts at the payload, as every path does."""
    with pytest.raises(InvalidDefinition, match="sticky"):
        made(sticky="customer")


def test_a_ramp_of_nothing_sends_nothing_and_a_full_one_everything() -> None:
    """0 % is no run at all, 100 % is every run."""
    keys = [f"customer-{number}" for number in range(2_000)]
    for percentage, provider in ((0, "acme"), (100, "bolt")):
        routes = {"order": ramp(percentage)}
        chosen = {choose(SELECTION, routes, task="order", sticky=key).provider for key in keys}
        assert chosen == {provider}


def test_a_higher_percentage_moves_more_and_none_back() -> None:
    """Who has moved at one percentage has moved at each higher one; 1 % is one in a hundred."""
    keys = [f"customer-{number}" for number in range(2_000)]
    moved: set[str] = set()
    for percentage in (0, 1, 50, 99, 100):
        routes = {"order": ramp(percentage)}
        now = {
            key
            for key in keys
            if choose(SELECTION, routes, task="order", sticky=key).provider == "bolt"
        }
        assert moved <= now
        assert abs(len(now) - 20 * percentage) <= 80
        moved = now

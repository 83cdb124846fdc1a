"""Limited runs at platforms that keep the slots of vendor runs that wait."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from turnout_testing.clock import TurnableClock
from turnout_testing.conformance.run_store_values import T0, emission, new_run

from turnout.errors import ProviderUnavailable
from turnout.model.runs import Delivery, SendResult
from turnout.ports.run_store import RunStore
from turnout.pump.slots import PATIENCE, VALIDITY, PlatformSlots, TurnKeeper
from turnout.stores.sql import open_run_store


@pytest_asyncio.fixture
async def store() -> AsyncIterator[RunStore]:
    """A run store with five runs in one line."""
    opened = open_run_store("sqlite://")
    runs = [new_run(f"r{at}", limit_key='"k"') for at in range(5)]
    await opened.events.emit([emission(run, slotted=True) for run in runs])
    yield opened
    await opened.close()


@dataclass
class Platform:
    """A caller that says how many slots there are, or nothing, or does not answer."""

    answer: Any = 8
    asked: int = 0

    async def slots(self) -> int | None:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[no-any-return]


def keeper(store: RunStore, caller: Any, clock: TurnableClock, **options: Any) -> TurnKeeper:
    """Keep the turns of a line of one run at once."""
    return TurnKeeper(
        limits=store.limits,
        callers={"local": caller},
        clock=clock,
        slots=PlatformSlots(),
        limit_of=lambda _task: 1,
        **{"releasing": {"local"}, **options},
    )


async def due(store: RunStore, now: int) -> list[Delivery]:
    """Take what is to be sent."""
    return list(await store.due.take_deliveries(now, limit=99, hold=10**9))


@pytest.mark.parametrize(
    ("answer", "sent"),
    [
        (8, 2),  # at most the limit is delivered ahead
        (3, 1),  # a quarter of three slots is none
        (None, 1),
        (ProviderUnavailable("away"), 1),
    ],
)
async def test_a_line_is_delivered_as_its_turns_come(
    store: RunStore, answer: Any, sent: int
) -> None:
    """And a few ahead, where the platform says that it has slots for it."""
    caller, clock = Platform(answer), TurnableClock(T0)
    turns = keeper(store, caller, clock)
    passing = await turns.admitted("local", await due(store, T0))
    assert [delivery.run_id for delivery in passing] == [f"r{at}" for at in range(sent)]
    assert await due(store, T0 + 10**6) == []
    await turns.admitted("local", passing)
    assert caller.asked == 1
    await clock.turn_to(T0 + VALIDITY)
    await turns.admitted("local", passing)
    assert caller.asked == 2


async def test_all_are_delivered_where_a_wait_frees_the_slot(store: RunStore) -> None:
    """There nobody waits for a slot at the cost of another."""
    caller = Platform()
    turns = keeper(store, caller, TurnableClock(T0), releasing=set())
    assert len(await turns.admitted("local", await due(store, T0))) == 5
    assert caller.asked == 0


async def test_a_run_whose_delivery_is_not_accepted_gives_its_place_back(store: RunStore) -> None:
    """After a time, because a provider that is away must not stop the whole line."""
    clock = TurnableClock(T0)
    turns = keeper(store, Platform(0), clock)
    (first,) = await turns.admitted("local", await due(store, T0))

    async def refuse() -> None:
        now = clock.now()
        result = SendResult(
            run_id="r0", number=1, sent_at=now, due_at=now + 60_000, error="it is away"
        )
        await store.deliveries.record([result])
        await turns.record([first], [result])
        await store.due.take_wakes(now, limit=9, resend=9)

    await refuse()
    await clock.turn_to(T0 + PATIENCE - 1)
    await refuse()
    assert await due(store, clock.now()) == []
    await clock.turn_to(T0 + PATIENCE)
    await refuse()
    (second,) = await turns.admitted("local", await due(store, clock.now()))
    assert second.run_id == "r1"
    assert await store.limits.take_slot("r1", None, 1, clock.now())

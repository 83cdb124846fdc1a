"""How long the pump waits, and how it holds what a slow provider has not answered."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from turnout_testing.clock import TurnableClock

from turnout.errors import ProviderRefused, ProviderUnavailable
from turnout.model.runs import Delivery
from turnout.pump.holds import Holds
from turnout.pump.pace import Pace

PACE = Pace(retry=(200, 10_000), resend=(5_000, 20_000), hold=10_000)


@pytest.mark.parametrize(
    ("failures", "error", "wait"),
    [
        (0, ProviderUnavailable("away"), 200),
        (1, ProviderUnavailable("away"), 400),
        (5, ProviderUnavailable("away"), 6_400),
        (6, ProviderUnavailable("away"), 10_000),
        (10_000, ProviderUnavailable("away"), 10_000),
        (0, ProviderUnavailable("limited", retry_after=timedelta(seconds=90)), 90_000),
        (9, ProviderUnavailable("limited", retry_after=timedelta(seconds=0.05)), 50),
        (2, ProviderRefused("no"), 800),
    ],
)
def test_the_provider_says_when_to_call_again(failures: int, error: Exception, wait: int) -> None:
    """What it says counts; else each wait is twice as long, up to the longest."""
    assert PACE.retry_after(failures, error) == wait


@pytest.mark.parametrize(("times", "wait"), [(1, 5_000), (2, 20_000), (3, 20_000), (99, 20_000)])
def test_wakes_sent_together_are_not_sent_again_together(times: int, wait: int) -> None:
    """Up to half as long again, by run."""
    waits = {PACE.resend_after(f"run-{number}", times) for number in range(300)}
    assert wait <= min(waits) < wait * 1.02
    assert wait * 1.48 < max(waits) < wait * 1.5
    assert len(waits) > 200


class Postponed:
    """Records until when deliveries are held."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int]] = []

    async def postpone(self, run_id: str, number: int, due_at: int) -> None:
        """Keep the call."""
        self.calls.append((run_id, number, due_at))


async def test_the_hold_of_a_slow_delivery_is_renewed_until_it_ends() -> None:
    """No other pump takes a delivery while its provider has not answered."""
    clock, store = TurnableClock(), Postponed()
    deliveries: Any = store
    holds = Holds(deliveries, clock, hold=PACE.hold)
    slow = [Delivery(run_id=name, number=2, provider="acme", task="t") for name in ("a", "b")]
    held_until = clock.now() + PACE.hold
    async with holds.renewed(slow):
        for _ in range(8):
            await clock.advance("2500ms")
            assert clock.now() < held_until
            held_until = max([due_at for _, _, due_at in store.calls], default=held_until)
    assert {(run_id, number) for run_id, number, _ in store.calls} == {("a", 2), ("b", 2)}
    ended = len(store.calls)
    await clock.advance("1m")
    assert len(store.calls) == ended


async def test_a_hold_that_cannot_be_renewed_once_is_tried_again() -> None:
    """A store that fails for a moment does not end the holding."""
    clock, store = TurnableClock(), Postponed()
    failing = [True]

    async def postpone(run_id: str, number: int, due_at: int) -> None:
        if failing.pop() if failing else False:
            raise ProviderUnavailable("for a moment")
        store.calls.append((run_id, number, due_at))

    deliveries: Any = store
    store.postpone = postpone  # type: ignore[method-assign]
    holds = Holds(deliveries, clock, hold=PACE.hold)
    async with holds.renewed([Delivery(run_id="a", number=1, provider="acme", task="t")]):
        await clock.advance("11s")
        await asyncio.sleep(0)
    assert store.calls == [("a", 1, clock.now() - 1_000 + PACE.hold)]

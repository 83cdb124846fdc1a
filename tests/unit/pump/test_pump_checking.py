"""What a check of a silent vendor run does."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from turnout_testing.clock import TurnableClock
from turnout_testing.conformance.run_store_values import new_run

from turnout.model.providers import Sighting
from turnout.model.runs import Delivery, Journal
from turnout.model.status import DeliveryState, ParkReason, RunStatus
from turnout.pump.checking import DeliveryChecker
from turnout.pump.holds import Holds
from turnout.pump.pace import Pace


@pytest.mark.parametrize(
    ("reason", "state", "woken"),
    [
        (ParkReason.EVENT, RunStatus.RUNNING, True),
        (ParkReason.EVENT, RunStatus.QUEUED, False),
        (ParkReason.SLEEP, RunStatus.RUNNING, False),
    ],
)
async def test_a_silent_live_vendor_run_is_woken_again(
    reason: ParkReason, state: RunStatus, woken: bool
) -> None:
    """Its wait is over and it has not called; a sleep is ended by the provider's own timer."""
    clock = TurnableClock()
    run = new_run(
        provider="acme",
        state=RunStatus.RUNNING,
        parked=True,
        parked_until=clock.now() - 120_000,
        parked_for=(reason,),
    )
    sighting = Sighting(state=state, word=state.value, seen_at=clock.now())
    caller: Any = SimpleNamespace(look=AsyncMock(return_value=sighting), wake=AsyncMock())
    journals: Any = SimpleNamespace(load=AsyncMock(return_value=Journal(run=run)))
    deliveries: Any = AsyncMock()
    checker = DeliveryChecker(
        journals=journals,
        deliveries=deliveries,
        callers={"acme": caller},
        clock=clock,
        pace=Pace(),
        holds=Holds(deliveries, clock, hold=10_000),
        embedded=(),
    )
    await checker.check(
        Delivery(
            run_id=run.run_id, number=1, provider="acme", task="t", state=DeliveryState.CLAIMED
        )
    )
    assert caller.wake.await_count == int(woken)

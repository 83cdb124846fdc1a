"""Tags of runs: providers get them to show, unless they are to be told no data."""

from collections.abc import Sequence
from typing import Any

import pytest
from turnout_testing.clock import TurnableClock
from turnout_testing.conformance.run_store_values import T0, emission, new_run

from turnout import app
from turnout.model.labels import Labels
from turnout.model.providers import Delivered
from turnout.model.runs import Delivery
from turnout.pump.pump import Pump
from turnout.stores.sql import open_run_store
from turnout.worker.worker import TaskWorker


class Vendor:
    """A vendor that keeps what it was sent."""

    name = "acme"

    def __init__(self) -> None:
        self.sent: list[Delivery] = []

    async def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Delivered]:
        self.sent += deliveries
        return [Delivered(key=delivery.key) for delivery in deliveries]


@pytest.mark.parametrize("shows_tags", [True, False])
async def test_a_provider_gets_the_tags_unless_they_are_withheld(*, shows_tags: bool) -> None:
    """What they say of a customer is data, too; the run store has them either way."""
    clock, store, vendor = TurnableClock(), open_run_store("sqlite://"), Vendor()
    worker = TaskWorker(app=app("tags"), store=store, clock=clock)
    callers: Any = {"acme": vendor}
    pump = Pump(store=store, callers=callers, upkeep=worker, clock=clock, shows_tags=shows_tags)
    labels = Labels(tags=("vip",), user_id="u1", metadata=b"{}")
    await store.events.emit([emission(new_run(provider="acme", labels=labels, due_at=T0))])
    await pump.turn()
    await pump.settle()
    assert [delivery.tags for delivery in vendor.sent] == [("vip",) if shows_tags else ()]
    assert (await store.journals.load("r1")).run.labels == labels
    await store.close()

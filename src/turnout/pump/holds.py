"""Holds: no other pump takes a delivery that this pump has taken, for a while."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from turnout.model.runs import Delivery
from turnout.model.time import Millis
from turnout.ports.clock import Clock
from turnout.ports.run_store import DeliveryStore
from turnout.pump.failures import logged


class Holds:
    """Renews holds, and puts deliveries off."""

    def __init__(self, deliveries: DeliveryStore, clock: Clock, *, hold: Millis) -> None:
        self._deliveries = deliveries
        self._clock = clock
        self._hold = hold

    @asynccontextmanager
    async def renewed(self, deliveries: Sequence[Delivery]) -> AsyncIterator[None]:
        """Renew the hold for as long as the context is open, so that no other pump takes these."""
        task = asyncio.create_task(self._renew(deliveries))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def postpone(self, delivery: Delivery, wait: Millis) -> None:
        """Make the delivery due again after a wait."""
        await self._deliveries.postpone(delivery.run_id, delivery.number, self._clock.now() + wait)

    async def _renew(self, deliveries: Sequence[Delivery]) -> None:
        while True:
            await self._clock.sleep(self._hold // 2)
            with logged("hold", deliveries[0].run_id):
                for delivery in deliveries:
                    await self.postpone(delivery, self._hold)

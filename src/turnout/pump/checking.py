"""Checking deliveries: gone and stalled vendor runs are replaced, unwanted ones are stopped."""

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping

from turnout.errors import TurnoutError, UnknownRun, foreign_errors_translated
from turnout.model.providers import Sighting
from turnout.model.runs import Delivery, Wake
from turnout.model.status import DeliveryState, RunStatus
from turnout.ports.caller import DurableCaller
from turnout.ports.clock import Clock
from turnout.ports.run_store import DeliveryStore, JournalStore
from turnout.pump.holds import Holds
from turnout.pump.pace import Pace
from turnout.pump.stalls import StallDetector, silence_is_expected

log = logging.getLogger(__name__)

STOP_AGAIN = 1_000
"""Milliseconds until a provider that has not confirmed a stop is asked again."""


class DeliveryChecker:
    """Asks providers about the vendor runs of deliveries, and acts on the answers."""

    def __init__(
        self,
        *,
        journals: JournalStore,
        deliveries: DeliveryStore,
        callers: Mapping[str, DurableCaller],
        clock: Clock,
        pace: Pace,
        holds: Holds,
        embedded: Collection[str],
    ) -> None:
        """embedded: providers in our own process, whose silent runs wait in our own queue."""
        self._journals = journals
        self._deliveries = deliveries
        self._callers = callers
        self._clock = clock
        self._pace = pace
        self._holds = holds
        self._embedded = embedded
        self._stalls = StallDetector(patience=pace.silence)

    async def stop(self, delivery: Delivery) -> None:
        """Stop a vendor run; asked again until the provider confirms its end."""
        await self._guarded(self._stop, delivery)

    async def check(self, delivery: Delivery) -> None:
        """Find out whether a silent vendor run is still going to call; if not, deliver again."""
        await self._guarded(self._check, delivery)

    async def _stop(self, delivery: Delivery) -> None:
        with foreign_errors_translated():
            ended = await self._callers[delivery.provider].stop(delivery)
        if ended:
            await self._deliveries.mark_stopped(delivery.run_id, delivery.number)
        else:
            await self._holds.postpone(delivery, STOP_AGAIN)

    async def _check(self, delivery: Delivery) -> None:
        now = self._clock.now()
        journal = await self._journals.load(delivery.run_id)
        if journal.run.state.terminal:
            self._stalls.forget(delivery.run_id)
            await self._deliveries.mark_stopped(delivery.run_id, delivery.number)
            return
        # A delivery that was never claimed is not silent because its run waits.
        if delivery.state is DeliveryState.CLAIMED and silence_is_expected(journal, now):
            self._stalls.forget(delivery.run_id)
            await self._holds.postpone(delivery, self._pace.calm_look)
            return
        with foreign_errors_translated():
            sighting = await self._callers[delivery.provider].look(delivery)
        if is_gone(sighting):
            await self._redeliver(delivery, "the vendor run is gone", sighting)
        elif sighting.state is not RunStatus.RUNNING or delivery.provider in self._embedded:
            self._stalls.forget(delivery.run_id)
            await self._wake(delivery, journal.run.seq)
        elif self._stalls.is_stalled(delivery, journal, now):
            # It may still call: it is stopped, and such a call is answered that it is superseded.
            await self._redeliver(delivery, "the vendor run is stalled", sighting, stop=True)
        else:
            await self._wake(delivery, journal.run.seq)

    async def _wake(self, delivery: Delivery, seq: int) -> None:
        wake = Wake(run_id=delivery.run_id, seq=seq, due_at=self._clock.now(), delivery=delivery)
        with foreign_errors_translated():
            await self._callers[delivery.provider].wake([wake])
        await self._holds.postpone(delivery, self._pace.look)

    async def _redeliver(
        self, delivery: Delivery, reason: str, sighting: Sighting, *, stop: bool = False
    ) -> None:
        log.warning(
            "%s; the run is delivered again",
            reason,
            extra={"action": "redeliver", "run_id": delivery.run_id, "word": sighting.word},
        )
        superseded = (delivery.run_id, delivery.number, delivery.provider)
        await self._deliveries.redeliver(*superseded, self._clock.now(), stop=stop)
        self._stalls.forget(delivery.run_id)

    async def _guarded(
        self, work: Callable[[Delivery], Awaitable[None]], delivery: Delivery
    ) -> None:
        """Do the work while the hold is renewed; a failure makes the delivery due again later."""
        if delivery.provider not in self._callers:
            await self._holds.postpone(delivery, self._pace.look)
            return
        try:
            async with self._holds.renewed([delivery]):
                await work(delivery)
        except UnknownRun:
            return
        except TurnoutError as error:
            log.warning(
                "a provider did not answer about a run; it is asked again",
                extra={
                    "action": "look",
                    "provider": delivery.provider,
                    "run_id": delivery.run_id,
                    "error": str(error),
                },
            )
            await self._holds.postpone(delivery, self._pace.retry_after(delivery.failures, error))


def is_gone(sighting: Sighting) -> bool:
    """Whether the vendor run will never call again."""
    return sighting.state is None or sighting.state.terminal

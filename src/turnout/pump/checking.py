"""Checking deliveries: gone and stalled vendor runs are replaced, unwanted ones are stopped."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping

from turnout.errors import TurnoutError, UnknownRun, foreign_errors_translated
from turnout.model.providers import Sighting
from turnout.model.runs import Delivery, Journal, Run, Wake
from turnout.model.status import TIMED, DeliveryReason, DeliveryState, RunStatus
from turnout.model.time import Millis
from turnout.ports.caller import DurableCaller
from turnout.ports.clock import Clock
from turnout.ports.run_store import DeliveryStore, JournalStore
from turnout.pump.holds import Holds
from turnout.pump.pace import Pace
from turnout.pump.stalls import Silences, patience_for, silence_is_expected

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
        self._silences = Silences()
        self._failures: Counter[str] = Counter()
        """By provider: the calls that failed since one succeeded."""

    async def stop(self, delivery: Delivery) -> None:
        """Stop a vendor run; asked again until the provider confirms its end."""
        await self._guarded(self._stop, delivery, delay=STOP_AGAIN)

    async def check(self, delivery: Delivery) -> None:
        """Find out whether a silent vendor run is still going to call; if not, deliver again."""
        await self._guarded(self._check, delivery, delay=self._pace.look)

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
            self._silences.forget(delivery.run_id)
            await self._deliveries.mark_stopped(delivery.run_id, delivery.number)
            return
        embedded = delivery.provider in self._embedded
        late = 0 if embedded else self._pace.calm_look
        # A delivery that was never claimed is not silent because its run waits.
        if delivery.state is DeliveryState.CLAIMED and silence_is_expected(journal, now, late=late):
            self._silences.forget(delivery.run_id)
            await self._holds.postpone(delivery, self._calm_look(delivery, journal.run, now))
            return
        with foreign_errors_translated():
            sighting = await self._callers[delivery.provider].look(delivery)
        if embedded:
            await self._wake(delivery, journal.run)
            await self._holds.postpone(delivery, self._pace.look)
            return
        await self._judge(delivery, journal, sighting, now)

    def _calm_look(self, delivery: Delivery, run: Run, now: Millis) -> Millis:
        """How long a delivery that is silent for a reason need not be checked.

        In our own process a wait is ended by a wake, which is sent until the run calls; so runs
        that are asleep cost nothing meanwhile.
        """
        if not run.parked or delivery.provider not in self._embedded:
            return self._pace.calm_look
        if run.parked_until is None:
            return self._pace.asleep_look
        return max(run.parked_until - now, 0) + self._pace.calm_look

    async def _judge(
        self, delivery: Delivery, journal: Journal, sighting: Sighting, now: Millis
    ) -> None:
        """Act on what a provider says of a vendor run that should call."""
        state = sighting.state
        if state is not None and state.terminal:
            await self._redeliver(delivery, "the vendor run is gone", sighting)
            return
        silence = self._silences.duration(delivery, journal, now, word=state or "")
        bound = self._pace.absence if state is None else self._pace.silence
        patience = patience_for(await self._lost_before(delivery), bound)
        if state is RunStatus.QUEUED or silence < patience:
            if state is RunStatus.RUNNING:
                await self._wake(delivery, journal.run)
            # Looked at more and more rarely, so that many late runs do not slow their provider.
            remaining = patience if state is RunStatus.QUEUED else patience - silence
            await self._holds.postpone(delivery, max(self._pace.look, min(silence, remaining)))
        elif state is None:
            await self._redeliver(delivery, "the vendor run is gone", sighting)
        else:
            # It may still call: it is stopped, and such a call is answered that it is superseded.
            await self._redeliver(delivery, "the vendor run is stalled", sighting, stop=True)

    async def _lost_before(self, delivery: Delivery) -> int:
        """Count the deliveries of the run that were lost before this one."""
        if delivery.number == 1:
            return 0
        deliveries = await self._deliveries.read(delivery.run_id)
        return sum(row.reason is DeliveryReason.LOST for row in deliveries)

    async def _wake(self, delivery: Delivery, run: Run) -> None:
        """Wake a run whose wait is over; a sleep is ended by its provider's own timer."""
        now = self._clock.now()
        is_over = run.parked and run.parked_until is not None and run.parked_until <= now
        waited = is_over and not TIMED.issuperset(run.parked_for)
        if waited or delivery.provider in self._embedded:
            wake = Wake(run_id=run.run_id, seq=run.seq, due_at=now, delivery=delivery)
            with foreign_errors_translated():
                await self._callers[delivery.provider].wake([wake])

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
        self._silences.forget(delivery.run_id)

    async def _guarded(
        self, work: Callable[[Delivery], Awaitable[None]], delivery: Delivery, *, delay: Millis
    ) -> None:
        """Do the work while the hold is renewed; a failure makes the delivery due again later.

        delay: how much later at least.
        """
        if delivery.provider not in self._callers:
            await self._holds.postpone(delivery, self._pace.look)
            return
        try:
            async with self._holds.renewed([delivery]):
                await work(delivery)
            self._failures.pop(delivery.provider, None)
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
            # Time in which the provider cannot be reached says nothing of its runs.
            self._silences.forget(delivery.run_id)
            wait = self._pace.retry_after(self._failures[delivery.provider], error)
            self._failures[delivery.provider] += 1
            await self._holds.postpone(delivery, max(delay, wait))

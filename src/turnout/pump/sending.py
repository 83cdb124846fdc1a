"""Sending deliveries: a provider starts a vendor run for each."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from turnout.errors import ProviderUnavailable, TurnoutError, foreign_errors_translated
from turnout.model.providers import Delivered
from turnout.model.runs import Delivery, SendResult
from turnout.model.time import Millis
from turnout.ports.caller import DurableCaller
from turnout.ports.clock import Clock
from turnout.ports.run_store import DeliveryStore
from turnout.pump.holds import Holds
from turnout.pump.pace import Pace
from turnout.pump.slots import TurnKeeper

log = logging.getLogger(__name__)


class Sender:
    """Sends deliveries and records what became of each."""

    def __init__(
        self,
        *,
        deliveries: DeliveryStore,
        callers: Mapping[str, DurableCaller],
        clock: Clock,
        pace: Pace,
        holds: Holds,
        ready: Callable[[str], bool],
        turns: TurnKeeper,
        shows_tags: bool,
    ) -> None:
        """ready: whether a provider, by name, knows the tasks. turns: lets limited runs pass.

        shows_tags: whether providers may know the runs' tags.
        """
        self._shows_tags = shows_tags
        self._deliveries = deliveries
        self._callers = callers
        self._clock = clock
        self._pace = pace
        self._holds = holds
        self._ready = ready
        self._turns = turns

    async def send(self, provider: str, deliveries: Sequence[Delivery]) -> None:
        """Send deliveries to one provider, in one call; those that fail are due again later."""
        deliveries = await self._turns.admitted(provider, deliveries)
        if not deliveries:
            return
        async with self._holds.renewed(deliveries):
            answers = await self._answers(provider, deliveries)
        now = self._clock.now()
        results = [
            self._result(delivery, answer, now)
            for delivery, answer in zip(deliveries, answers, strict=True)
        ]
        errors = [result.error for result in results if result.error is not None]
        if errors:
            # Where a provider does not know the tasks, the registrar says so, if it is not at once.
            log.log(
                logging.WARNING if self._ready(provider) else logging.DEBUG,
                "a provider did not accept deliveries; they are sent again",
                extra={
                    "action": "deliver",
                    "provider": provider,
                    "count": len(errors),
                    "error": errors[0],
                },
            )
        await self._deliveries.record(results)
        await self._turns.record(deliveries, results)

    async def _answers(self, provider: str, deliveries: Sequence[Delivery]) -> Sequence[Delivered]:
        """Deliver all; an error of the call is the answer for each of them."""
        try:
            if not self._ready(provider):
                raise ProviderUnavailable(f"{provider} does not know the tasks yet")
            with foreign_errors_translated():
                answers = await self._callers[provider].deliver(self._shown(deliveries))
                if len(answers) != len(deliveries):
                    raise ProviderUnavailable(
                        f"{provider} answered {len(answers)} of {len(deliveries)} deliveries"
                    )
        except TurnoutError as error:
            return [Delivered(key=delivery.key, error=error) for delivery in deliveries]
        return answers

    def _shown(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        if self._shows_tags:
            return deliveries
        return [replace(delivery, tags=()) for delivery in deliveries]

    def _result(self, delivery: Delivery, answer: Delivered, now: Millis) -> SendResult:
        error = answer.error
        wait = (
            self._pace.look if error is None else self._pace.retry_after(delivery.failures, error)
        )
        return SendResult(
            run_id=delivery.run_id,
            number=delivery.number,
            sent_at=now,
            due_at=now + wait,
            provider_run_id=answer.provider_run_id,
            error=None if error is None else str(error),
        )

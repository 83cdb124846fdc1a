"""Slots of platforms that keep one for each vendor run: who is delivered, and how far ahead.

Where a vendor run that waits keeps its slot, a limited run is delivered once its turn has come, or
if it is among the next few of its line, so that short bodies do not wait for a vendor's start.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Final

from turnout.errors import TurnoutError, foreign_errors_translated
from turnout.model.runs import Delivery, SendResult
from turnout.model.time import Millis
from turnout.ports.caller import DurableCaller, HasSlots
from turnout.ports.clock import Clock
from turnout.ports.run_store import LimitStore

VALIDITY: Final[Millis] = 60_000
"""How long a reading of a platform's slots is valid; a failed reading, too."""
ANSWER_TIME: Final = 3.0
"""Seconds in which a platform must say how many slots it has."""
PATIENCE: Final[Millis] = 10_000
"""A run whose delivery was not accepted for this long gives its place in the line back."""
FORGOTTEN_AFTER: Final[Millis] = 3_600_000
"""When a first refusal is forgotten: the run may have ended since."""
SHARE: Final = 4
"""At most one in this many slots is taken by runs that are delivered before their turn."""


class PlatformSlots:
    """How many slots each platform has, as it last said."""

    def __init__(self) -> None:
        self._slots: dict[str, int] = {}

    def lookahead(self, provider: str, limit: int) -> int:
        """How many runs of a line may be delivered before their turn; 0 where nothing is known."""
        return min(limit, self._slots.get(provider, 0) // SHARE)

    def record(self, provider: str, slots: int | None) -> None:
        """Record how many slots a platform has; None: it does not say."""
        self._slots[provider] = slots or 0


class TurnKeeper:
    """Lets a delivery of a limited run pass if its turn has come, or is near."""

    def __init__(
        self,
        *,
        limits: LimitStore,
        callers: Mapping[str, DurableCaller],
        clock: Clock,
        slots: PlatformSlots,
        limit_of: Callable[[str], int | None],
        releasing: Collection[str],
    ) -> None:
        """limit_of: how many runs of a task may run at once.

        releasing: the platforms that keep the slot of a vendor run that waits.
        """
        self._limits = limits
        self._callers = callers
        self._clock = clock
        self._slots = slots
        self._limit_of = limit_of
        self._releasing = releasing
        self._read_at: dict[str, Millis] = {}
        self._refused_since: dict[str, Millis] = {}

    async def admitted(self, provider: str, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Return those that may be sent now; the others are due at their run's wake."""
        if provider not in self._releasing:
            return list(deliveries)
        limited = {
            delivery.run_id: limit
            for delivery in deliveries
            if (limit := self._limit_of(delivery.task)) is not None
        }
        if not limited:
            return list(deliveries)
        await self._refresh(provider)
        now = self._clock.now()
        held_back = {
            run_id
            for run_id, limit in limited.items()
            if not await self._limits.admit(
                run_id, limit, now, lookahead=self._slots.lookahead(provider, limit)
            )
        }
        return [delivery for delivery in deliveries if delivery.run_id not in held_back]

    async def record(self, deliveries: Sequence[Delivery], results: Sequence[SendResult]) -> None:
        """Let others go past runs whose deliveries are not accepted for too long."""
        for delivery, result in zip(deliveries, results, strict=True):
            if result.error is None:
                self._refused_since.pop(delivery.run_id, None)
                continue
            limit = self._limit_of(delivery.task)
            if limit is None:
                continue
            since = self._refused_since.setdefault(delivery.run_id, self._clock.now())
            if result.sent_at - since >= PATIENCE:
                await self._limits.give_back(delivery.run_id, limit, result.sent_at, result.due_at)

    async def _refresh(self, provider: str) -> None:
        caller, now = self._callers[provider], self._clock.now()
        if now - self._read_at.get(provider, now - VALIDITY) < VALIDITY:
            return
        self._read_at[provider] = now
        recent = (
            (run, at) for run, at in self._refused_since.items() if now - at < FORGOTTEN_AFTER
        )
        self._refused_since = dict(recent)
        slots = None
        if isinstance(caller, HasSlots):
            with suppress(TurnoutError, TimeoutError), foreign_errors_translated():
                slots = await asyncio.wait_for(caller.slots(), ANSWER_TIME)
        self._slots.record(provider, slots)

"""Asks providers about runs that have ended, and never waits long for an answer."""

import asyncio
from collections.abc import Collection, Mapping

from turnout.errors import TurnoutError, foreign_errors_translated
from turnout.model.providers import Sighting
from turnout.model.runs import Delivery
from turnout.model.status import DeliveryState
from turnout.model.time import Millis
from turnout.ports.caller import DurableCaller
from turnout.ports.clock import Clock

ANSWER_TIME = 3.0
"""Seconds in which a provider must answer."""
PAUSE: Millis = 15_000
"""For how long a provider that did not answer in time is not asked again."""
LONGEST_WORD = 500
"""Characters of a sighting's word."""


class Sightings:
    """Looks at vendor runs; an error of a provider becomes a sighting without a state."""

    def __init__(
        self, callers: Mapping[str, DurableCaller], clock: Clock, *, embedded: Collection[str] = ()
    ) -> None:
        """embedded: providers in our own process, which know no more than the run store."""
        self._callers = callers
        self._clock = clock
        self._embedded = embedded
        self._paused_until: dict[str, Millis] = {}

    async def __call__(self, delivery: Delivery) -> Sighting | None:
        """Ask the provider about its run; None where there is no provider to ask."""
        caller = self._callers.get(delivery.provider)
        unsent = delivery.state is DeliveryState.PENDING or delivery.provider_run_id is None
        if caller is None or delivery.provider in self._embedded or unsent:
            return None
        now = self._clock.now()
        if self._paused_until.get(delivery.provider, 0) > now:
            return Sighting(state=None, word="no answer: asked a moment ago", seen_at=now)
        try:
            with foreign_errors_translated():
                async with asyncio.timeout(ANSWER_TIME):
                    return await caller.look(delivery)
        except TurnoutError as error:
            if isinstance(error.__cause__, TimeoutError):
                self._paused_until[delivery.provider] = now + PAUSE
            word = f"no answer: {type(error).__name__}: {error}"[:LONGEST_WORD]
            return Sighting(state=None, word=word, seen_at=now)

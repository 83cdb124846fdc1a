"""Asking a provider about a run that has ended: it is never waited for long, and may fail."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from turnout_testing.clock import TurnableClock

from turnout.model.providers import Sighting
from turnout.model.runs import Delivery
from turnout.model.status import DeliveryState, RunStatus
from turnout.projection import sightings
from turnout.projection.sightings import PAUSE, Sightings

DELIVERY = Delivery(
    run_id="r",
    number=1,
    provider="acme",
    task="t",
    state=DeliveryState.CLAIMED,
    provider_run_id="v",
)


class Provider:
    """Answers with what it holds: a sighting, an error, or nothing at all."""

    def __init__(self, answer: Sighting | Exception | None) -> None:
        self.answer = answer
        self.asked = 0

    async def look(self, delivery: Delivery) -> Sighting:
        self.asked += 1
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        assert isinstance(self.answer, Sighting)
        return self.answer


def asking(provider: Any, clock: TurnableClock) -> Sightings:
    """Sightings over one provider of that name."""
    return Sightings({"acme": provider, "local": provider}, clock, embedded=("local",))


async def test_a_providers_answer_is_given_as_it_is() -> None:
    """What the provider says is what parity sees."""
    seen = Sighting(state=RunStatus.COMPLETED, word="DONE", seen_at=1)
    assert await asking(Provider(seen), TurnableClock())(DELIVERY) == seen


async def test_whatever_an_adapter_raises_is_no_answer() -> None:
    """A defect of an adapter stops no artifact: its name and text are in the word."""
    sighting = await asking(Provider(ZeroDivisionError("by zero")), TurnableClock())(DELIVERY)
    assert sighting is not None
    assert sighting.state is None
    assert "no answer" in sighting.word
    assert "ZeroDivisionError: by zero" in sighting.word


async def test_a_provider_that_hangs_is_not_asked_again_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One run waits for the answer; the others, until the pause is over, do not."""
    monkeypatch.setattr(sightings, "ANSWER_TIME", 0.01)
    provider, clock = Provider(None), TurnableClock()
    look = asking(provider, clock)
    for _ in range(3):
        sighting = await look(DELIVERY)
        assert sighting is not None
        assert sighting.state is None
    assert provider.asked == 1
    await clock.advance(f"{PAUSE + 1}ms")
    await look(DELIVERY)
    assert provider.asked == 2


@pytest.mark.parametrize(
    "delivery",
    [
        replace(DELIVERY, provider="local"),
        replace(DELIVERY, provider="gone"),
        replace(DELIVERY, state=DeliveryState.PENDING),
        replace(DELIVERY, provider_run_id=None),
    ],
    ids=["embedded", "not set up", "not sent", "of no vendor run"],
)
async def test_where_there_is_nobody_to_ask_nobody_is_asked(delivery: Delivery) -> None:
    """None, at once."""
    provider = Provider(ZeroDivisionError())
    assert await asking(provider, TurnableClock())(delivery) is None
    assert provider.asked == 0

"""Slots that no provider ticked."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from turnout import App, Context, Schedule, Turnout, open_turnout, task
from turnout.model.protocol import Tick
from turnout.testing.clock import TurnableClock

MINUTE = 60_000


@task("report")
async def report(_ctx: Context, _payload: dict[str, Any]) -> None:
    """Do nothing."""


@pytest.fixture
def clock() -> TurnableClock:
    """Give a clock that the test turns."""
    return TurnableClock()


@pytest.fixture
async def live(clock: TurnableClock) -> AsyncIterator[Turnout]:
    """An app with a schedule of every minute, whose provider is not started."""
    schedule = Schedule(id="minutely", task="report", cron="* * * * *")
    app = App(name="slots", tasks=(report,), schedules=(schedule,))
    opened = open_turnout(app, {"ORCHESTRATOR_PROVIDER": "memory"}, clock=clock, serve=False)
    await opened.start()
    yield opened
    await opened.close()


async def test_a_slot_that_nobody_ticked_is_made_up_once(
    live: Turnout, clock: TurnableClock
) -> None:
    """A slot whose tick was lost starts after the grace, and only once."""
    await clock.advance("125s")
    assert await live.orchestrator.catch_up() == 1
    assert await live.orchestrator.catch_up() == 0
    await clock.advance("15s")
    assert await live.orchestrator.catch_up() == 1


async def test_a_slot_that_was_ticked_is_not_made_up(live: Turnout, clock: TurnableClock) -> None:
    """A late tick and the making up start one run between them."""
    slot = clock.now() + MINUTE
    await clock.advance("61s")
    tick = Tick(schedule="minutely", slot=slot, provider="memory", provider_run_id="x")
    assert (await live.orchestrator.tick(tick)).reason == "started"
    await clock.advance("30s")
    assert await live.orchestrator.catch_up() == 0
    assert (await live.orchestrator.tick(tick)).reason == "claimed"


async def test_old_slots_are_left_alone(live: Turnout, clock: TurnableClock) -> None:
    """After a day away only the slots of the last hour are made up."""
    await clock.advance("1d")
    assert await live.orchestrator.catch_up() == 59

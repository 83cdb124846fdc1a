"""The demo's ledger: what counts as due, and why it does not balance."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from turnout_demo.ledger import SETTLED, Ledger, Slots, ledger
from turnout_testing.clock import TurnableClock

from turnout import App, Context, Schedule, Turnout, open_turnout, task
from turnout.model.protocol import Tick
from turnout.model.time import iso

MINUTE = 60_000
EVERY = Schedule(id="minutely", task="report", cron="* * * * *")


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
    app = App(name="slots", tasks=(report,), schedules=(EVERY,))
    opened = open_turnout(app, {"ORCHESTRATOR_PROVIDER": "memory"}, clock=clock, serve=False)
    await opened.start()
    yield opened
    await opened.close()


async def slots(live: Turnout, until: int) -> Slots:
    """Balance from when the schedule was kept."""
    (owned,) = await live.store.schedules.read()
    return (await ledger(live.store, (), owned.schedule, owned.since, until)).slots


async def test_slots_count_from_when_the_schedule_was_kept(
    live: Turnout, clock: TurnableClock
) -> None:
    """A slot from before the service was up was never promised; one after it was."""
    (owned,) = await live.store.schedules.read()
    first = next(EVERY.slots(owned.since))
    await clock.advance("10m")
    until = first + MINUTE - 1
    assert (await slots(live, until)).missed_at == (iso(first),)
    tick = Tick(schedule=EVERY.id, slot=first, provider="memory", provider_run_id="x")
    assert (await live.slots.tick(tick)).reason == "started"
    assert await slots(live, until) == Slots(due=1, fired=1)


async def test_a_slot_at_the_very_end_counts_only_when_it_fired(
    live: Turnout, clock: TurnableClock
) -> None:
    """It may still be on its way: made up later by its owner, and no fault until then."""
    (owned,) = await live.store.schedules.read()
    first = next(EVERY.slots(owned.since))
    await clock.advance(f"{first + 9 - clock.now()}ms")
    assert await slots(live, first + SETTLED) == Slots()
    tick = Tick(schedule=EVERY.id, slot=first, provider="memory", provider_run_id="x")
    await live.slots.tick(tick)
    assert await slots(live, first + 9) == Slots(due=1, fired=1)


def test_a_balanced_ledger_has_no_reason() -> None:
    """Everything that was asked for happened once."""
    assert Ledger(emitted=3, completed=3, lost=0, doubled=0).reasons == []


def test_every_fault_of_a_ledger_is_told() -> None:
    """Whoever sees exit 1 reads which count is off, and which slot."""
    missed = Slots(due=2, fired=1, missed=1, doubled=1, missed_at=("2026-11-21T08:11:00.000Z",))
    found = Ledger(emitted=5, completed=3, lost=1, doubled=1, slots=missed)
    assert not found.balanced
    assert len(found.reasons) == 5
    assert any("1 of 2 due schedule slot(s) not fired: 2026" in each for each in found.reasons)
    assert found.as_json()["reasons"] == found.reasons


async def test_runs_are_labelled_by_why_they_exist(live: Turnout, clock: TurnableClock) -> None:
    """A slot at its time and one that was missed are told apart; neither is a double."""
    (owned,) = await live.store.schedules.read()
    first = next(EVERY.slots(owned.since))
    await clock.advance(f"{first + 9 - clock.now()}ms")
    tick = Tick(schedule=EVERY.id, slot=first, provider="memory", provider_run_id="x")
    await live.slots.tick(tick)
    await clock.advance("10m")
    missed = await live.slots.catch_up()
    balance = await ledger(live.store, (), owned.schedule, owned.since, clock.now())
    assert balance.by_origin == {"slot": 1, "catch_up": missed}
    assert (balance.doubled, balance.slots.doubled) == (0, 0)

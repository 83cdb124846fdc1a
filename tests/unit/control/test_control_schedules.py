"""Slots that no provider ticked."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from turnout_testing.clock import TurnableClock
from turnout_testing.conformance.run_store_values import emission, new_run

from turnout import App, Context, Schedule, Turnout, open_turnout, task
from turnout.control.emissions import LARGEST_PAYLOAD
from turnout.control.slots import EARLY, SPACING
from turnout.errors import Unavailable
from turnout.model.protocol import LARGEST_MOMENT, Tick
from turnout.model.runs import RunFilter
from turnout.model.schedules import MOST_MISSED, CatchUp, UnreadableSchedule

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
    assert await live.slots.catch_up() == 1
    assert await live.slots.catch_up() == 0
    await clock.advance("15s")
    assert await live.slots.catch_up() == 1


async def test_a_slot_that_was_ticked_is_not_made_up(live: Turnout, clock: TurnableClock) -> None:
    """A late tick and the making up start one run between them."""
    slot = clock.now() + MINUTE
    await clock.advance("61s")
    tick = Tick(schedule="minutely", slot=slot, provider="memory", provider_run_id="x")
    assert (await live.slots.tick(tick)).reason == "started"
    await clock.advance("30s")
    assert await live.slots.catch_up() == 0
    assert (await live.slots.tick(tick)).reason == "claimed"


@pytest.mark.parametrize(
    ("catch_up", "away", "started"),
    [
        ("all", "11m", 11),
        ("once", "11m", 1),
        ("skip", "11m", 0),
        ("all", "3d", MOST_MISSED),
        ("once", "3d", 1),
        ("skip", "3d", 0),
        ("skip", "76s", 1),
    ],
)
async def test_missed_slots_are_made_up_as_the_schedule_says(
    live: Turnout, clock: TurnableClock, catch_up: CatchUp, away: str, started: int
) -> None:
    """All, the latest or none; a slot that is half a minute late was not missed."""
    await clock.advance(f"{MINUTE - clock.now() % MINUTE - 1}ms")
    (owned,) = await live.store.schedules.read()
    schedule = replace(owned.schedule, catch_up=catch_up)
    await live.orchestrator.schedule_recurring(schedule)
    await clock.advance(away)
    assert (await live.slots.catch_up(), await live.slots.catch_up()) == (started, 0)


async def test_missed_slots_that_all_start_are_no_burst(
    live: Turnout, clock: TurnableClock
) -> None:
    """They are claimed at once, in order, and run one after the other."""
    await clock.advance("11m")
    started = await live.slots.catch_up()
    runs = await live.store.runs.find(RunFilter(after=0))
    waits = [run.due_at - clock.now() for run in runs]
    assert waits == [place * SPACING for place in range(started)]
    keys = [run.key or "" for run in runs]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("catch_up", "answers", "due"),
    [
        ("all", ["started"] + ["claimed"] * 10, 2),
        ("once", ["paused"] * 10 + ["started"], 1),
        ("skip", ["paused"] * 11, 0),
    ],
)
async def test_ticks_that_were_held_up_start_what_the_schedule_says(
    live: Turnout, clock: TurnableClock, catch_up: CatchUp, answers: list[str], due: int
) -> None:
    """A provider that sends the ticks of eleven minutes at once starts no burst of runs."""
    await clock.advance(f"{MINUTE - clock.now() % MINUTE - 1}ms")
    (owned,) = await live.store.schedules.read()
    schedule, began = replace(owned.schedule, catch_up=catch_up), clock.now()
    await live.orchestrator.schedule_recurring(schedule)
    await clock.advance("640s")
    slots = schedule.due(began, clock.now())
    assert [await answer(live, slot) for slot in slots] == answers
    runs = await live.store.runs.find(RunFilter())
    assert len([run for run in runs if run.due_at <= clock.now()]) == due
    assert await live.slots.catch_up() == 0


async def test_a_tick_of_another_provider_starts_the_slot(
    live: Turnout, clock: TurnableClock
) -> None:
    """The schedule moved while the tick was on its way: it counts, and the flag says who runs."""
    (owned,) = await live.store.schedules.read()
    slot = next(owned.schedule.slots(owned.since))
    await clock.advance(f"{slot - clock.now() + 9}ms")
    assert await answer(live, slot, provider="before") == "started"
    assert await answer(live, slot) == "claimed"
    (run,) = await live.store.runs.find(RunFilter())
    assert run.provider == "memory"
    await clock.advance("20s")
    assert await live.slots.catch_up() == 0


async def test_the_last_slots_of_an_expression_start_before_it_is_replaced(
    live: Turnout, clock: TurnableClock
) -> None:
    """A tick that comes after the change is not lost: its slot was claimed with the change."""
    (owned,) = await live.store.schedules.read()
    slot = next(owned.schedule.slots(owned.since))
    await clock.advance(f"{slot - clock.now() + 9}ms")
    await live.orchestrator.schedule_recurring(replace(owned.schedule, cron="0 3 * * *"))
    (run,) = await live.store.runs.find(RunFilter())
    assert run.key == f"minutely@{slot}"
    assert await answer(live, slot) == "paused"


async def test_a_schedule_whose_zone_is_not_installed_stops_no_other(
    live: Turnout, clock: TurnableClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It is listed and stays armed; its tick is to be tried again, where the zone is installed."""
    elsewhere = UnreadableSchedule(id="a", task="report", cron="* * * * *", zone="Mars/Phobos")
    await live.store.schedules.put(elsewhere, "memory", clock.now())
    await clock.advance("75s")
    assert await live.slots.catch_up() == 1
    assert await live.slots.catch_up() == 0
    assert [record.msg for record in caplog.records if "zone" in record.msg] == [
        "a schedule has a zone that is not installed here; other replicas start its slots"
    ]
    assert elsewhere in await live.slots.to_arm("memory")
    with pytest.raises(Unavailable, match="Mars/Phobos"):
        await answer(live, clock.now() // MINUTE * MINUTE, schedule="a")


async def test_a_time_that_is_no_slot_starts_nothing(live: Turnout, clock: TurnableClock) -> None:
    """Neither between two slots, nor at an instant beside one; and catch-up goes on as before."""
    await clock.advance("61s")
    (owned,) = await live.store.schedules.read()
    slot = next(owned.schedule.slots(owned.since))
    for beside in (slot + 1, slot + 500, slot + 1_000, slot + 30_000):
        assert await answer(live, beside) == "removed"
    assert await live.store.runs.find(RunFilter()) == []
    assert await answer(live, slot) == "started"


async def test_a_tick_far_ahead_of_its_time_moves_no_mark(
    live: Turnout, clock: TurnableClock
) -> None:
    """It starts nothing, and missed slots are made up as before, up to the last year there is."""
    day = 24 * 60 * MINUTE
    for ahead in (EARLY + MINUTE, day, 365 * day, LARGEST_MOMENT - clock.now()):
        assert await answer(live, clock.now() + ahead) == "paused"
    (owned,) = await live.store.schedules.read()
    assert owned.last_slot is None
    assert await answer(live, clock.now() + MINUTE) == "started"
    await clock.advance("135s")
    assert await live.slots.catch_up() == 1


async def test_a_mark_in_the_future_holds_back_no_slot(live: Turnout, clock: TurnableClock) -> None:
    """A store that was once told of the far future makes up missed slots again."""
    far = emission(new_run("far"))
    await live.store.schedules.tick("minutely", LARGEST_MOMENT, "memory", far, clock.now())
    await clock.advance("76s")
    assert await live.slots.catch_up() == 1


async def test_a_schedule_that_fails_breaks_only_itself(
    live: Turnout, clock: TurnableClock
) -> None:
    """Catch-up goes on with the next schedule where a payload is too large for an event."""
    payload = "x" * (LARGEST_PAYLOAD + 1)
    unfit = Schedule(id="a-first", task="report", cron="* * * * *", payload=payload)
    await live.store.schedules.put(unfit, "memory", clock.now())
    await clock.advance("75s")
    assert await live.slots.catch_up() == 1


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Kyiv", "Australia/Lord_Howe"])
@pytest.mark.parametrize("cron", ["30 1 * * *", "30 2 * * *", "0 * * * *", "45 1,2,3 * * 0"])
def test_a_slot_is_a_slot_from_wherever_one_counts(zone: str, cron: str) -> None:
    """Through both changes of the clocks, counting on and asking about one moment agree."""
    schedule = Schedule(id="s", task="report", cron=cron, zone=zone)
    year = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1_000)
    end = year + 365 * 24 * 60 * MINUTE
    slots = list(takewhile(lambda slot: slot < end, schedule.slots(year)))
    assert all(schedule.has_slot(slot) for slot in slots)
    near = {slot + hours * 60 * MINUTE for slot in slots[1:-1:7] for hours in (-1, 1)}
    assert {moment for moment in near if schedule.has_slot(moment)} == near & set(slots)


def test_a_fixed_time_that_comes_twice_is_the_first() -> None:
    """The second 01:30 of an autumn night is no slot; a skipped 02:30 is one at the gap's end."""
    zone = ZoneInfo("America/New_York")
    night = Schedule(id="s", task="report", cron="30 1 * * *", zone=zone.key)
    first = round(datetime(2026, 11, 1, 1, 30, tzinfo=zone).timestamp() * 1_000)
    assert (night.has_slot(first), night.has_slot(first + 60 * MINUTE)) == (True, False)
    skipped = replace(night, cron="30 2 * * *")
    gap_end = round(datetime(2026, 3, 8, 3, tzinfo=zone).timestamp() * 1_000)
    assert (skipped.has_slot(gap_end), skipped.has_slot(gap_end + 30 * MINUTE)) == (True, False)


async def answer(
    live: Turnout, slot: int, *, provider: str = "memory", schedule: str = "minutely"
) -> str:
    """Tick a moment of a schedule; give the answer's reason."""
    tick = Tick(schedule=schedule, slot=slot, provider=provider, provider_run_id="x")
    return (await live.slots.tick(tick)).reason

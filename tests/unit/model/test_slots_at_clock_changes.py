"""The slots of schedules when clocks change, compared with a walk through every minute."""

from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from turnout.model.schedules import Schedule
from turnout.model.time import moment

MINUTE = timedelta(minutes=1)
NIGHTS = [
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 12, tzinfo=UTC)),  # back by 30 minutes
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 12, tzinfo=UTC)),  # forward by 30 minutes
    ("Antarctica/Troll", datetime(2026, 3, 28, 22, tzinfo=UTC)),  # forward by 2 hours
    ("Antarctica/Troll", datetime(2026, 10, 24, 22, tzinfo=UTC)),  # back by 2 hours
    ("America/New_York", datetime(2026, 3, 8, 4, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 3, tzinfo=UTC)),
    ("America/St_Johns", datetime(2026, 11, 1, 1, tzinfo=UTC)),
    ("Asia/Kathmandu", datetime(2026, 3, 8, 4, tzinfo=UTC)),  # no change
    ("Pacific/Apia", datetime(2011, 12, 30, 6, tzinfo=UTC)),  # a day is skipped
    ("UTC", datetime(2026, 3, 8, 4, tzinfo=UTC)),
]
HOURS = 8

minute_sets = st.sets(st.integers(0, 59), min_size=1, max_size=4).map(sorted)
hour_sets = st.sets(st.integers(0, 5), min_size=1, max_size=4).map(sorted)


def walked(
    start: datetime, zone: ZoneInfo, minutes: list[int], hours: list[int], *, fixed: bool
) -> list[datetime]:
    """Walk the minutes of a night, with a clock on the wall, and note when the task starts."""
    starts = []
    last = start.astimezone(zone).replace(tzinfo=None)
    for number in range(1, HOURS * 60):
        at = start + number * MINUTE
        now = at.astimezone(zone).replace(tzinfo=None)
        times = [now]
        if fixed:
            # All that clocks have newly shown or skipped since the latest time that they showed.
            times = [last + n * MINUTE for n in range(1, int((now - last) / MINUTE) + 1)]
            last = max(last, now)
        if any(time.minute in minutes and time.hour in hours for time in times):
            starts.append(at)
    return starts


@settings(deadline=None)
@given(
    st.sampled_from(NIGHTS),
    st.one_of(minute_sets, st.sampled_from(["*", "*/7", "*/15"])),
    st.one_of(hour_sets, st.sampled_from(["*", "*/2"])),
    st.integers(0, HOURS * 60 - 1),
)
def test_slots_are_those_of_a_clock_on_the_wall(
    night: tuple[str, datetime], minute: list[int] | str, hour: list[int] | str, offset: int
) -> None:
    """From wherever one counts, and for each minute by itself."""
    zone, start = night
    minutes, hours = numbers(minute, 60), numbers(hour, 24)
    fixed = isinstance(minute, list) and isinstance(hour, list)
    right = walked(start, ZoneInfo(zone), minutes, hours, fixed=fixed)
    schedule = Schedule(id="s", task="t", cron=f"{field(minute)} {field(hour)} * * *", zone=zone)
    end = start + timedelta(hours=HOURS)
    after = start + offset * MINUTE
    slots = takewhile(lambda slot: slot < moment(end), schedule.slots(moment(after)))
    assert list(slots) == [moment(at) for at in right if at > after]
    if offset:
        assert schedule.has_slot(moment(after)) == (after in right)


def numbers(part: list[int] | str, end: int) -> list[int]:
    """Give the numbers that a field stands for."""
    if isinstance(part, list):
        return part
    return list(range(0, end, int(part.partition("/")[2] or 1)))


def field(part: list[int] | str) -> str:
    """Write a field of an expression."""
    return part if isinstance(part, str) else ",".join(map(str, part))

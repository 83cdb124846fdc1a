"""Schedules and their slots: five-field cron in an IANA zone, exact."""

from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import takewhile
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from turnout.errors import InvalidDefinition
from turnout.model.ids import check_task_id
from turnout.model.time import Millis, as_datetime, moment

_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

CatchUp = Literal["skip", "once", "all"]

PUNCTUAL: Millis = 30_000
"""A slot that is started within this time was not missed."""
LOOK_BACK: Millis = 24 * 60 * 60 * 1_000
"""Slots that were missed for longer are not made up: a run that late is for people to decide."""
MOST_MISSED = 60
"""At most this many missed slots of a schedule are made up, the latest ones."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A recurring start of a task.

    When clocks go forward, a fixed time of day that is skipped fires at the end of the gap; several
    fire once. When they go back, a fixed time that comes twice fires once, the first time.
    Expressions with `*` in the minute or the hour fire by elapsed time: not in the gap, and in both
    of the repeated hours. This is so on every provider: a time that is no slot starts nothing,
    whoever ticks it, and a slot that a provider does not tick is started without it.
    """

    id: str
    task: str
    cron: str
    """Five fields, or a name like @daily."""
    zone: str = "UTC"
    """An IANA name, like Europe/Kyiv."""
    payload: Any = field(default_factory=dict)
    """What each run gets."""
    paused: bool = False
    catch_up: CatchUp = "all"
    """What becomes of slots that were missed while no replica ran.

    `skip`: they do not run. `once`: the latest runs. `all`: each runs, in order, a few seconds
    apart. At most those of the last day, and at most 60.
    """

    def __post_init__(self) -> None:
        check_task_id(self.id)
        if self.catch_up not in get_args(CatchUp):
            raise InvalidDefinition(
                f"schedule {self.id!r}: catch_up is {self.catch_up!r}; write skip, once or all"
            )
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise InvalidDefinition(
                f"schedule {self.id!r}: {self.zone!r} is not an IANA zone, like Europe/Kyiv"
            ) from None
        if len(self.five_fields.split()) != 5:  # noqa: PLR2004 - that is what the name says
            raise InvalidDefinition(
                f"schedule {self.id!r}: {self.cron!r} has not five fields; seconds are not offered"
            )
        try:
            CronSim(self.five_fields, datetime(2026, 1, 1, tzinfo=UTC))
        except CronSimError as error:
            raise InvalidDefinition(f"schedule {self.id!r}: {self.cron!r}: {error}") from None

    @property
    def five_fields(self) -> str:
        """The expression, with names like @daily spelled out."""
        return _NAMED.get(self.cron.strip(), self.cron.strip())

    def slots(self, after: Millis) -> Iterator[Millis]:
        """Yield the nominal times after a moment, in order, up to the last year that has dates."""
        zone = ZoneInfo(self.zone)
        minute, hour, *_ = self.five_fields.split()
        is_fixed = not (minute.startswith("*") or hour.startswith("*"))
        slots_of = _slot_of_fixed if is_fixed else _slots_of_elapsed
        pending: list[Millis] = []
        latest = after
        # Near the end of the year 9999 dates overflow: there is no slot any more.
        with suppress(OverflowError, ValueError):
            for wall_time in CronSim(self.five_fields, _earliest_wall_time(after, zone)):
                slots = slots_of(wall_time, zone)
                for slot in slots:
                    heappush(pending, slot)
                # A wall time that comes twice is repeated after later ones have come once.
                while slots and pending and pending[0] <= slots[0]:
                    slot = heappop(pending)
                    if slot > latest:
                        latest = slot
                        yield slot

    def has_slot(self, at: Millis) -> bool:
        """Whether a moment is one of the nominal times."""
        return next(self.slots(at - 1), None) == at

    def due(self, after: Millis, until: Millis) -> Sequence[Millis]:
        """List the latest nominal times up to a moment, MOST_MISSED at most, of the last day."""
        # The last hour of a schedule that fires each minute is enough: the day is not walked.
        hour_ago = until - LOOK_BACK // 24
        due = self._between(max(after, hour_ago), until)
        if after < hour_ago and len(due) < MOST_MISSED:
            due = self._between(max(after, until - LOOK_BACK), until)
        return due[-MOST_MISSED:]

    def to_make_up(
        self, due: Sequence[Millis], claimed: Container[Millis], now: Millis
    ) -> Sequence[Millis]:
        """Say which of the due slots, in order, start although nobody has ticked them."""
        if self.catch_up == "all":
            return [slot for slot in due if slot not in claimed]
        earliest = now - PUNCTUAL if self.catch_up == "skip" else 0
        return [slot for slot in due[-1:] if slot not in claimed and slot >= earliest]

    def _between(self, after: Millis, until: Millis) -> list[Millis]:
        return list(takewhile(lambda slot: slot <= until, self.slots(after)))


def _earliest_wall_time(after: Millis, zone: ZoneInfo) -> datetime:
    """Return a time of day, without zone, that is before each one that comes after the moment."""
    start = as_datetime(after)
    offsets = [at.astimezone(zone).utcoffset() for at in (start, start + timedelta(days=1))]
    return start.replace(tzinfo=None) + min(offset for offset in offsets if offset is not None)


def _slots_of_elapsed(wall_time: datetime, zone: ZoneInfo) -> list[Millis]:
    """Return when clocks show a time of day: once, twice where they go back, never in a gap."""
    folds = [wall_time.replace(tzinfo=zone, fold=fold) for fold in (0, 1)]
    return sorted({moment(at) for at in folds if not _is_skipped(at)})


def _slot_of_fixed(wall_time: datetime, zone: ZoneInfo) -> list[Millis]:
    """Return when clocks first show a time of day, or the end of the gap that skips it."""
    at = wall_time.replace(tzinfo=zone)
    while _is_skipped(at):
        at += timedelta(minutes=1)
    return [moment(at)]


def _is_skipped(at: datetime) -> bool:
    shown = at.astimezone(UTC).astimezone(at.tzinfo)
    return shown.replace(tzinfo=None) != at.replace(tzinfo=None)


class UnreadableSchedule(Schedule):
    """A stored schedule that this machine cannot compute, as its zone is not installed here.

    It has no slots here, and stays armed where it is.
    """

    def __post_init__(self) -> None:
        """Accept what is stored."""

    def slots(self, after: Millis) -> Iterator[Millis]:
        """Yield nothing."""
        del after
        return iter(())


@dataclass(frozen=True, kw_only=True)
class ArmedSchedule:
    """A schedule as a provider's runtime holds it: evidence, not intention."""

    id: str
    task: str | None
    cron: str
    zone: str
    active: bool
    next_at: Millis | None = None
    provider_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class OwnedSchedule:
    """A schedule and its owner: the provider where the flag and the routes last had it armed."""

    schedule: Schedule
    provider: str
    since: Millis
    """When the schedule last changed; a change of its owner alone does not count."""
    last_slot: Millis | None = None
    """The latest slot that was claimed."""

"""Schedules and their slots: five-field cron in an IANA zone, exact."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from turnout.errors import InvalidDefinition
from turnout.model.ids import check_task_id
from turnout.model.time import Millis, as_datetime

_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A recurring start of a task.

    When clocks go forward, a fixed time of day that is skipped fires at the end of the gap. When
    they go back, a fixed time that comes twice fires once. Expressions with `*` in the minute or
    the hour fire by elapsed time: not in the gap, and in both of the repeated hours.
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

    def __post_init__(self) -> None:
        check_task_id(self.id)
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
        # Near the end of the year 9999 dates overflow: there is no slot any more.
        with suppress(OverflowError, ValueError):
            start = as_datetime(after).astimezone(ZoneInfo(self.zone))
            for slot in CronSim(self.five_fields, start):
                at = round(slot.timestamp() * 1_000)
                if at > after:
                    yield at

    def has_slot(self, at: Millis) -> bool:
        """Whether a moment is one of the nominal times."""
        return next(self.slots(at - 1), None) == at


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
    """A schedule and the provider that owns it."""

    schedule: Schedule
    provider: str
    since: Millis
    """When the provider became the owner of the schedule as it now is."""
    last_slot: Millis | None = None
    """The latest slot that was claimed."""

"""Moments and durations, both as integer milliseconds; a moment counts from the epoch.

Other forms (`"15m"`, `timedelta`, ISO 8601) are turned into integers where they come in.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from turnout.errors import InvalidDefinition

Millis: TypeAlias = int
"""Milliseconds: a duration, or a moment since 1970-01-01T00:00Z."""

Duration: TypeAlias = str | int | float | timedelta
"""`"250ms"`, `"5s"`, `"15m"`, `"2h"`, `"1d"`, a number of seconds, or a timedelta."""

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_EARLIEST, _LATEST = -62_135_596_800_000, 253_402_300_799_999
LONGEST = 366 * _UNITS["d"]
"""The longest duration a policy, a sleep or a wait may have."""


def millis(duration: Duration, *, field: str = "duration") -> Millis:
    """Read a duration; `field` names it in the error."""
    if isinstance(duration, timedelta):
        duration_ms = round(duration.total_seconds() * 1_000)
    elif isinstance(duration, str):
        text = _TEXT.fullmatch(duration.strip())
        if text is None:
            raise InvalidDefinition(
                f"{field}: {duration!r} is not a duration; write 250ms, 5s, 15m, 2h or 1d"
            )
        duration_ms = round(float(text[1]) * _UNITS[text[2]])
    elif isinstance(duration, bool) or duration != duration:  # noqa: PLR0124 - NaN
        raise InvalidDefinition(f"{field}: {duration!r} is not a duration")
    else:
        duration_ms = round(min(duration, LONGEST) * 1_000)
    if not 0 <= duration_ms <= LONGEST:
        raise InvalidDefinition(f"{field}: {duration!r} is not between 0 and 366 days")
    return duration_ms


def moment(at: datetime | Millis, *, field: str = "at") -> Millis:
    """Read an aware datetime as milliseconds since the epoch."""
    if isinstance(at, int):
        if not _EARLIEST <= at <= _LATEST:
            raise InvalidDefinition(f"{field}: the moment is not in the years 1 to 9999")
        return int(at)
    if at.tzinfo is None:
        raise InvalidDefinition(f"{field}: {at.isoformat()} has no time zone")
    return moment(round(at.timestamp() * 1_000), field=field)


def iso(at: Millis) -> str:
    """Write a moment as ISO 8601 in UTC, to the millisecond, ending in Z."""
    return as_datetime(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_datetime(at: Millis) -> datetime:
    """Write a moment as an aware datetime in UTC."""
    return datetime.fromtimestamp(at // 1_000, UTC) + timedelta(milliseconds=at % 1_000)

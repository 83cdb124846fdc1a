"""Cron expressions as Inngest takes them: five fields, an optional zone in front."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from turnout_inngest_double.errors import InvalidFunction

_FIELDS = 5
_ZONE = re.compile(r"^(?:CRON_)?TZ=(\S+)\s+")
_FOREIGN = re.compile(r"[LW#@]", re.IGNORECASE)
_NAMES = re.compile(
    r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun)\b",
    re.IGNORECASE,
)


def check(cron: str) -> None:
    """Raise InvalidFunction unless the expression is one that Inngest accepts."""
    _times(cron, 0)


def next_time(cron: str, after_ms: int) -> int:
    """The first due moment strictly after the given one, in milliseconds."""
    return round(next(_times(cron, after_ms)).timestamp() * 1000)


def _times(cron: str, after_ms: int) -> Iterator[datetime]:
    zone, fields = _split(cron)
    if len(fields.split()) != _FIELDS:
        raise _invalid(cron)
    if _FOREIGN.search(_NAMES.sub("", fields)) or "7" in _weekday_numbers(fields):
        raise _invalid(cron)
    try:
        since = datetime.fromtimestamp(after_ms / 1000, UTC).astimezone(zone)
        return CronSim(fields.replace("?", "*"), since)
    except CronSimError as error:
        raise _invalid(cron) from error


def _split(cron: str) -> tuple[ZoneInfo, str]:
    match = _ZONE.match(cron)
    name = match.group(1) if match else "UTC"
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise _invalid(cron) from error
    return zone, cron[match.end() :] if match else cron


def _invalid(cron: str) -> InvalidFunction:
    return InvalidFunction(f"'{cron}' isn't a valid cron schedule")


def _weekday_numbers(fields: str) -> set[str]:
    return set(re.findall(r"(?<!/)\b\d+", fields.split()[4]))

"""Five-field cron expressions: checks, descriptions, due times."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from turnout_triggerdev_double.server.errors import refused

_FIELDS = 5
_ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}


def check(expression: str, timezone: str, origin: str) -> None:
    """Refuse what the real server refuses, with its texts; `origin` is the server's address."""
    plain = _ALIASES.get(expression, expression)
    if len(plain.split()) > _FIELDS:
        raise refused(422, "Invalid cron expression: CRON expressions with seconds are not allowed")
    try:
        CronSim(plain, datetime.now(UTC))
    except CronSimError as error:
        raise refused(422, f"Invalid cron expression: {_complaint(expression, error)}") from error
    if timezone not in zones():
        raise refused(
            422,
            f"Invalid IANA timezone: '{timezone}'. "
            f"View the list of valid timezones at {origin}/timezones",
        )


def _complaint(expression: str, error: CronSimError) -> str:
    if expression[:3].isalpha():
        return f'Validation error, cannot resolve alias "{expression[:3]}"'
    return str(error)


@cache
def zones() -> frozenset[str]:
    """The names that a real server accepts: one for each zone, often an old one, as Europe/Kiev."""
    names = files(__package__).joinpath("zones.txt").read_text(encoding="utf-8").split()
    return frozenset(names) & available_timezones()


def ticks(expression: str, timezone: str, after: int) -> Iterator[int]:
    """The moments at which the expression is due, strictly after the given one."""
    zone = ZoneInfo(timezone)
    start = datetime.fromtimestamp(after / 1000, zone)
    for tick in CronSim(_ALIASES.get(expression, expression), start):
        yield round(tick.timestamp() * 1000)


def next_ticks(expression: str, timezone: str, after: int, count: int) -> list[int]:
    """The next moments."""
    return list(islice(ticks(expression, timezone, after), count))


def described(expression: str) -> dict[str, Any]:
    """The generator of a schedule as the API shows it."""
    return {"type": "CRON", "expression": expression, "description": in_words(expression)}


def in_words(expression: str) -> str:
    """The expression in English; a simple one in the real server's words."""
    plain = _ALIASES.get(expression, expression)
    minute, hour, *date_fields = plain.split()
    every_day = date_fields == ["*", "*", "*"]
    if every_day and hour == "*":
        if minute == "*":
            return "Every minute"
        if minute.startswith("*/") and minute[2:].isdigit():
            return f"Every {minute[2:]} minutes"
        if minute.isdigit():
            return f"At {int(minute)} minutes past the hour"
    if every_day and minute.isdigit() and hour.isdigit():
        half = "AM" if int(hour) < 12 else "PM"  # noqa: PLR2004 noon
        return f"At {(int(hour) % 12) or 12:02d}:{int(minute):02d} {half}"
    return CronSim(plain, datetime(2000, 1, 1, tzinfo=UTC)).explain()

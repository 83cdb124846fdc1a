"""Moments and durations as the vendor writes them."""

import re
from datetime import UTC, datetime

_UNITS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000}
_DURATION = re.compile(r"^(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$")


def iso(moment: int) -> str:
    """`2026-11-20T18:34:50.894Z`."""
    stamp = datetime.fromtimestamp(moment / 1000, UTC)
    return f"{stamp:%Y-%m-%dT%H:%M:%S}.{moment % 1000:03d}Z"


def maybe_iso(moment: int | None) -> str | None:
    """The moment as text, or None."""
    return None if moment is None else iso(moment)


def from_iso(text: str) -> int | None:
    """Milliseconds since the epoch, or None when the text is no date; without a zone it is UTC."""
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError:
        return None
    if stamp.tzinfo is None:
        stamp = stamp.replace(tzinfo=UTC)
    return round(stamp.timestamp() * 1000)


def duration(text: str) -> int | None:
    """Milliseconds of `1w2d3h4m5s` (any part may be missing), or None when it is no duration."""
    match = _DURATION.match(text)
    if not match or not text:
        return None
    return sum(
        int(part) * size
        for part, size in zip(match.groups(), _UNITS.values(), strict=True)
        if part is not None
    )


def write_duration(seconds: int) -> str | None:
    """`600` as `10m`; None for nothing, which opts out."""
    parts, remainder = [], seconds * 1000
    for unit, size in _UNITS.items():
        amount, remainder = divmod(remainder, size)
        if amount:
            parts.append(f"{amount}{unit}")
    return "".join(parts) or None


def moment_of(value: object, now: int) -> int | None:
    """A delay or timeout: a date to come, or a duration from now.

    Anything else is None, silently, as on the real server; so is a date that has passed.
    """
    if not isinstance(value, str):
        return None
    length = duration(value)
    if length is not None:
        return now + length
    moment = from_iso(value)
    return moment if moment is not None and moment > now else None

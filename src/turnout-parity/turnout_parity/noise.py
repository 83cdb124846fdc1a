"""Values that look like clock times or random ids: two runs of the same code differ there."""

import re
from typing import Any, Final

_CLOCK: Final = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?"
    r"|\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
    r"|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d? \w{3} \d{4} \d\d:\d\d:\d\d [+\w]{1,5}",
)
_RANDOM: Final = re.compile(
    r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"  # UUID
    r"|[0-9A-HJKMNP-TV-Z]{26}"  # ULID
    r"|(?:[a-z]{1,12}[_-])?(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,128}"  # hexadecimal
    r"|(?:[a-z]{1,12}[_-])?(?=\w*\d)(?=\w*[A-Z])(?=\w*[a-z])[\w-]{12,128}={0,2}",  # base 62, 64
)
_SECONDS: Final = (1e9, 4.2e9)
"""2001 to 2103, as seconds since 1970."""


def looks_like_noise(primary: Any, shadow: Any) -> bool:
    """Whether both values are clock times, or both random ids, of the same shape."""
    if isinstance(primary, str) and isinstance(shadow, str):
        return _alike(_CLOCK, primary, shadow) or _alike(_RANDOM, primary, shadow)
    if type(primary) in {int, float} and type(shadow) in {int, float}:
        return _epoch(primary) and _epoch(shadow)
    return False


def _alike(pattern: re.Pattern[str], primary: str, shadow: str) -> bool:
    """Whether the texts are equal but for what the pattern finds in both."""
    if len(primary) > 4096 or len(shadow) > 4096:  # noqa: PLR2004 (noise is short)
        return False
    remainder, count = pattern.subn("\0", primary)
    return count > 0 and (remainder, count) == pattern.subn("\0", shadow)


def _epoch(value: float) -> bool:
    return any(_SECONDS[0] * unit <= value <= _SECONDS[1] * unit for unit in (1, 1e3, 1e6, 1e9))

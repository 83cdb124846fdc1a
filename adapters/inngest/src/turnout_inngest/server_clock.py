"""The difference between the server's clock and ours: sleeps at the server end by its clock."""

from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from turnout.model.time import Millis, moment
from turnout.ports.clock import Clock

TOLERANCE: Final[Millis] = 3_000
"""What the header's whole seconds and the way there may make of equal clocks."""
MAX_OFFSET: Final[Millis] = 24 * 60 * 60 * 1_000
"""More than that is no skew but nonsense, and is left alone."""


class ServerClock:
    """Learns the server's time from the `Date` of its answers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset: Millis = 0

    async def hear(self, response: httpx.Response) -> None:
        """Take the date of an answer; an answer without a readable date changes nothing."""
        date = _date(response.headers.get_list("date"))
        if date is None:
            return
        offset = moment(date) + 500 - self._clock.now()
        self._offset = 0 if abs(offset) < TOLERANCE or abs(offset) > MAX_OFFSET else offset

    def offset(self) -> Millis:
        """The milliseconds to add to a time of ours to get the server's time."""
        return self._offset


def _date(headers: list[str]) -> datetime | None:
    """Read the first usable date: a proxy may have added a header, and any text may be in it."""
    for header in headers:
        try:
            date = parsedate_to_datetime(header)
        except (ValueError, OverflowError):
            continue
        if date.tzinfo is not None:
            return date
    return None

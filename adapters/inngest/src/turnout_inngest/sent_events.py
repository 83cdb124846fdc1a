"""Which events a key has at the server: a delivery that was sent twice has two, and one vendor run.

The server starts a run for the first event of an id. One that comes again gets an id of its own
there, and never a run. So whoever knows only the second one finds the run by the key.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from turnout.model.time import Millis, as_datetime
from turnout.ports.clock import Clock
from turnout_inngest.api import InngestApi
from turnout_inngest.json_fields import text_in

PAGE: Final = 50
PAGES: Final = 40
"""At most so many pages are read: a look at one delivery must not cost the server much more."""
FRESH: Final[Millis] = 10_000
"""For how long a list that was read serves further deliveries."""
REACH: Final = timedelta(hours=24)
"""For so long the server knows an id again."""


class SentEvents:
    """Reads the latest events of a name, newest first, and keeps the list for a short time."""

    def __init__(self, api: InngestApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._lists: dict[str, tuple[Millis, Mapping[str, Sequence[str]]]] = {}
        self._reading = asyncio.Lock()

    async def of_key(self, name: str, key: str, sent_at: Millis) -> Sequence[str]:
        """Return the ids that the server gave to events of this key, the newest first.

        sent_at: when the key was sent; a list that was read before that is read again.
        """
        async with self._reading:
            read_at, by_key = self._lists.get(name, (0, {}))
            now = self._clock.now()
            if not (sent_at < read_at <= now < read_at + FRESH):
                by_key = await self._read(name)
                self._lists[name] = (now, by_key)
        return by_key.get(key, ())

    async def _read(self, name: str) -> Mapping[str, Sequence[str]]:
        by_key: defaultdict[str, list[str]] = defaultdict(list)
        oldest = (as_datetime(self._clock.now()) - REACH).astimezone(UTC)
        cursor = ""
        for _ in range(PAGES):
            events = await self._page(name, oldest, cursor)
            for event in events:
                by_key[text_in(event, "id")].append(text_in(event, "internal_id"))
            following = text_in(events[-1], "internal_id") if events else ""
            if len(events) < PAGE or following in {"", cursor}:
                break
            cursor = following
        return by_key

    async def _page(
        self, name: str, oldest: datetime, cursor: str
    ) -> Sequence[Mapping[str, object]]:
        query = {"name": name, "limit": str(PAGE), **({"cursor": cursor} if cursor else {})}
        since = oldest.strftime("%Y-%m-%dT%H:%M:%SZ")
        answer = await self._api.get("/v1/events", received_after=since, **query)
        self._api.check(answer)
        return self._api.listed(answer)

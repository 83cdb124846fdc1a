"""Zones by the names that a server knows: its list has one of each zone's names, often the older.

Source: a self-hosted 4.5.12 server refuses Europe/Kyiv and Asia/Kolkata, and lists Europe/Kiev and
Asia/Calcutta. Names are one zone when their data are the same, byte for byte.
"""

import asyncio
import zoneinfo
from collections.abc import Set as AbstractSet
from importlib.resources import files
from pathlib import Path

from turnout_triggerdev.api import Api, names_of

PATH = "/api/v1/timezones"


class Zones:
    """The server's names, read once when the first is needed."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._listed: frozenset[str] | None = None
        self._theirs: dict[str, str] = {}

    async def theirs(self, zone: str) -> str:
        """Give the name that the server has for a zone; the same where it has none."""
        if zone not in self._theirs:
            listed = await self._names()
            # Aside: hundreds of files are read, and the loop has runs to serve meanwhile.
            self._theirs[zone] = await asyncio.to_thread(_other_name, zone, listed)
        return self._theirs[zone]

    def ours(self, name: str) -> str:
        """Give the name that we asked for by the server's."""
        asked = [zone for zone, theirs in self._theirs.items() if theirs == name]
        return asked[0] if asked and name not in asked else name

    async def _names(self) -> frozenset[str]:
        if self._listed is None:
            found = await self._api.get(PATH)
            self._listed = frozenset(names_of(found, "timezones"))
        return self._listed


def _other_name(zone: str, listed: frozenset[str]) -> str:
    if zone in listed or not listed:
        return zone
    known = zoneinfo.available_timezones()  # once: it walks through all of them
    data = _data_of(zone, known)
    if data is None:
        return zone
    return next((each for each in sorted(listed) if _data_of(each, known) == data), zone)


def _data_of(zone: str, known: AbstractSet[str]) -> bytes | None:
    """Read a known zone's data, from the system's or from the package that stands in for them."""
    if zone not in known:
        return None
    for folder in zoneinfo.TZPATH:
        path = Path(folder, zone)
        if path.is_file():
            return path.read_bytes()
    return files("tzdata").joinpath("zoneinfo", *zone.split("/")).read_bytes()

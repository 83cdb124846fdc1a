"""Time zones by the names that a server accepts: one name for each zone, often an older one.

Source: a self-hosted 4.5.12 server refuses Europe/Kyiv and Asia/Kolkata, and lists Europe/Kiev and
Asia/Calcutta. Two names mean the same zone when their data are equal, byte for byte.
"""

import asyncio
import zoneinfo
from collections.abc import Set as AbstractSet
from importlib.resources import files
from pathlib import Path

from turnout_triggerdev.api import Api, names_of

PATH = "/api/v1/timezones"


class Zones:
    """The server's names of zones, read once, on demand."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._listed: frozenset[str] | None = None
        self._vendor_names: dict[str, str] = {}

    async def vendor_name(self, zone: str) -> str:
        """The server's name of a zone; the same name when the server has none."""
        if zone not in self._vendor_names:
            listed = await self._names()
            # In a thread: this reads hundreds of files, and must not block the event loop.
            self._vendor_names[zone] = await asyncio.to_thread(_other_name, zone, listed)
        return self._vendor_names[zone]

    def our_name(self, name: str) -> str:
        """Our name of the zone that the server calls so."""
        zones = [zone for zone, vendor_name in self._vendor_names.items() if vendor_name == name]
        return zones[0] if zones and name not in zones else name

    async def _names(self) -> frozenset[str]:
        if self._listed is None:
            listing = await self._api.get(PATH)
            self._listed = frozenset(names_of(listing, "timezones"))
        return self._listed


def _other_name(zone: str, listed: frozenset[str]) -> str:
    if zone in listed or not listed:
        return zone
    available = zoneinfo.available_timezones()  # once: it walks through all of them
    data = _data_of(zone, available)
    if data is None:
        return zone
    return next((name for name in sorted(listed) if _data_of(name, available) == data), zone)


def _data_of(zone: str, available: AbstractSet[str]) -> bytes | None:
    """Read a zone's data, from the system's files or else from the package `tzdata`."""
    if zone not in available:
        return None
    for folder in zoneinfo.TZPATH:
        path = Path(folder, zone)
        if path.is_file():
            return path.read_bytes()
    return files("tzdata").joinpath("zoneinfo", *zone.split("/")).read_bytes()

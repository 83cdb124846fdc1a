"""The first line of every command: where it works, by which flag, and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import make_url

from turnout.errors import InvalidSettings
from turnout.model.routing import DUAL
from turnout.model.time import Millis, as_datetime, iso
from turnout.service.settings import Settings
from turnout_cutover.changes import Action, Entry
from turnout_cutover.operations import Operations
from turnout_cutover.rolling_back import PROBE_COMPLETED


@dataclass(frozen=True, kw_only=True)
class Banner:
    """The first line."""

    environment: str
    store: str
    flag: str
    way_back: str
    at: datetime
    zone: ZoneInfo

    def line(self) -> str:
        """Write it for people."""
        utc = f"{self.at:%Y-%m-%d %H:%M:%S} UTC"
        local = f"{self.at.astimezone(self.zone):%H:%M} {self.zone.key}"
        times = utc if self.zone.key == "UTC" else f"{utc}, {local}"
        parts = (self.environment, self.store, self.flag, f"way back: {self.way_back}", times)
        return " · ".join(parts)

    def document(self) -> dict[str, Any]:
        """Write it as JSON."""
        return {
            "environment": self.environment,
            "store": self.store,
            "flag": self.flag,
            "way_back": self.way_back,
            "at": f"{self.at:%Y-%m-%dT%H:%M:%SZ}",
        }


async def read_banner(operations: Operations) -> Banner:
    """Read what the first line says."""
    replicas = await operations.replicas()
    flags = sorted({replica.provider for replica in replicas})
    absolute = [flag for flag in flags if flag != DUAL]
    flag = await operations.flag() or "no flag yet"
    if not replicas:
        flag = f"{flag} (no replica is alive)"
    elif len(flags) > 1 or absolute:
        flag = f"{' and '.join(flags)} (routes are ignored where a provider is named)"
    entries = await operations.log.history(limit=1_000)
    return Banner(
        environment=operations.settings.environment,
        store=_place(operations.settings),
        flag=flag,
        way_back=way_back(entries, absolute),
        at=as_datetime(operations.clock.now()),
        zone=_zone(operations.settings),
    )


def way_back(entries: Sequence[Entry], absolute: Sequence[str]) -> str:
    """Say whether the way back was proven, and when; pure."""
    if absolute:
        return f"CLOSED: routes are ignored by replicas of {' and '.join(absolute)}"
    proofs = [
        entry.at
        for entry in entries
        if entry.action is Action.VERIFIED and entry.detail.get("step") == PROBE_COMPLETED
    ]
    return f"proven {iso(max(proofs))[:16]}Z" if proofs else "not proven yet"


def _place(settings: Settings) -> str:
    url = make_url(settings.database_url.get_secret_value())
    address = f"{url.host}{f':{url.port}' if url.port else ''}/" if url.host else ""
    schema = f"?schema={url.query['schema']}" if "schema" in url.query else ""
    return f"{url.get_backend_name()}:{address}{url.database or ''}{schema}"


def _zone(settings: Settings) -> ZoneInfo:
    name = settings.raw.get("TURNOUT_TZ", "UTC")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise InvalidSettings(f"TURNOUT_TZ: {name!r} is no IANA time zone") from None


def age(since: Millis, now: Millis) -> str:
    """Write how long ago something was, in its largest unit."""
    seconds = max(0, now - since) // 1_000
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"

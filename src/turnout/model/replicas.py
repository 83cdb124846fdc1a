"""The processes of the service."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from turnout.model.providers import LinkStatus
from turnout.model.time import Millis

ALIVE: Final[Millis] = 15_000
"""A replica without a sign of life for longer counts as gone."""


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One process of the service."""

    replica_id: str
    provider: str
    """The provider of new runs, as this process is configured."""
    definition: str
    """The digest of the app's definition."""
    version: str
    """The version of Turnout."""
    seen_at: Millis
    links: Mapping[str, LinkStatus] = field(default_factory=dict)
    """Its own connections to vendors, by provider."""
    tasks: Mapping[str, str] = field(default_factory=dict)
    """The definition of each task, by id; empty: one that does not say."""
    clock_ahead: Millis | None = None
    """By how much its machine's clock is ahead of the run store's; None: not known."""
    routes: int | None = None
    """The generation of the routes that it goes by; None: one that does not say."""
    routes_read_at: Millis | None = None

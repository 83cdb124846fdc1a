"""Listing: an adapter reads which runs its vendor has, whatever the run store says."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from turnout.model.providers import Sighting
from turnout.model.time import Millis


@runtime_checkable
class Lists(Protocol):
    """A caller that can list the vendor's own runs of this app's tasks."""

    @property
    def list_lag(self) -> Millis:
        """How late a vendor run may appear in the list, or its newest state."""
        ...

    async def list_runs(
        self, *, since: Millis | None = None, cursor: str = ""
    ) -> tuple[Mapping[str, Sighting], str]:
        """Read one page: what the vendor says of each of its runs, by the vendor run's id.

        since: runs that were created from then on, in any state; None: runs that have not ended.
        cursor: the page; "" for the first. Also gives the cursor of the next page, "" after the
        last. A run may be on two pages, or on none, if it changes while pages are read. It keeps
        to the vendor's rate limits. ProviderUnavailable: ask for this page again later.
        """
        ...


@runtime_checkable
class ReadsStamps(Protocol):
    """A caller that can read back what a delivery carried to the vendor."""

    async def stamp(self, provider_run_id: str, sighting: Sighting) -> Mapping[str, Any]:
        """Read what the delivery of a listed vendor run carried; empty: it was not ours.

        sighting: what the list says of it.
        """
        ...

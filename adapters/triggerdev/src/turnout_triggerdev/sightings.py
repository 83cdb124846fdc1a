"""What the vendor says of its runs: of one that was read, and of a page of its list.

The list lags behind the runs, is in order of creation, the newest first, and goes back 7 days
unless a period is asked for. A cursor that the server cannot read gives the first page again.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from turnout.errors import ProviderRefused, ProviderUnavailable
from turnout.model.providers import Sighting
from turnout.model.time import Millis
from turnout_triggerdev.api import Api, items_of, number_of, text_of
from turnout_triggerdev.moments import moment_of
from turnout_triggerdev.statuses import STATUSES, status_of

PAGE: Final = 100
"""Runs of a page: the most that the server gives."""
PERIOD: Final = "3650d"
"""How far back runs that have not ended are listed."""
OPEN: Final = ",".join(word for word, status in STATUSES.items() if not status.terminal)
KEY_TAG: Final = "turnout:"
STORE_TAG: Final = "turnout:store:"
"""What the tags begin with that name a delivery's key, and the run store that it is of.

No tag of a user begins so. A tag that is too long ends in a digest, and matches nothing.
"""
EVIDENCE: Final = (
    *("id", "status", "taskIdentifier", "version", "attemptCount", "durationMs", "tags", "ttl"),
    *("createdAt", "updatedAt", "startedAt", "finishedAt", "expiredAt", "delayedUntil"),
)
"""Fields of a vendor run that parity compares; neither payload nor output."""


def sighting_of(run: Mapping[str, Any], now: Millis) -> Sighting:
    """Read what the vendor says of a run; UnmappedStatus or ProviderUnavailable."""
    word = text_of(run, "status")
    tags = [tag for tag in run.get("tags") or () if isinstance(tag, str)]
    stores = [tag for tag in tags if tag.startswith(STORE_TAG)]
    keys = [tag for tag in tags if tag.startswith(KEY_TAG) and tag not in stores]
    return Sighting(
        state=status_of(word),
        word=word,
        seen_at=now,
        started_at=moment_of(run.get("startedAt")),
        ended_at=moment_of(run.get("finishedAt")),
        attempts=number_of(run, "attemptCount"),
        evidence={name: run[name] for name in EVIDENCE if name in run},
        key=keys[0].removeprefix(KEY_TAG) if keys else "",
        store=stores[0].removeprefix(STORE_TAG) if stores else "",
    )


async def list_page(
    api: Api, tasks: Sequence[str], since: Millis | None, cursor: str, now: Millis
) -> tuple[Mapping[str, Sighting], str]:
    """Read a page of the runs of these tasks; what `Lists.list_runs` gives.

    A cursor is the vendor's, after the last run of the page before: its creation and its id.
    ProviderRefused ends a list whose page does not lie behind the page before, or is empty though
    another is to follow.
    """
    limits = (
        {"filter[status]": OPEN, "filter[createdAt][period]": PERIOD}
        if since is None
        else {"filter[createdAt][from]": since}
    )
    before, last_id, after = _parts(cursor)
    listing = await api.get(
        "/api/v1/runs",
        params={
            "page[size]": PAGE,
            "filter[taskIdentifier]": ",".join(tasks),
            **limits,
            **({"page[after]": after} if after else {}),
        },
    )
    runs = [(_created(run), text_of(run, "id"), run) for run in items_of(listing)]
    following = _following(listing)
    if any(run_id == last_id or (after and created > before) for created, run_id, _ in runs):
        raise ProviderRefused("triggerdev gave a page of its list of runs twice")
    if following and not runs:
        raise ProviderRefused("triggerdev gave an empty page before the end of its list of runs")
    page = {
        run_id: sighting_of(run, now)
        for created, run_id, run in runs
        if since is None or created >= since
    }
    if not following or len(page) < len(runs):  # the rest is older
        return page, ""
    created, run_id, _ = runs[-1]
    return page, f"{created} {run_id} {following}"


def _parts(cursor: str) -> tuple[Millis, str, str]:
    created, _, rest = cursor.partition(" ")
    run_id, _, after = rest.partition(" ")
    return int(created or 0), run_id, after


def _created(run: Mapping[str, Any]) -> Millis:
    created = moment_of(run.get("createdAt"))
    if created is None:
        raise ProviderUnavailable("triggerdev listed a run without 'createdAt'")
    return created


def _following(listing: Any) -> str:
    pagination = listing.get("pagination") if isinstance(listing, dict) else None
    if not isinstance(pagination, dict):
        raise ProviderUnavailable("triggerdev answered with a 'pagination' that is none")
    return text_of(pagination, "next") if pagination.get("next") else ""

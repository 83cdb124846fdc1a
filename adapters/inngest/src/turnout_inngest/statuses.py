"""A total table from the vendor's words for the state of a run to our states."""

from collections.abc import Mapping
from typing import Any, Final

from turnout.errors import UnmappedStatus
from turnout.model.status import RunStatus
from turnout_inngest.json_fields import text_in, time_in

STATUSES: Final[Mapping[str, RunStatus]] = {
    "QUEUED": RunStatus.QUEUED,
    "SCHEDULED": RunStatus.QUEUED,
    "WAITING": RunStatus.QUEUED,
    "RUNNING": RunStatus.RUNNING,
    "COMPLETED": RunStatus.COMPLETED,
    "FAILED": RunStatus.FAILED,
    "OVERFLOWED": RunStatus.FAILED,
    "CANCELLED": RunStatus.CANCELLED,
    "SKIPPED": RunStatus.CANCELLED,
}
"""Of API v2 (capitals), v1 (Scheduled, Running …) and traces. There is no word for timed out: the
vendor's own timeouts show as CANCELLED. `Unknown` says nothing, so it maps to nothing."""


def status_of(word: str) -> RunStatus:
    """Map a vendor's word; UnmappedStatus where the table lacks it."""
    status = STATUSES.get(word.upper())
    if status is None:
        raise UnmappedStatus(f"Inngest says {word[:80]!r} of a run, which has no counterpart")
    return status


def state_of(run: Mapping[str, Any]) -> RunStatus:
    """The state of a run of API v2 or v1; a terminal word counts only together with an end time.

    While a run goes on, some sources show the status of its first finished step instead.
    """
    status = status_of(text_in(run, "status"))
    has_ended = time_in(run, "endedAt", "ended_at") is not None
    return status if has_ended or not status.terminal else RunStatus.RUNNING

"""A total table from the vendor's words for the state of an invocation to our states."""

from collections.abc import Mapping
from typing import Any, Final

from turnout.errors import UnmappedStatus
from turnout.model.status import RunStatus

STATUSES: Final[Mapping[str, RunStatus]] = {
    "scheduled": RunStatus.QUEUED,
    "inboxed": RunStatus.QUEUED,
    "pending": RunStatus.QUEUED,
    "ready": RunStatus.QUEUED,
    "pending/again": RunStatus.RUNNING,
    "ready/again": RunStatus.RUNNING,
    "running": RunStatus.RUNNING,
    "suspended": RunStatus.RUNNING,
    "backing-off": RunStatus.RUNNING,
    "paused": RunStatus.RUNNING,
    "completed/success": RunStatus.COMPLETED,
    "completed/failure": RunStatus.FAILED,
    "completed/cancelled": RunStatus.CANCELLED,
    "completed/killed": RunStatus.CANCELLED,
}
"""The words of the table `sys_invocation`, each with what `word_of` adds to it."""

CANCELLED_CODE: Final = "[409"
"""What the recorded failure of an invocation begins with that was cancelled or killed."""


def word_of(row: Mapping[str, Any]) -> str:
    """Read the vendor's word, with what other columns say of it.

    A completed invocation has ended somehow; one that waits to go on has run before.
    """
    status = str(row.get("status"))
    if status in {"pending", "ready"} and row.get("running_at"):
        return f"{status}/again"
    if status != "completed":
        return status
    result = str(row.get("completion_result"))
    failure = str(row.get("completion_failure") or "")
    if result == "failure" and failure.startswith(CANCELLED_CODE):
        result = "killed" if "killed" in failure else "cancelled"
    return f"{status}/{result}"


def state_of(row: Mapping[str, Any]) -> RunStatus:
    """Translate; UnmappedStatus for a word that is not in the table."""
    word = word_of(row)
    if word not in STATUSES:
        raise UnmappedStatus(f"Restate says {word[:80]!r}, which is in no table of states")
    return STATUSES[word]

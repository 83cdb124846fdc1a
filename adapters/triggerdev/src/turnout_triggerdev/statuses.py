"""The vendor's statuses, mapped by a total table.

Source: the vendor's API of version 2025-07-16, which every request asks for. Its booleans
(`isCompleted` and others) are all false for EXPIRED and TIMED_OUT, so only the status decides.
"""

from collections.abc import Mapping
from typing import Final

from turnout.errors import UnmappedStatus
from turnout.model.status import RunStatus

STATUSES: Final[Mapping[str, RunStatus]] = {
    "PENDING_VERSION": RunStatus.QUEUED,
    "DELAYED": RunStatus.QUEUED,
    "QUEUED": RunStatus.QUEUED,
    "DEQUEUED": RunStatus.RUNNING,
    "EXECUTING": RunStatus.RUNNING,
    "WAITING": RunStatus.RUNNING,
    "COMPLETED": RunStatus.COMPLETED,
    "CANCELED": RunStatus.CANCELLED,
    "FAILED": RunStatus.FAILED,
    "CRASHED": RunStatus.FAILED,
    "SYSTEM_FAILURE": RunStatus.FAILED,
    "EXPIRED": RunStatus.TIMED_OUT,
    "TIMED_OUT": RunStatus.TIMED_OUT,
}


def status_of(word: str) -> RunStatus:
    """Map a vendor status; UnmappedStatus when the table lacks it."""
    if word not in STATUSES:
        raise UnmappedStatus(f"triggerdev says {word!r}, which is not in the table of statuses")
    return STATUSES[word]

"""How often and how fast the pump does its work."""

from dataclasses import dataclass, replace
from hashlib import blake2b

from turnout.errors import Unavailable
from turnout.model.time import Millis
from turnout.ports.run_store import CALM_LOOK

RELEASE_PATIENCE: Millis = 30_000
"""How long the vendor run of a released run may take to end by itself until it is stopped."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Times are in milliseconds."""

    idle: Millis = 250
    """The longest pause between two turns."""
    batch: int = 500
    """How many items of each kind a turn takes."""
    resend: tuple[Millis, ...] = (5_000, 180_000, 600_000, 1_800_000)
    """How long the first, the second, … wake may be unanswered before it is sent again."""
    wakes: tuple[int, int] = (100, 500)
    """How many wakes a provider gets each second, and at once after a quiet time."""
    resends: tuple[int, int] = (10, 20)
    """The same for wakes that are sent again: a provider that is behind gets no more than these."""
    look: Millis = 15_000
    """How long a sent delivery may be silent before its provider is asked."""
    calm_look: Millis = CALM_LOOK
    """The same for a delivery that is silent because its run works or waits."""
    asleep_look: Millis = 86_400_000
    """The same in our own process, for a run that waits without an end; else from the end on."""
    absence: Millis = 30_000
    """How long a provider that answers must not know a vendor run until that is lost."""
    release_patience: Millis = RELEASE_PATIENCE
    silence: Millis = 600_000
    """How long a vendor run that its provider calls running may be silent until it is stalled."""
    hold: Millis = 10_000
    """For how long a pump holds the work that it took, unless the hold is renewed."""
    retry: tuple[Millis, Millis] = (200, 10_000)
    """The first and the longest delay before a failed call to a provider is repeated."""
    at_once: int = 8
    """Calls of each kind to each provider that run at the same time."""

    def resend_after(self, run_id: str, times: int) -> Millis:
        """Return the wait after a run was woken so many times: longer each time.

        It is up to half as long again, by run, so that runs woken together do not stay together.
        """
        wait = self.resend[min(times, len(self.resend)) - 1]
        draw = int.from_bytes(blake2b(f"{run_id}.{times}".encode(), digest_size=2).digest(), "big")
        return wait + wait * draw // 2**17

    def retry_after(self, failures: int, error: Exception) -> Millis:
        """Return the wait after a failed call: what the provider says, else longer each time."""
        if isinstance(error, Unavailable) and error.retry_after is not None:
            return round(error.retry_after.total_seconds() * 1_000)
        first, longest = self.retry
        return int(min(first * 2 ** min(failures, 16), longest))


def pace_for(*, lease: Millis, silence: Millis) -> Pace:
    """Choose a pace at which the work of a dead pump is taken over as soon as its steps."""
    default = Pace()
    return replace(
        default,
        hold=min(default.hold, lease),
        look=min(default.look, lease),
        calm_look=min(default.calm_look, 4 * lease),
        absence=min(default.absence, 2 * lease),
        silence=silence,
    )

"""How often and how fast the pump does its work."""

from dataclasses import dataclass, replace

from turnout.errors import Unavailable
from turnout.model.time import Millis


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Times are in milliseconds."""

    idle: Millis = 250
    """The longest pause between two turns."""
    batch: int = 500
    """How many items of each kind a turn takes."""
    resend: Millis = 2_000
    """How long a wake may be unanswered before it is sent again."""
    patience: int = 5
    """How many wakes may be unanswered before the provider is asked about the run."""
    look: Millis = 15_000
    """How long a sent delivery may be silent before its provider is asked."""
    calm_look: Millis = 60_000
    """The same for a delivery that is silent because its run works or waits."""
    silence: Millis = 600_000
    """How long a vendor run that its provider calls running may be silent until it is stalled."""
    hold: Millis = 10_000
    """For how long a pump holds the work that it took, unless the hold is renewed."""
    retry: tuple[Millis, Millis] = (200, 10_000)
    """The first and the longest delay before a failed call to a provider is repeated."""
    at_once: int = 8
    """Calls of each kind to each provider that run at the same time."""

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
        silence=silence,
    )

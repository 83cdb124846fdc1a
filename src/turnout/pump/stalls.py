"""Stall detection: vendor runs that their provider calls running and that make no call.

Each pump counts silence by itself, from its own first look. The count starts again when anything
happens to the run: a call, a commit, an attempt under its lease, a wait. So time in which the
service was down never counts.
"""

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from turnout.model.runs import Delivery, Journal
from turnout.model.status import AttemptState
from turnout.model.time import Millis

CAPACITY: Final = 100_000
"""Silent vendor runs that are remembered; beyond that, the oldest is forgotten."""
LONGEST_FACTOR: Final = 16
"""The patience for a run of many deliveries is at most this many times the first one."""

Activity: TypeAlias = tuple[str, int, Millis | None]
"""A delivery's key, its run's seq, and when its vendor run last called."""


def silence_is_expected(journal: Journal, now: Millis) -> bool:
    """Whether a live attempt, or a wait that is not over, explains that the run is silent."""
    working = any(
        attempt.state is AttemptState.CLAIMED and attempt.lease_until > now
        for attempts in journal.attempts.values()
        for attempt in attempts
    )
    run = journal.run
    waiting = run.parked and (run.parked_until is None or run.parked_until > now)
    return working or waiting


def patience_for(delivery: Delivery, silence: Millis) -> Millis:
    """How long this vendor run may be silent: each delivery doubles it.

    So a provider that is only slow does not get more and more vendor runs of the same run.
    """
    return int(silence * min(2 ** (delivery.number - 1), LONGEST_FACTOR))


@dataclass(kw_only=True, eq=False)
class StallDetector:
    """Which vendor runs one pump has seen silent, and since when."""

    patience: Millis
    _silent: dict[str, tuple[Activity, Millis]] = field(default_factory=dict, init=False)

    def is_stalled(self, delivery: Delivery, journal: Journal, now: Millis) -> bool:
        """Record that a vendor run is silent though it should call; True if that lasts too long."""
        activity = (delivery.key, journal.run.seq, delivery.called_at)
        previous, since = self._silent.get(delivery.run_id, (None, now))
        if previous != activity or since > now:
            since = now
        if delivery.run_id not in self._silent and len(self._silent) >= CAPACITY:
            del self._silent[next(iter(self._silent))]
        self._silent[delivery.run_id] = (activity, since)
        return now - since >= patience_for(delivery, self.patience)

    def forget(self, run_id: str) -> None:
        """Forget the run's silence: it is over, or it is expected."""
        self._silent.pop(run_id, None)

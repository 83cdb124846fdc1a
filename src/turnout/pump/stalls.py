"""Silence: vendor runs that make no call, though their provider calls them running or lacks them.

Each pump counts silence by itself, from its own first look. The count starts again when anything
happens to the run: a call, a commit, an attempt under its lease, a wait; and when the provider does
not answer. So time in which the service or the provider was down never counts.
"""

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from turnout.model.runs import Delivery, Journal
from turnout.model.status import AttemptState
from turnout.model.time import Millis

CAPACITY: Final = 100_000
"""Silent vendor runs that are remembered; beyond that, the oldest is forgotten."""
LONGEST_FACTOR: Final = 16
"""The patience for a run of many lost deliveries is at most this many times the first one."""

Activity: TypeAlias = tuple[str, int, Millis | None, str]
"""A delivery's key, its run's seq, when its vendor run last called, and the provider's word."""


def silence_is_expected(journal: Journal, now: Millis, *, late: Millis = 0) -> bool:
    """Whether a live attempt, or a wait that is not over, explains that the run is silent.

    late: by how much the provider's alarm may be late.
    """
    working = any(
        attempt.state is AttemptState.CLAIMED and attempt.lease_until > now
        for attempts in journal.attempts.values()
        for attempt in attempts
    )
    run = journal.run
    waiting = run.parked and (run.parked_until is None or run.parked_until + late > now)
    return working or waiting


def patience_for(lost: int, silence: Millis) -> Millis:
    """How long a vendor run may be silent: each delivery that was lost before it doubles it.

    So a provider that is only slow does not get more and more vendor runs of the same run.
    """
    return int(silence * min(2**lost, LONGEST_FACTOR))


@dataclass(kw_only=True, eq=False)
class Silences:
    """Which vendor runs one pump has seen silent or missing, and since when."""

    _silent: dict[str, tuple[Activity, Millis]] = field(default_factory=dict, init=False)

    def duration(self, delivery: Delivery, journal: Journal, now: Millis, *, word: str) -> Millis:
        """Record that a vendor run is silent, and its provider's word for it.

        Return for how many milliseconds this has been so without a break.
        """
        activity = (delivery.key, journal.run.seq, delivery.called_at, word)
        previous, since = self._silent.get(delivery.run_id, (None, now))
        if previous != activity or since > now:
            since = now
        if delivery.run_id not in self._silent and len(self._silent) >= CAPACITY:
            del self._silent[next(iter(self._silent))]
        self._silent[delivery.run_id] = (activity, since)
        return now - since

    def forget(self, run_id: str) -> None:
        """Forget the run's silence: it is over, it is expected, or the provider did not answer."""
        self._silent.pop(run_id, None)

"""Stall detection: vendor runs that their provider calls running and that make no call.

Silence is counted by the pump that observes it, from its own first look, and starts again with
everything that happens to the run: a call, a commit, an attempt under its lease, a wait. So time in
which nobody looked, because the service was down, never counts.
"""

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from turnout.model.runs import Delivery, Journal
from turnout.model.status import AttemptState
from turnout.model.time import Millis

CAPACITY: Final = 100_000
"""Silent vendor runs that are remembered; beyond that, those seen first start again."""
LONGEST_FACTOR: Final = 16
"""How many times the patience a run of many deliveries is given."""

Activity: TypeAlias = tuple[str, int, Millis | None]
"""Of a delivery: its key, its run's seq, and when its vendor run last called."""


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
    """How long this vendor run may be silent: twice as long with each delivery before it.

    A provider that is merely behind is not given more and more work to be behind with.
    """
    return int(silence * min(2 ** (delivery.number - 1), LONGEST_FACTOR))


@dataclass(kw_only=True, eq=False)
class StallDetector:
    """Which vendor runs one pump has seen silent, and since when."""

    patience: Millis
    _silent: dict[str, tuple[Activity, Millis]] = field(default_factory=dict, init=False)

    def is_stalled(self, delivery: Delivery, journal: Journal, now: Millis) -> bool:
        """Note that a running vendor run is silent where it should call; True after too long."""
        activity = (delivery.key, journal.run.seq, delivery.called_at)
        previous, since = self._silent.get(delivery.run_id, (None, now))
        if previous != activity or since > now:
            since = now
        if delivery.run_id not in self._silent and len(self._silent) >= CAPACITY:
            del self._silent[next(iter(self._silent))]
        self._silent[delivery.run_id] = (activity, since)
        return now - since >= patience_for(delivery, self.patience)

    def forget(self, run_id: str) -> None:
        """Start again: the silence is over, or is expected."""
        self._silent.pop(run_id, None)

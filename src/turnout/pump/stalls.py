"""Vendor runs that their provider calls running and that call for nothing.

Silence is counted by the pump that hears it, from its own first look at it, and starts anew with
everything that happens to the run: a call, a commit, an attempt under its lease, a wait. So time in
which nobody looked, because the service was down, never counts.
"""

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from turnout.model.runs import Delivery, Journal
from turnout.model.status import AttemptState
from turnout.model.time import Millis

MOST: Final = 100_000
"""Silent vendor runs that are remembered; of more, those heard first are begun anew."""
LONGEST_FACTOR: Final = 16
"""How many times the patience a run of many deliveries is given."""

Stand: TypeAlias = tuple[str, int, Millis | None]
"""Of a delivery: its key, its run's seq, and when its vendor run last called."""


def expected(journal: Journal, now: Millis) -> bool:
    """Whether the run's silence is as it should be: a live attempt, or a wait that is not over."""
    at_work = any(
        attempt.state is AttemptState.CLAIMED and attempt.lease_until > now
        for attempts in journal.attempts.values()
        for attempt in attempts
    )
    run = journal.run
    waiting = run.parked and (run.parked_until is None or run.parked_until > now)
    return at_work or waiting


def patience(delivery: Delivery, silence: Millis) -> Millis:
    """How long this vendor run may be silent: twice as long with each delivery before it.

    A provider that is merely behind is not given more and more work to be behind with.
    """
    return int(silence * min(2 ** (delivery.number - 1), LONGEST_FACTOR))


@dataclass(kw_only=True, eq=False)
class Silences:
    """What one pump has heard nothing of, and since when."""

    patience: Millis
    _since: dict[str, tuple[Stand, Millis]] = field(default_factory=dict, init=False)

    def lost(self, delivery: Delivery, journal: Journal, now: Millis) -> bool:
        """Note that a running vendor run is silent where it should call; True once for too long."""
        stand = (delivery.key, journal.run.seq, delivery.called_at)
        before, since = self._since.get(delivery.run_id, (None, now))
        if before != stand or since > now:
            since = now
        if delivery.run_id not in self._since and len(self._since) >= MOST:
            del self._since[next(iter(self._since))]
        self._since[delivery.run_id] = (stand, since)
        return now - since >= patience(delivery, self.patience)

    def heard(self, run_id: str) -> None:
        """Forget it: its silence is over, or is as it should be."""
        self._since.pop(run_id, None)

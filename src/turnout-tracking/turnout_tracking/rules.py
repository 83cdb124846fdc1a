"""The rules: what one entry of a provider's list means, beside the row that it is of. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from turnout.model.providers import Sighting
from turnout.model.runs import Delivery, Journal
from turnout.model.status import DeliveryReason, DeliveryState, RunStatus
from turnout.model.time import Millis
from turnout.stores.sql.rows import LIVE

GRACE: Final[Millis] = 30_000
"""How long, beside the list's lag, a vendor run may take to end by itself."""
MOST_LOST: Final = 10
"""So many deliveries are lost one after the other, without anything done between: it is failed."""

_ENDS: Final[Mapping[RunStatus, frozenset[RunStatus]]] = {
    RunStatus.COMPLETED: frozenset({RunStatus.COMPLETED, RunStatus.CANCELLED}),
    RunStatus.FAILED: frozenset({RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.TIMED_OUT}),
}
"""As what the vendor run of an ended run may end; that of one that we end, as anything.

One that does not end by itself is stopped, and counts as cancelled.
"""


class Rule(StrEnum):
    """What an entry of the list calls for."""

    SETTLING = "settling"
    """It may still settle by itself, or is of the past."""
    HEALTHY = "healthy"
    """The live delivery's own vendor run goes on."""
    MISSING = "missing"
    """The live delivery's own vendor run has ended: look at it, and deliver again."""
    SUPERSEDED = "superseded"
    """It goes on without right: look at it, and stop it."""
    SILENT = "silent"
    """It goes on, and has not called for long: look whether anything explains that."""
    DISAGREES = "disagrees"
    """It ended in another state than its run."""
    UNKNOWN = "unknown"
    """No row has recorded it: read what its delivery carried."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """A delivery, and how its run stands."""

    delivery: Delivery
    state: RunStatus
    live_number: int
    """The number of the run's live delivery."""
    ended_at: Millis | None
    parked: bool = False
    parked_until: Millis | None = None

    @property
    def is_live(self) -> bool:
        """Whether the run waits for calls of this delivery."""
        return (
            not self.state.terminal
            and self.delivery.number == self.live_number
            and self.delivery.state in LIVE
        )

    def is_of(self, provider_run_id: str, sighting: Sighting) -> bool:
        """Whether the delivery's vendor run is this one, or is not recorded yet."""
        recorded = self.delivery.provider_run_id
        return recorded is None or recorded in {provider_run_id, *sighting.aliases}


def rule_of(
    match: Match | None,
    provider_run_id: str,
    sighting: Sighting,
    *,
    now: Millis,
    lag: Millis,
    silence: Millis,
) -> Rule:
    """Decide what a listed vendor run calls for.

    match: the delivery that it is of, by its ids or by its key. lag: the list's. silence: for how
    long a vendor run may be silent, the pump's own patience included.
    """
    has_ended = sighting.state is None or sighting.state.terminal
    if match is None or not match.is_of(provider_run_id, sighting):
        return Rule.UNKNOWN
    if match.is_live:
        return _of_live(match, has_ended=has_ended, now=now, lag=lag, silence=silence)
    if has_ended:
        return _of_ended(match, sighting)
    delivery = match.delivery
    # What has called or was ended a moment ago ends by itself; the pump stops what is marked.
    times = (delivery.sent_at, delivery.called_at, match.ended_at)
    settled = now - max(at or 0 for at in times) > lag + GRACE
    return Rule.SUPERSEDED if settled and not delivery.stopping else Rule.SETTLING


def _of_live(match: Match, *, has_ended: bool, now: Millis, lag: Millis, silence: Millis) -> Rule:
    delivery = match.delivery
    if not has_ended:
        last = max(delivery.called_at or 0, delivery.sent_at or 0)
        until = match.parked_until
        waits = match.parked and (until is None or now - until <= silence)
        silent = delivery.state is DeliveryState.CLAIMED and not waits and now - last > silence
        return Rule.SILENT if silent else Rule.HEALTHY
    return Rule.MISSING if may_be_missing(delivery, now, lag) else Rule.SETTLING


def _of_ended(match: Match, sighting: Sighting) -> Rule:
    ends = _ENDS.get(match.state)
    is_last = match.delivery.number == match.live_number
    agrees = ends is None or sighting.state is None or sighting.state in ends
    return Rule.DISAGREES if is_last and match.state.terminal and not agrees else Rule.SETTLING


def may_be_missing(delivery: Delivery, now: Millis, lag: Millis) -> bool:
    """Whether a vendor run would be in the list by now; nothing is missing before."""
    # A process that was killed may have sent it without recording that.
    handed_over = delivery.sent_at or delivery.claimed_at
    return handed_over is not None and now - handed_over > lag


def lost_too_often(journal: Journal, deliveries: list[Delivery]) -> bool:
    """Whether MOST_LOST deliveries were lost since anything of the run was last done."""
    steps = journal.steps.values()
    attempts = (attempt for attempts in journal.attempts.values() for attempt in attempts)
    times = [time for step in steps for time in (step.asked_at, step.ended_at)]
    times += [time for attempt in attempts for time in (attempt.claimed_at, attempt.ended_at)]
    since = max((time for time in times if time is not None), default=0)
    lost = [
        delivery
        for delivery in deliveries
        if delivery.reason is DeliveryReason.LOST
        and (delivery.sent_at or delivery.claimed_at or 0) > since
    ]
    return len(lost) >= MOST_LOST

"""What the control plane answers: a report on a run, and what a cancel did."""

from dataclasses import dataclass

from turnout.model.providers import Sighting
from turnout.model.runs import Delivery, Journal, Transition
from turnout.model.status import RunStatus


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """All that is known of a run."""

    journal: Journal
    transitions: tuple[Transition, ...]
    deliveries: tuple[Delivery, ...]
    sighting: Sighting | None = None
    """What the provider itself says; None when it was not asked or did not answer."""


@dataclass(frozen=True, kw_only=True)
class Cancelled:
    """What a cancel found and did.

    state is the run's now. changed is False when it had ended before. confirmed says that the
    provider's own run is known to have ended too.
    """

    run_id: str
    state: RunStatus
    changed: bool
    confirmed: bool

"""What the control plane answers: a report on a run, and what a cancel did."""

from dataclasses import dataclass

from turnout.model.providers import Sighting
from turnout.model.runs import Delivery, Journal, Transition
from turnout.model.status import RunStatus


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """A run with its history and its deliveries."""

    journal: Journal
    transitions: tuple[Transition, ...]
    deliveries: tuple[Delivery, ...]
    sighting: Sighting | None = None
    """What the provider itself says; None when it was not asked or did not answer."""


@dataclass(frozen=True, kw_only=True)
class Cancelled:
    """What a cancel did."""

    run_id: str
    state: RunStatus
    """The run's state now."""
    changed: bool
    """False when the run had ended before."""
    confirmed: bool
    """Whether the provider's own run is known to have ended too."""

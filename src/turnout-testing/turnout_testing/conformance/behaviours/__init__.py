"""All behaviours, grouped by capability: what every backend must do."""

from turnout_testing.conformance.behaviour import Behaviour
from turnout_testing.conformance.behaviours import (
    cancel,
    concurrency,
    define,
    emit,
    retries,
    schedule,
    status,
    timeouts,
    waits,
)

BEHAVIOURS: tuple[Behaviour, ...] = (
    *emit.BEHAVIOURS,
    *schedule.BEHAVIOURS,
    *cancel.BEHAVIOURS,
    *status.BEHAVIOURS,
    *define.BEHAVIOURS,
    *waits.BEHAVIOURS,
    *retries.BEHAVIOURS,
    *concurrency.BEHAVIOURS,
    *timeouts.BEHAVIOURS,
)
"""All behaviours, in the order of the capability matrix."""

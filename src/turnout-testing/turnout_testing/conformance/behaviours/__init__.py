"""Every behaviour, grouped by capability: what a backend must do to be one."""

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
"""In the order in which a reader would ask for them."""

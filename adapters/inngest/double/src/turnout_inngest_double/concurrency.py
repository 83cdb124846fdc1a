"""Which concurrency slots a run and its calls need, and who is first. Pure."""

from typing import Any

from turnout_inngest_double import expressions
from turnout_inngest_double.capacity import ConcurrencySlot
from turnout_inngest_double.functions import Function, Limit
from turnout_inngest_double.state import Run

Payload = dict[str, Any]
MAX_PRIORITY_S = 600
"""The vendor's bound, either way."""


def run_slots(function: Function, event: Payload) -> tuple[ConcurrencySlot, ...]:
    """Held from the start of the run to its end."""
    return _slots("run", function, function.run_limits, event)


def call_slots(function: Function, event: Payload, workers: int) -> tuple[ConcurrencySlot, ...]:
    """Held while a call to the application is under way."""
    declared = _slots("step", function, function.step_limits, event)
    return (*declared, (("workers",), workers))


def rank(function: Function, run: Run, event: Payload) -> int:
    """The order among waiting runs: by time; a priority counts as so many seconds earlier."""
    if not function.priority:
        return run.due_at
    seconds = expressions.number_of(function.priority, {"event": event})
    return run.due_at - int(max(-MAX_PRIORITY_S, min(MAX_PRIORITY_S, seconds)) * 1000)


def _slots(
    kind: str, function: Function, limits: tuple[Limit, ...], event: Payload
) -> tuple[ConcurrencySlot, ...]:
    return tuple(
        (
            (
                kind,
                *_owner(function, index, limit),
                expressions.key_of(limit.key, {"event": event}),
            ),
            limit.limit,
        )
        for index, limit in enumerate(limits)
    )


def _owner(function: Function, index: int, limit: Limit) -> tuple[str, str]:
    if limit.scope == "fn":
        return function.slug, f"{index}:{limit.key}"
    return limit.scope, str(limit.key)

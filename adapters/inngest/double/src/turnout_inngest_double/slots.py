"""Which concurrency slots a run and its steps need. Pure."""

from typing import Any

from turnout_inngest_double import cel
from turnout_inngest_double.capacity import Slot
from turnout_inngest_double.functions import Function, Limit

Payload = dict[str, Any]


def run_slots(function: Function, event: Payload) -> tuple[Slot, ...]:
    """Held from the start of the run to its end."""
    return _slots("run", function, function.run_limits, event)


def step_slots(function: Function, event: Payload, workers: int) -> tuple[Slot, ...]:
    """Held while a call to the application is under way."""
    own = _slots("step", function, function.step_limits, event)
    return (*own, (("workers",), workers))


def _slots(
    what: str, function: Function, limits: tuple[Limit, ...], event: Payload
) -> tuple[Slot, ...]:
    return tuple(
        (
            (what, *_owner(function, index, limit), cel.key_of(limit.key, {"event": event})),
            limit.limit,
        )
        for index, limit in enumerate(limits)
    )


def _owner(function: Function, index: int, limit: Limit) -> tuple[str, str]:
    if limit.scope == "fn":
        return function.slug, f"{index}:{limit.key}"
    return limit.scope, str(limit.key)

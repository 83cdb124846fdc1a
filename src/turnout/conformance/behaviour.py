"""A behaviour: one promise of the port, by name, and how it is seen to be kept."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from turnout.conformance.world import World
from turnout.model.status import Capability

Trial = Callable[[World], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """A named promise. clock_bound: takes long, unless the backend's clock can be turned."""

    name: str
    capability: Capability
    promise: str
    trial: Trial
    clock_bound: bool = False


def behaviour(capability: Capability, *, clock_bound: bool = False) -> Callable[[Trial], Behaviour]:
    """Make a behaviour of a function: its name names it, its docstring is the promise."""

    def decorate(trial: Trial) -> Behaviour:
        promise = " ".join((trial.__doc__ or "").split())
        assert promise, f"{trial.__name__} has no promise"
        return Behaviour(
            name=trial.__name__.replace("_", "-"),
            capability=capability,
            promise=promise,
            trial=trial,
            clock_bound=clock_bound,
        )

    return decorate


async def try_all(
    world: World, behaviours: Iterable[Behaviour]
) -> Mapping[str, BaseException | None]:
    """Start all of them together; by name, what was wrong, or None where the promise was kept."""
    chosen = list(behaviours)
    found = await asyncio.gather(*(each.trial(world) for each in chosen), return_exceptions=True)
    return {each.name: outcome for each, outcome in zip(chosen, found, strict=True)}

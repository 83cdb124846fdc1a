"""A behaviour: one promise of the port, by name, and how it is seen to be kept."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from turnout.model.status import Capability
from turnout_testing.conformance.world import World

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
        """Describe the behaviour that a function tries."""
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
    """Try all, as many at a time as the world carries; by name, what was wrong, or None.

    Those that take longest start first, so that nothing waits alone. More at a time would measure
    the machine: what is due would be late for want of processors.
    """
    places = asyncio.Semaphore(world.at_once)

    async def try_one(behaviour: Behaviour) -> None:
        """Try a behaviour when there is a place for it."""
        async with places:
            await behaviour.trial(world)

    ordered = sorted(behaviours, key=lambda behaviour: not behaviour.clock_bound)
    outcomes = await asyncio.gather(*map(try_one, ordered), return_exceptions=True)
    return {behaviour.name: outcome for behaviour, outcome in zip(ordered, outcomes, strict=True)}

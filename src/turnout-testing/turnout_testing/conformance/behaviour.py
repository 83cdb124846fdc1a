"""A behaviour: one promise of the port, with its name and its test."""

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
    """Make a behaviour of a test function: its docstring is the promise."""

    def decorate(trial: Trial) -> Behaviour:
        """Make the behaviour of a test function."""
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
    """Try all behaviours, `world.at_once` at a time; return the error of each by name, or None.

    The longest start first, so that the end does not wait for one of them. With more at a time the
    processor would be the limit, and runs would be late for that.
    """
    places = asyncio.Semaphore(world.at_once)

    async def try_one(behaviour: Behaviour) -> None:
        """Try a behaviour when fewer than `at_once` are running."""
        async with places:
            await behaviour.trial(world)

    ordered = sorted(behaviours, key=lambda behaviour: not behaviour.clock_bound)
    outcomes = await asyncio.gather(*map(try_one, ordered), return_exceptions=True)
    return {behaviour.name: outcome for behaviour, outcome in zip(ordered, outcomes, strict=True)}

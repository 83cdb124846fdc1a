"""The contract as a pytest class: a backend subclasses it and says how it is opened."""

import asyncio
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager

import pytest

from turnout_testing.conformance.behaviour import Behaviour, try_all
from turnout_testing.conformance.behaviours import BEHAVIOURS
from turnout_testing.conformance.world import World


class OrchestratorContract:
    """All behaviours, started together on one world and asserted each by its own test.

    Subclass it and give `open_world`; `known_differences` names behaviours that this backend does
    not have, each with its reason: they are tried all the same, and must fail.
    """

    known_differences: Mapping[str, str] = {}
    only: AbstractSet[str] = frozenset()
    """Names of the behaviours to try; all of them where none is named."""

    def open_world(self) -> AbstractAsyncContextManager[World]:
        """Open the backend, with the tasks of `turnout_testing.conformance.tasks`."""
        raise NotImplementedError

    def open_turned_world(self) -> AbstractAsyncContextManager[World] | None:
        """Open the backend on a clock that is turned fast; None where its clock cannot be."""
        return None

    @pytest.fixture(scope="class")
    @classmethod
    def outcomes(cls) -> Mapping[str, BaseException | None]:
        """Try all behaviours once, at the same time."""
        return asyncio.run(cls().try_everything())

    @pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.name)
    def test_behaviour(
        self, behaviour: Behaviour, outcomes: Mapping[str, BaseException | None]
    ) -> None:
        """The promise is kept, or its absence is declared."""
        if behaviour.name not in outcomes:
            pytest.skip("not chosen")
        wrong = outcomes[behaviour.name]
        reason = self.known_differences.get(behaviour.name)
        if reason is not None:
            assert wrong is not None, f"declared as different ({reason}), and yet it holds"
            pytest.xfail(reason)
        if wrong is not None:
            raise AssertionError(f"{behaviour.promise}\n{type(wrong).__name__}: {wrong}") from wrong

    def chosen_behaviours(self) -> Sequence[Behaviour]:
        """List the behaviours to try; an unknown name is an error."""
        unknown = self.only - {behaviour.name for behaviour in BEHAVIOURS}
        assert not unknown, f"no behaviours: {', '.join(sorted(unknown))}"
        if not self.only:
            return BEHAVIOURS
        return [behaviour for behaviour in BEHAVIOURS if behaviour.name in self.only]

    async def try_everything(self) -> Mapping[str, BaseException | None]:
        """Try every behaviour; the clock-bound ones on a turned clock where there is one."""
        turned_world, behaviours = self.open_turned_world(), self.chosen_behaviours()
        if turned_world is None:
            async with self.open_world() as world:
                return await try_all(world, behaviours)
        by_clock = [behaviour for behaviour in behaviours if behaviour.clock_bound]
        by_machine = [behaviour for behaviour in behaviours if not behaviour.clock_bound]
        async with turned_world as world:
            outcomes = await try_all(world, by_clock)
        async with self.open_world() as world:
            return {**outcomes, **await try_all(world, by_machine)}

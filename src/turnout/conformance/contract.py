"""The contract as a pytest class: a backend subclasses it and says how it is opened."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

import pytest

from turnout.conformance.behaviour import Behaviour, try_all
from turnout.conformance.behaviours import BEHAVIOURS
from turnout.conformance.world import World


class OrchestratorContract:
    """All behaviours, started together on one world and asserted each by its own test.

    Subclass it and give `open_world`; `known_differences` names behaviours that this backend does
    not have, each with its reason: they are tried all the same, and must fail.
    """

    known_differences: Mapping[str, str] = {}

    def open_world(self) -> AbstractAsyncContextManager[World]:
        """Open the backend, with the tasks of `turnout.conformance.tasks`."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    def outcomes(self) -> Mapping[str, BaseException | None]:
        """Try everything once, together, so that nothing waits alone."""
        return asyncio.run(self._outcomes())

    @pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda each: each.name)
    def test_behaviour(
        self, behaviour: Behaviour, outcomes: Mapping[str, BaseException | None]
    ) -> None:
        """The promise is kept, or its absence is declared."""
        wrong = outcomes[behaviour.name]
        reason = self.known_differences.get(behaviour.name)
        if reason is not None:
            assert wrong is not None, f"declared as different ({reason}), and yet it holds"
            pytest.xfail(reason)
        if wrong is not None:
            raise AssertionError(f"{behaviour.promise}\n{type(wrong).__name__}: {wrong}") from wrong

    async def _outcomes(self) -> Mapping[str, BaseException | None]:
        async with self.open_world() as world:
            return await try_all(world, BEHAVIOURS)

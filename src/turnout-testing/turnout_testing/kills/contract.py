"""The kill group as a pytest class, for anyone's adapter."""

import asyncio
import os
from collections.abc import Mapping

import pytest

from turnout_testing.kills.backend import OUTAGE, try_kills
from turnout_testing.kills.behaviours import KILLS, KillBehaviour

KillOutcomes = Mapping[str, BaseException | None]
"""The error of each behaviour that was tried, by name; None where its promise was kept."""


class KillContract:
    """Kills the processes of a provider, and asserts what becomes of its runs.

    Subclass it and name the provider in `backend`. What there is not (a worker, a server that can
    be started again) is skipped. Nothing of it can be declared as different.
    """

    backend: str
    """The provider, as in ORCHESTRATOR_PROVIDER."""
    outage: float = OUTAGE
    """Seconds that the provider is away."""

    @pytest.fixture(scope="class")
    @classmethod
    def kill_outcomes(cls) -> KillOutcomes:
        """Kill each process once, with all trials of that kill on the way."""
        return asyncio.run(try_kills(cls.backend, os.environ, outage=cls.outage))

    @pytest.mark.parametrize("behaviour", KILLS, ids=lambda behaviour: behaviour.name)
    def test_kill(self, behaviour: KillBehaviour, kill_outcomes: KillOutcomes) -> None:
        """The promise is kept."""
        if behaviour.name not in kill_outcomes:
            pytest.skip(f"{self.backend} has no {behaviour.victim} to kill")
        wrong = kill_outcomes[behaviour.name]
        if wrong is not None:
            raise AssertionError(f"{behaviour.promise}\n{type(wrong).__name__}: {wrong}") from wrong

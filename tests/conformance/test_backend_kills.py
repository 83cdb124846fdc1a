"""The kill group on the backend that TURNOUT_BACKEND names; `scripts/kills` sets it."""

import json
import os
from pathlib import Path

import pytest
from turnout_testing.backends import BACKEND, RESULTS
from turnout_testing.kills.backend import IN_MEMORY, OUTAGE
from turnout_testing.kills.contract import KillContract, KillOutcomes

PROVIDER = os.environ.get(BACKEND, IN_MEMORY)


@pytest.mark.skipif(PROVIDER == IN_MEMORY, reason="its run store dies with the process")
class TestBackendKills(KillContract):
    """The named backend loses and doubles nothing, whichever of its processes is killed."""

    backend = PROVIDER
    outage = float(os.environ.get("KILLS_AWAY") or OUTAGE)

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def results(cls, kill_outcomes: KillOutcomes) -> None:
        """Write down what was found, for the capability matrix."""
        folder = os.environ.get(RESULTS)
        if folder is not None:
            path = Path(folder)
            path.mkdir(parents=True, exist_ok=True)
            promises = {name: wrong is None for name, wrong in kill_outcomes.items()}
            (path / f"{PROVIDER}.kills").write_text(json.dumps(promises, indent=2, sort_keys=True))

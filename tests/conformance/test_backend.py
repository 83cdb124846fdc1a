"""Every behaviour on the backend that TURNOUT_BACKEND names; `scripts/conformance` sets it."""

import json
import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from turnout_testing.backends import BACKEND, ONLY, RESULTS, conditions, open_backend
from turnout_testing.conformance.contract import OrchestratorContract
from turnout_testing.conformance.world import World

from turnout.bootstrap.adapters import EMBEDDED

PROVIDER = os.environ.get(BACKEND, "memory")


class TestBackend(OrchestratorContract):
    """The named backend keeps every promise."""

    only = frozenset(filter(None, os.environ.get(ONLY, "").split(",")))

    def open_world(self) -> AbstractAsyncContextManager[World]:
        return open_backend(PROVIDER)

    def open_turned_world(self) -> AbstractAsyncContextManager[World] | None:
        return open_backend(PROVIDER, turned=True) if PROVIDER in EMBEDDED else None

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def results(cls, outcomes: Mapping[str, BaseException | None]) -> None:
        """Write down what was found, for the capability matrix."""
        folder = os.environ.get(RESULTS)
        if folder is not None:
            path = Path(folder)
            path.mkdir(parents=True, exist_ok=True)
            found = {name: wrong is None for name, wrong in outcomes.items()}
            (path / f"{PROVIDER}.json").write_text(json.dumps(found, indent=2, sort_keys=True))
            (path / f"{PROVIDER}.conditions").write_text(json.dumps(conditions(os.environ)) + "\n")

"""Every artifact store of the runtime keeps the same promises."""

from pathlib import Path

import pytest

from tests.probed_store import ProbedContract
from turnout.ports.artifact_store import ArtifactStore
from turnout.stores.artifacts import open_store
from turnout.stores.artifacts.views import GuardedStore


class TestFolder(ProbedContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ArtifactStore:
        return open_store(str(tmp_path / "artifacts"))


class TestGuarded(ProbedContract):
    """A narrower view of a store is a store."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> ArtifactStore:
        return GuardedStore(open_store(str(tmp_path)), bool, rule="any key")

"""Every backend of the run store keeps the port's promises."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from turnout_testing.conformance.run_store import RunStoreContract

from turnout.ports.run_store import RunStore
from turnout.stores.sql import open_run_store, upgrade


class TestSqliteInMemory(RunStoreContract):
    """A database that lives and dies with the store."""

    @pytest.fixture
    async def store(self) -> AsyncIterator[RunStore]:
        opened = open_run_store("sqlite://")
        yield opened
        await opened.close()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the newest tables; each test gets a copy."""
    path = tmp_path_factory.mktemp("template") / "runs.db"
    upgrade(f"sqlite:///{path}")
    return path


class TestSqliteFile(RunStoreContract):
    """A file, with a writer and a reader."""

    @pytest.fixture
    async def store(self, template: Path, tmp_path: Path) -> AsyncIterator[RunStore]:
        path = Path(shutil.copy(template, tmp_path))
        opened = open_run_store(f"sqlite:///{path}")
        yield opened
        await opened.close()


class TestPostgres(RunStoreContract):
    """A real server, with several writers."""

    @pytest.fixture
    async def store(self, clean_postgres_url: str) -> AsyncIterator[RunStore]:
        opened = open_run_store(clean_postgres_url)
        yield opened
        await opened.close()

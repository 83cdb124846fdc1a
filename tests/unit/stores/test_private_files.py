"""What the stores write is no stranger's to read."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from turnout.bootstrap.stores import open_primary_store
from turnout.service.settings import Settings
from turnout.stores.artifacts import open_store


@pytest.fixture(params=[0o022, 0o077, 0o000])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Common umasks; the last hides nothing."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


async def test_strangers_read_neither_runs_nor_artifacts(tmp_path: Path, umask: int) -> None:
    """The database, the files beside it, artifacts, locks and all folders made for them."""
    folder = tmp_path / "made" / "by" / "us"
    store = open_primary_store(Settings(TURNOUT_DATABASE_URL=f"sqlite:///{folder}/runs.db"))
    await store.routes.read()
    artifacts = open_store(str(folder / "artifacts"))
    await artifacts.put("runs/r1/status.json", b"{}", mode="overwrite")
    await artifacts.put("runs/r1/steps/0000-a.json", b"{}")
    made = [tmp_path / "made", *(tmp_path / "made").rglob("*")]
    names = {path.name for path in made}
    assert {"runs.db", "runs.db-wal", "status.json", "0000-a.json"} <= names
    modes = {str(path): stat.S_IMODE(path.stat().st_mode) for path in made}
    assert not [path for path, mode in modes.items() if mode & stat.S_IRWXO]
    assert not [path for path, mode in modes.items() if mode & umask]
    await artifacts.aclose()
    await store.close()

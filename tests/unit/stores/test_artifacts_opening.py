"""Opening a store says what is wrong with its URL; a scheme is found where it is installed."""

import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from turnout.errors import InvalidSettings, WrongUse
from turnout.stores.artifacts import open_store, opening
from turnout.stores.artifacts.views import only_primaries, only_shadows


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "is empty; give a folder or s3://bucket/prefix"),
        ("gs://bucket", "'gs' is not supported; give a folder or s3://bucket/prefix"),
    ],
)
def test_what_opens_nothing_is_refused(url: str, says: str) -> None:
    """With what to write instead."""
    with pytest.raises(InvalidSettings, match=says):
        open_store(url)


def test_a_bucket_that_nothing_opens_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is opened, and not before: who never opens it may read the settings."""
    monkeypatch.setattr(opening, "entry_points", lambda **_: EntryPoints())
    opened = opening.store_opener("s3://bucket", {})
    with pytest.raises(InvalidSettings, match=r"pip install 'turnout\[s3\]'"):
        opened()


def test_another_scheme_is_opened_by_what_is_installed_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The entry point has the scheme's name; it gets the URL and the settings."""

    def select(group: str, name: str) -> EntryPoints:
        value = f"{__name__}:in_folder"
        return EntryPoints([EntryPoint(name, value, group)] if name == "gs" else [])

    monkeypatch.setattr(opening, "entry_points", select)
    monkeypatch.setattr(EntryPoint, "load", lambda _entry: in_folder)
    assert repr(open_store("gs://name", {"ROOT": str(tmp_path)})) == f"Folder('{tmp_path}/name')"


def in_folder(url: str, settings: Mapping[str, str]) -> object:
    """A scheme whose stores are folders below a setting."""
    return lambda: open_store(f"{settings['ROOT']}/{url.removeprefix('gs://')}")


def test_an_app_whose_artifacts_are_in_a_folder_imports_no_client_of_a_bucket() -> None:
    """What it does not use costs it nothing."""
    code = (
        "import sys; from turnout import app, open_turnout\n"
        "settings = {'TURNOUT_DATABASE_URL': 'sqlite://', 'TURNOUT_ARTIFACTS': '/tmp'}\n"
        "open_turnout(app('shop'), settings)\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print(names & {'turnout_s3', 'boto3', 'botocore', 'obstore'})"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"


async def test_a_shadow_writes_only_where_shadows_do(tmp_path: Path) -> None:
    """Refused before the store is asked, whatever the key looks like."""
    store = open_store(str(tmp_path))
    shadow = only_shadows(store)
    await shadow.put("runs/r1-dryrun/status.json", b"{}")
    for key in (
        "runs/r1/status.json",
        "runs/r1-dryrun",
        "runs/r1-dryrun-dryrun/a",
        "other/r1-dryrun/a",
        "r1-dryrun/a",
        "runs/-dryrun/a",
        "runs/r1/x-dryrun/a",
    ):
        with pytest.raises(WrongUse, match="a shadow writes only below"):
            await shadow.put(key, b"{}", mode="overwrite")
        with pytest.raises(WrongUse, match="a shadow writes only below"):
            await shadow.delete(key)
    await store.put("runs/r1/status.json", b"1")
    assert (await shadow.get("runs/r1/status.json")).body == b"1"


async def test_a_primary_writes_nothing_where_shadows_do(tmp_path: Path) -> None:
    """The other way round."""
    primary = only_primaries(open_store(str(tmp_path)))
    await primary.put("runs/r1/status.json", b"1")
    with pytest.raises(WrongUse, match="a primary writes nothing below"):
        await primary.put("runs/r1-dryrun/status.json", b"1")

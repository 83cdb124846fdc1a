"""A folder keeps whole bodies, whoever is killed and whatever else lies in it."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from turnout_testing.conformance.artifact_store import listed

from turnout.errors import ArtifactExists, ArtifactMissing, InvalidSettings, WrongUse
from turnout.model.storage import ArtifactBody, IfMatch
from turnout.ports.artifact_store import ArtifactStore
from turnout.stores.artifacts import open_store
from turnout.stores.artifacts.folder import Folder
from turnout.stores.artifacts.threaded import ThreadedStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the store shall be."""
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> ArtifactStore:
    """Open a store there."""
    return open_store(str(root))


async def test_files_are_where_the_keys_say(store: ArtifactStore, root: Path) -> None:
    """Anyone can look into the folder, and write into it."""
    await store.put("runs/r1/status.json", b"{}")
    assert (root / "runs/r1/status.json").read_bytes() == b"{}"
    (root / "runs/r2").mkdir()
    (root / "runs/r2/status.json").write_bytes(b"[]")
    assert (await store.get("runs/r2/status.json")).body == b"[]"


async def test_two_stores_on_one_folder_agree(store: ArtifactStore, root: Path) -> None:
    """Write-once and if-match hold between processes too."""
    other = open_store(f"file://{root}")
    etag = await store.put("a", b"1")
    with pytest.raises(ArtifactExists):
        await other.put("a", b"2")
    await other.put("a", b"2", mode=IfMatch(etag))
    assert (await store.get("a")).body == b"2"


WRITER = """
import sys
from pathlib import Path
from turnout.errors import ArtifactExists
from turnout.stores.artifacts.folder import Folder

store, name = Folder(Path(sys.argv[1])), sys.argv[2]
print("ready", flush=True)
number = 0
while True:
    try:
        store.put(f"once/{number}", name.encode() * 5000, "create")
    except ArtifactExists:
        pass
    store.put("status.json", name.encode() * 5000, "overwrite")
    number += 1
    if number == 50:
        print("fifty", flush=True)
"""


def test_writers_that_are_killed_leave_whole_bodies(root: Path) -> None:
    """Three processes write the same keys and are killed: no half file, nothing else listed."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(root), name], stdout=subprocess.PIPE, text=True
        )
        for name in "abc"
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert [writer.stdout.readline().strip() for _ in range(2)] == ["ready", "fifty"]
    finally:
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.wait(timeout=10)
            assert writer.stdout is not None
            writer.stdout.close()
    folder = Folder(root)
    keys = [stored.key for page in folder.pages("", "", 1000) for stored in page]
    assert len(keys) > 50
    for key in keys:
        body = folder.get(key, 10_000).body
        assert body in {name.encode() * 5000 for name in "abc"}
    folder.put("status.json", b"after", "overwrite")
    assert folder.get("status.json", 10).body == b"after"


async def test_what_is_no_key_is_not_listed(store: ArtifactStore, root: Path) -> None:
    """Foreign names, links, pipes, empty folders and what a crash left."""
    await store.put("runs/r1/a", b"1")
    (root / "~tmp" / "left").write_bytes(b"x")
    (root / "runs" / "empty" / "deeper").mkdir(parents=True)
    (root / "runs" / "r1" / "a\\b\n").write_bytes(b"x")
    (root / "runs" / "r1" / "link").symlink_to("/etc/passwd")
    (root / "runs" / "linked").symlink_to("/etc")
    os.mkfifo(root / "runs" / "r1" / "pipe")
    assert await listed(store) == ["runs/r1/a"]


async def test_folders_that_hold_nothing_are_seen(store: ArtifactStore, root: Path) -> None:
    """One that was emptied, or has a name that is no text, is listed; a link is not."""
    await store.put("runs/r1/a", b"1")
    (root / "runs" / "empty" / "deeper").mkdir(parents=True)
    (root / "runs" / "linked").symlink_to("/etc")
    os.mkdir(os.fsencode(root / "runs") + b"/z\xff")  # noqa: PTH102 (a name that is no text)
    names = [name async for page in store.folders("runs/") for name in page]
    assert names == ["empty", "r1", "z\ufffd"]


async def test_a_store_that_is_only_read_is_left_as_it_is(root: Path) -> None:
    """Neither opening nor reading makes or removes anything."""
    (root / "~tmp").mkdir(parents=True)
    (root / "~tmp" / "old").write_bytes(b"x")
    os.utime(root / "~tmp" / "old", (1, 1))
    (root / "a").write_bytes(b"1")
    before = sorted(root.rglob("*"))
    reader = open_store(str(root))
    assert await listed(reader) == ["a"]
    assert (await reader.get("a")).body == b"1"
    assert sorted(root.rglob("*")) == before
    await listed(open_store(str(root / "none")))
    assert not (root / "none").exists()


async def test_documents_of_others_are_read(store: ArtifactStore, root: Path) -> None:
    """A team's own names may have blanks, colons and letters of any language."""
    keys = ["звіти/a b.json", "runs/2026-01-01T00:00:00/ä%2F.json", "runs/r1/#1?.json"]
    for key in keys:
        (root / key).parent.mkdir(parents=True)
        (root / key).write_bytes(key.encode())
    assert await listed(store) == sorted(keys)
    found = [pair async for pair in store.get_many(keys)]
    assert [(key, getattr(got, "body", None)) for key, got in found] == [
        (key, key.encode()) for key in keys
    ]


async def test_many_batches_keep_their_order(store: ArtifactStore) -> None:
    """More keys than are read ahead."""
    keys = [f"k/{number}" for number in range(400)]
    for key in keys:
        await store.put(key, key.encode())
    found = [pair async for pair in store.get_many(keys)]
    assert [got.body.decode() for _, got in found if isinstance(got, ArtifactBody)] == keys


async def test_what_a_crash_left_is_removed_later(root: Path) -> None:
    """Not what another process is writing now."""
    await open_store(str(root)).put("a", b"1")
    old, new = root / "~tmp" / "old", root / "~tmp" / "new"
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (1, 1))
    await open_store(str(root)).put("b", b"1")
    assert (old.exists(), new.exists()) == (False, True)


@pytest.mark.parametrize("key", ["link", "pipe", "folder"])
async def test_what_is_no_file_is_not_read(store: ArtifactStore, root: Path, key: str) -> None:
    """A link out of the folder is not followed, and a pipe does not hang the reader."""
    (root / "folder").mkdir(parents=True)
    (root / "link").symlink_to("/etc/passwd")
    os.mkfifo(root / "pipe")
    with pytest.raises(ArtifactMissing):
        await asyncio.wait_for(store.get(key), 5)


@pytest.mark.parametrize("linked", ["runs", "runs/r1", "runs/r1/steps"])
async def test_no_folder_of_a_key_may_be_a_link(
    store: ArtifactStore, root: Path, tmp_path: Path, linked: str
) -> None:
    """At any depth: nothing is read, listed, removed or written through it."""
    key, outside = "runs/r1/steps/0000-a.json", tmp_path / "outside"
    await store.put(key, b"{}")
    (root / linked).rename(outside)
    (root / linked).symlink_to(outside)
    before = sorted(outside.rglob("*"))
    for call in (store.get(key), store.head(key)):
        with pytest.raises(ArtifactMissing, match=f"{linked} is a link"):
            await call
    await store.delete(key)
    assert await listed(store) == []
    for mode in ("create", "overwrite"):
        with pytest.raises(WrongUse, match="is a link"):
            await store.put(f"{key}-2", b"2", mode=mode)  # type: ignore[arg-type]
    assert sorted(outside.rglob("*")) == before


async def test_the_stores_own_folder_may_be_a_link(tmp_path: Path) -> None:
    """It is the operator's choice where the store is."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    store = open_store(str(tmp_path / "store"))
    await store.put("runs/r1/a", b"1")
    assert (await store.get("runs/r1/a")).body == b"1"


async def test_no_key_is_a_folder_of_another(store: ArtifactStore) -> None:
    """A folder cannot hold both; the message names the key."""
    await store.put("a/b", b"1")
    for mode in ("create", "overwrite"):
        with pytest.raises(WrongUse, match="'a' is a folder of other keys"):
            await store.put("a", b"2", mode=mode)  # type: ignore[arg-type]
        with pytest.raises(WrongUse, match="is an object already"):
            await store.put("a/b/c", b"2", mode=mode)  # type: ignore[arg-type]


async def test_nothing_is_left_aside(store: ArtifactStore, root: Path) -> None:
    """Refused puts, too, clean up after themselves."""
    await store.put("a", b"1")
    with pytest.raises(ArtifactExists):
        await store.put("a", b"2")
    await store.put("a", b"3", mode="overwrite")
    assert list((root / "~tmp").iterdir()) == []


async def test_a_folder_that_is_cleared_is_made_again(store: ArtifactStore, root: Path) -> None:
    """Also the folders that the store keeps for itself."""
    await store.put("x/y", b"0")
    await store.delete("x/y")
    shutil.rmtree(root)
    await store.put("x/y", b"1")
    await store.put("x/y", b"2", mode="overwrite")
    await store.delete("x/y")
    assert [path.name for path in root.iterdir() if not path.name.startswith("~")] == []


async def test_a_folder_without_links_is_served(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems have no hard links; a lock takes their place."""

    def no_links(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    store = open_store(str(root))
    results = await asyncio.gather(
        *(store.put("a/b", str(n).encode()) for n in range(8)), return_exceptions=True
    )
    assert sum(isinstance(result, str) for result in results) == 1
    assert all(isinstance(result, str | ArtifactExists) for result in results)


async def test_bodies_can_be_made_to_outlast_a_loss_of_power(root: Path) -> None:
    """With `sync` the file and its folder are flushed; the promises are the same."""
    store = ThreadedStore(Folder(root, sync=True))
    etag = await store.put("a/b", b"1")
    await store.put("a/b", b"2", mode=IfMatch(etag))
    assert (await store.get("a/b")).body == b"2"


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """The setting is named by its path."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidSettings, match="file"):
        open_store(str(tmp_path / "file"))

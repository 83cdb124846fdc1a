"""Artifacts in a folder of a local file system.

A body is written to a file of its own first and then linked or renamed into place, so a reader
sees the old body or the new one, whatever is killed in between; what a crash leaves is in `~tmp`,
which no key can name. After a loss of power a body may be short unless `sync` is set; artifacts
can be rebuilt from the journal, so it is not set by default.
"""

import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import md5
from pathlib import Path
from typing import Final

from turnout.errors import (
    ArtifactChanged,
    ArtifactExists,
    ArtifactMissing,
    InvalidSettings,
    StoreUnavailable,
    TooLarge,
    TurnoutError,
    WrongUse,
)
from turnout.model.keys import readable_key
from turnout.model.storage import PAGE_SIZE, ArtifactBody, ArtifactEntry, IfMatch, PutMode
from turnout.stores.private_files import FILE_MODE, make_folder

_NO_FILE: Final = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENXIO,
    errno.ENAMETOOLONG,
}
_REFUSED: Final = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_LINKS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ABANDONED: Final = 24 * 3600
"""Seconds after which a temporary file counts as left by a crash."""
_LOCKS: Final = 64
"""How many lock files the keys share."""


class Folder:
    """A blocking store in a folder; several processes may use it at once.

    Nothing is made or removed before the first write, so one that only reads may be read-only.
    """

    errors: tuple[type[Exception], ...] = (OSError,)
    threads = 4
    looks_first = False
    batch = 128
    prefetch = 2

    def __init__(self, root: Path, *, sync: bool = False) -> None:
        self._root = root
        self._prefix = f"{root}/"  # joining text is several times faster than joining paths
        self._sync = sync
        self._swept = False
        if any(place.exists() and not place.is_dir() for place in (root, *root.parents)):
            raise InvalidSettings(f"the artifact folder {root}: Not a directory")

    def __repr__(self) -> str:
        return f"Folder({str(self._root)!r})"

    def translated(self, error: Exception, key: str, _mode: PutMode | None) -> TurnoutError:
        """Translate an error of the file system."""
        number = error.errno if isinstance(error, OSError) else None
        if number in _NO_FILE:
            return ArtifactMissing(f"there is no {key}")
        reason = os.strerror(number) if number else str(error)
        if number in _REFUSED:
            return InvalidSettings(f"the artifact folder: {key}: {reason}")
        return StoreUnavailable(f"{key}: {reason}")

    def get(self, key: str, max_bytes: int) -> ArtifactBody:
        """Read a regular file; links within the folder are not followed."""
        self._refuse_links(key)
        body = _read(self._prefix + key, key, max_bytes)
        return ArtifactBody(body=body, etag=_etag(body))

    def head(self, key: str) -> ArtifactEntry:
        """Read the size and the ETag of a file, for which the whole file is read."""
        self._refuse_links(key)
        body = _read(self._prefix + key, key, None)
        return ArtifactEntry(key=key, size=len(body), etag=_etag(body))

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        """Write a temporary file, then move it into place under the condition of the mode."""
        for path in (key, "~tmp/", "~lock/"):
            self._refuse_links(path, WrongUse)
        self._sweep_once()
        aside = self._write_aside(body)
        try:
            self._place(aside, key, mode)
        finally:
            aside.unlink(missing_ok=True)
        return _etag(body)

    def pages(self, prefix: str, after: str, limit: int) -> Iterator[Sequence[ArtifactEntry]]:
        """Walk the folders in the order of the keys."""
        page: list[ArtifactEntry] = []
        start = prefix.rpartition("/")[0]
        for key in self._keys(f"{start}/" if start else "", prefix, after):
            with suppress(FileNotFoundError):  # removed since it was seen
                size = (self._root / key).stat(follow_symlinks=False).st_size
                page.append(ArtifactEntry(key=key, size=size, etag=None))
            if len(page) == limit:
                yield page
                page = []
        yield page

    def folders(self, prefix: str) -> Iterator[Sequence[str]]:
        """List the folders, empty ones too, which a bucket does not have.

        A name that is not UTF-8 is listed with `\ufffd` in it: the folder is seen, but not read.
        """
        names = [_shown(name) for name in self._scan(prefix, _folder_name)]
        for start in range(0, len(names), PAGE_SIZE):
            yield names[start : start + PAGE_SIZE]

    def delete(self, key: str) -> None:
        """Remove a file, and the folders that it leaves empty."""
        self._refuse_links(key)
        with self._locked(key):
            (self._root / key).unlink()
        for parent in list((self._root / key).parents)[: key.count("/")]:
            try:
                parent.rmdir()
            except OSError:
                return

    def close(self) -> None:
        """Do nothing: no file is open between two calls."""

    def _refuse_links(self, key: str, error: type[TurnoutError] = ArtifactMissing) -> None:
        """Raise an error where a folder of the key is a link: it may lead out of the store.

        The store's own folder may be a link. Who may change the store while it is read can still
        put a link there after this check.
        """
        link = self._link_above(key)
        if link is not None:
            raise error(f"there is no {key}: {link} is a link, which is not followed")

    def _link_above(self, key: str) -> str | None:
        """Find the first folder of a key that is a link; a folder's own key ends in `/`."""
        end = key.find("/")
        while end >= 0:
            if os.path.islink(self._prefix + key[:end]):  # noqa: PTH114 - several times faster
                return key[:end]
            end = key.find("/", end + 1)
        return None

    def _sweep_once(self) -> None:
        if not self._swept:
            self._swept = True
            _sweep(self._root / "~tmp")

    def _write_aside(self, body: bytes) -> Path:
        aside = self._root / "~tmp" / secrets.token_hex(12)
        _with_folder(aside, lambda: self._write(aside, body))
        return aside

    def _write(self, aside: Path, body: bytes) -> None:
        with open(aside, "xb", opener=_private) as file:
            file.write(body)
            if self._sync:
                file.flush()
                os.fsync(file.fileno())

    def _place(self, aside: Path, key: str, mode: PutMode) -> None:
        target = self._root / key
        if target.is_dir():
            raise WrongUse(f"the key {key!r} is a folder of other keys")
        if mode == "create":
            _with_folder(target, lambda: self._create(aside, target, key))
            return
        with self._locked(key):
            if isinstance(mode, IfMatch):
                _check_version(target, key, mode.etag)
            _with_folder(target, lambda: aside.replace(target))
        self._sync_folder(target)

    def _create(self, aside: Path, target: Path, key: str) -> None:
        try:
            os.link(aside, target)
        except FileExistsError:
            raise ArtifactExists(f"{key} is there already, and it is written once") from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self._create_without_links(aside, target, key)
        self._sync_folder(target)

    def _create_without_links(self, aside: Path, target: Path, key: str) -> None:
        with self._locked(key):
            if target.exists():
                raise ArtifactExists(f"{key} is there already, and it is written once")
            aside.replace(target)

    def _sync_folder(self, target: Path) -> None:
        if self._sync:
            folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Hold the lock that all conditional writers of this key share, in every process."""
        stripe = int(_etag(key.encode())[:8], 16) % _LOCKS
        lock = self._root / "~lock" / f"{stripe:02d}"
        _with_folder(lock, lambda: lock.touch(FILE_MODE))
        with lock.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _keys(self, folder: str, prefix: str, after: str) -> Iterator[str]:
        """Yield the keys below a folder (empty or ending in `/`), in order."""
        for name in self._entries(folder):
            path = folder + name
            if not (path.startswith(prefix) or prefix.startswith(path)):
                continue
            if path.endswith("/"):
                if path > after or after.startswith(path):
                    yield from self._keys(path, prefix, after)
            elif path > after and path.startswith(prefix):
                yield path

    def _entries(self, folder: str) -> list[str]:
        """List the names in a folder in the order of keys; those of folders end in `/`."""
        return self._scan(folder, _name)

    def _scan(self, folder: str, name_of: Callable[["os.DirEntry[str]"], str | None]) -> list[str]:
        if self._link_above(folder) is not None:
            return []
        try:
            with os.scandir(self._root / folder) as entries:
                names = [name for entry in entries if (name := name_of(entry))]
        except OSError as error:
            if error.errno in _NO_FILE:
                return []
            place = f"{self._prefix}{folder}"
            raise StoreUnavailable(f"the artifact folder {place}: {error.strerror}") from error
        return sorted(names)


def _sweep(aside: Path) -> None:
    """Remove files that crashes left long ago; younger ones may be in use by another process."""
    try:
        paths = list(aside.iterdir())
    except FileNotFoundError:
        return
    for path in paths:
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()


def _name(entry: "os.DirEntry[str]") -> str | None:
    if not readable_key(entry.name):
        return None
    if entry.is_dir(follow_symlinks=False):
        return f"{entry.name}/"
    return entry.name if entry.is_file(follow_symlinks=False) else None


def _folder_name(entry: "os.DirEntry[str]") -> str | None:
    internal = entry.name.startswith("~")
    return None if internal or not entry.is_dir(follow_symlinks=False) else f"{entry.name}/"


def _shown(name: str) -> str:
    return os.fsencode(name.removesuffix("/")).decode(errors="replace")


def _with_folder(target: Path, place: Callable[[], object]) -> None:
    """Place a file, making its folder first where it is not there (or has just been removed)."""
    for last in (False, False, True):
        try:
            place()
        except (FileNotFoundError, NotADirectoryError):
            if last:
                raise
        else:
            return
        try:
            make_folder(target.parent)
        except (FileExistsError, NotADirectoryError):
            raise WrongUse(f"a folder of {str(target)!r} is an object already") from None


def _check_version(target: Path, key: str, etag: str) -> None:
    try:
        actual = _etag(_read(str(target), key, None))
    except (ArtifactMissing, FileNotFoundError):
        raise ArtifactChanged(f"{key} is gone, so it is not the version {etag}") from None
    if actual != etag:
        raise ArtifactChanged(f"{key} is the version {actual}, not {etag}")


def _read(path: str, key: str, max_bytes: int | None) -> bytes:
    """Read a regular file; links are not followed, and a pipe is not waited for."""
    opened = os.open(path, _READ)
    try:
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode):
            raise ArtifactMissing(f"{key} is not a file")
        if max_bytes is not None and status.st_size > max_bytes:
            raise TooLarge(f"{key} has {status.st_size:,} bytes; at most {max_bytes:,} are read")
        return _read_fully(opened, status.st_size)
    finally:
        os.close(opened)


def _read_fully(opened: int, size: int) -> bytes:
    """Read `size` bytes, in one call unless the file is huge or being written by someone else."""
    body = os.read(opened, size)
    if len(body) == size:
        return body
    parts = [body]
    while (missing := size - sum(map(len, parts))) > 0 and (part := os.read(opened, missing)):
        parts.append(part)
    return b"".join(parts)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, FILE_MODE)


def _etag(body: bytes) -> str:
    return md5(body, usedforsecurity=False).hexdigest()

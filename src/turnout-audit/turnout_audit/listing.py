"""Which files a repository holds, as git itself reads its ignore files."""

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from turnout_audit import git
from turnout_audit.errors import WrongArguments

NESTED = 5
"""Repositories within repositories, so deep."""
SUBMODULE = "160000"
"""The mode of a tracked entry that is a repository of its own; a link to a folder is none."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The files under one folder of a repository, by the paths that the caller would write."""

    prefix: str
    """What the paths begin with."""
    paths: frozenset[str]
    """Tracked files, and files that are neither tracked nor ignored."""
    nested: tuple[str, ...] = ()
    """Beginnings of the paths in repositories within this one, which list their own files."""

    def ignores(self, path: str) -> bool:
        """Say whether git ignores a file that is there."""
        inside = path.startswith(self.prefix) and not path.startswith(self.nested)
        return inside and path not in self.paths


def list_files(
    folder: str, prefix: str, skipped: Collection[str], depth: int = 0
) -> Iterator[Listing]:
    """List a folder's files, and those of repositories in it; nothing where git cannot say.

    Folders with a name in `skipped` count only as far as they are tracked.
    """
    try:
        tracked = dict(map(_staged, entries(folder, "--cached", "--stage")))
        untracked = entries(folder, "--others", "--exclude-standard")
    except WrongArguments:
        return
    new_files = [name for name in untracked if not _in_folder_of(name, skipped)]
    names = {*tracked, *new_files}
    inner = [name for name in names if name.endswith("/") or tracked.get(name) == SUBMODULE]
    nested = tuple(f"{prefix}{name.rstrip('/')}/" for name in inner)
    paths = frozenset(prefix + name for name in names.difference(inner))
    yield Listing(prefix=prefix, paths=paths, nested=nested)
    if depth < NESTED:
        for name, beginning in zip(inner, nested, strict=True):
            yield from list_files(os.path.join(folder, name), beginning, skipped, depth + 1)  # noqa: PTH118 -- as text


def entries(folder: str, *kinds: str) -> list[str]:
    """List a folder's entries of some kinds, as `git ls-files` names these and writes them."""
    raw = git.output(folder, "-c", f"core.excludesFile={os.devnull}", "ls-files", "-z", *kinds)
    return [os.fsdecode(name) for name in raw.split(b"\0") if name]


def _in_folder_of(name: str, folders: Collection[str]) -> bool:
    return not set(name.split("/")[:-1]).isdisjoint(folders)


def _staged(entry: str) -> tuple[str, str]:
    """Return the name of an entry of the index, and its mode."""
    about, _, name = entry.partition("\t")
    return name, about[: len(SUBMODULE)]

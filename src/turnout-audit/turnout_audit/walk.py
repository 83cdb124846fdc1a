"""Which files there are: `.gitignore` respected, links not followed, everything bounded."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from turnout_audit.errors import WrongUse
from turnout_audit.model import Problem

SKIPPED = frozenset(
    [
        ".git",
        ".hg",
        ".svn",
        ".jj",
        "node_modules",
        "__pycache__",
        ".venv",
        ".tox",
        ".nox",
        ".mypy_cache",
        ".ruff_cache",
        ".pytest_cache",
        ".hypothesis",
    ]
)
"""Folders that are never entered: other people's code, caches, and version control's own files."""
MAX_DEPTH = 128
MAX_FILES = 2_000_000
MAX_IGNORE_FILE = 1_000_000


@dataclass(frozen=True, slots=True)
class File:
    """A file to look at; its path is as the caller would write it, with `/`."""

    path: str


@dataclass(slots=True)
class Tree:
    """What a walk saw."""

    files: list[File] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    links: int = 0


@dataclass(frozen=True, slots=True)
class _Run:
    """Neighbouring patterns that say the same.

    One without a slash speaks of names: the folders above were asked before, so that a name is all
    it needs to see, which is far quicker than a path.
    """

    out: bool
    named: Callable[[str], object] | None
    placed: Callable[[str], object] | None


@dataclass(frozen=True, slots=True)
class _Ignore:
    """One ignore file: its folder, as a prefix of paths, and its patterns in order."""

    prefix: str
    runs: tuple["_Run", ...]

    def verdict(self, path: str) -> bool | None:
        """Say ignored, kept, or nothing; the last pattern that fits decides."""
        if not path or not path.startswith(self.prefix):
            return None
        inner = path[len(self.prefix) :]
        name = inner[inner.rfind("/", 0, -1) + 1 :]
        for run in self.runs:
            if (run.named and run.named(name)) or (run.placed and run.placed(inner)):
                return run.out
        return None


def walk(paths: Iterable[str]) -> Tree:
    """List the files under paths; what is named itself is read even if ignored.

    Raises WrongUse where a path does not exist.
    """
    tree = Tree()
    for path in paths:
        name = shown(path)
        if os.path.isdir(path):  # noqa: PTH112 -- a Path raises where a folder above is shut
            prefix = inside(path)
            ignores = _above(tree, Path(path), prefix)
            _folder(tree, name, prefix, [] if _ignored(ignores, prefix) else ignores)
        elif os.path.lexists(path):
            _named(tree, name)
        else:
            raise WrongUse(f"no such file or folder: {path}")
    tree.files = list({file.path: file for file in tree.files}.values())
    return tree


def shown(path: str) -> str:
    """Write a path as findings show it."""
    return os.path.normpath(path).replace(os.sep, "/")


def inside(path: str) -> str:
    """Give what the names of a folder's files begin with."""
    name = shown(path)
    return "" if name == "." else f"{name.removesuffix('/')}/"


def _named(tree: Tree, path: str) -> None:
    try:
        Path(path).stat()
        tree.files.append(File(path))
    except OSError as error:
        tree.problems.append(Problem(path=path, reason=_reason(error)))


def _folder(tree: Tree, path: str, prefix: str, ignores: list["_Rooted"]) -> None:
    """Walk without recursion, so that depth is ours to bound."""
    pending = [(path, prefix, ignores, 0)]
    while pending:
        path, prefix, ignores, depth = pending.pop()
        entries = _entries(tree, path)
        ignores = ignores + _own(tree, path, prefix, entries)
        folders = []
        for entry in entries:
            name = prefix + entry.name
            if entry.is_symlink():
                tree.links += 1
            elif entry.is_dir(follow_symlinks=False):
                if entry.name not in SKIPPED and not _ignored(ignores, f"{name}/"):
                    folders.append((name, f"{name}/", ignores, depth + 1))
            elif entry.is_file(follow_symlinks=False) and not _ignored(ignores, name):
                _add(tree, name)
        if depth >= MAX_DEPTH and folders:
            tree.problems.append(Problem(path=path, reason=f"deeper than {MAX_DEPTH} folders"))
            continue
        pending.extend(reversed(folders))


def _add(tree: Tree, name: str) -> None:
    if len(tree.files) >= MAX_FILES:
        raise WrongUse(f"more than {MAX_FILES} files: name the folders to look at")
    tree.files.append(File(name))


def _entries(tree: Tree, path: str) -> "list[os.DirEntry[str]]":
    try:
        with os.scandir(path) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        tree.problems.append(Problem(path=path, reason=_reason(error)))
        return []


def _reason(error: OSError) -> str:
    return f"cannot be read: {error.strerror or error}"


@dataclass(frozen=True, slots=True)
class _Rooted:
    """An ignore file together with what turns our paths into ones under its root."""

    cut: str
    added: str
    ignore: _Ignore

    def verdict(self, path: str) -> bool | None:
        return self.ignore.verdict(self.added + path.removeprefix(self.cut))


def _ignored(ignores: Sequence[_Rooted], path: str) -> bool:
    """The innermost file that says anything decides."""
    for ignore in reversed(ignores):
        verdict = ignore.verdict(path)
        if verdict is not None:
            return verdict
    return False


def _own(
    tree: Tree, path: str, prefix: str, entries: "Iterable[os.DirEntry[str]]"
) -> list[_Rooted]:
    if not any(entry.name == ".gitignore" and not entry.is_symlink() for entry in entries):
        return []
    try:
        return [_Rooted("", "", _read(Path(path, ".gitignore"), prefix))]
    except OSError as error:
        tree.problems.append(Problem(path=f"{prefix}.gitignore", reason=_reason(error)))
        return []


def _above(tree: Tree, folder: Path, cut: str) -> list[_Rooted]:
    """Read the ignore files of the repository around a folder, outermost first."""
    here = folder.resolve()
    parents = (here, *here.parents)
    root = next((up for up in parents if os.path.exists(up / ".git")), None)  # noqa: PTH110 -- as above
    if root is None:
        return []
    added = f"{here.relative_to(root).as_posix()}/" if here != root else ""
    found = [root / ".git" / "info" / "exclude"]
    found += [up / ".gitignore" for up in reversed(parents[1 : parents.index(root) + 1])]
    rooted = []
    for file in found:
        inside = file.parent if file.name == ".gitignore" else root
        prefix = f"{inside.relative_to(root).as_posix()}/" if inside != root else ""
        try:
            rooted.append(_Rooted(cut, added, _read(file, prefix)))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            tree.problems.append(Problem(path=str(file), reason=_reason(error)))
    return rooted


def _read(path: Path, prefix: str) -> _Ignore:
    with path.open("rb") as file:
        lines = file.read(MAX_IGNORE_FILE).decode("utf-8", "replace").splitlines()
    return _Ignore(prefix, tuple(_runs(lines)))


def _runs(lines: Iterable[str]) -> Iterator[_Run]:
    """Join neighbouring patterns that say the same; last first."""
    parts: list[tuple[bool, _Names, list[str]]] = []
    for line in lines:
        if _is_bare(line):
            continue
        try:
            expression, out = GitIgnoreSpecPattern.pattern_to_regex(line)
        except ValueError:
            continue
        if expression is None or out is None:
            continue
        if not parts or parts[-1][0] != out:
            parts.append((out, _Names(), []))
        _, names, paths = parts[-1]
        written = str(expression).replace("(?P<ps_d>/)", "/")
        written = written if written.startswith("^") else f".*{written}"  # `*/` fits anywhere
        if "/" in line.rstrip().rstrip("/"):
            paths.append(written)
        else:
            names.add(line.rstrip(" "), written)
    for said, names, paths in reversed(parts):
        yield _Run(said, names.test(), _joined(paths))


def _is_bare(line: str) -> bool:
    """Say whether a pattern is but slashes: to git it fits nothing, to the library anything."""
    return not line.rstrip(" ").removeprefix("!").strip("/")


_PLAIN = re.compile(r"!?(?P<any>\*?)(?P<name>[\w.-]+)(?P<folder>/?)", re.ASCII)


class _Names:
    """Patterns of names: most say a name or how one ends, which needs no expression."""

    def __init__(self) -> None:
        self.literals: set[str] = set()
        self.ends: list[str] = []
        self.others: list[str] = []

    def add(self, line: str, expression: str) -> None:
        """Add a pattern, as written and as an expression."""
        plain = _PLAIN.fullmatch(line)
        if plain is None:
            self.others.append(expression)
            return
        forms = [f"{plain['name']}/"] + ([] if plain["folder"] else [plain["name"]])
        if plain["any"]:
            self.ends += forms
        else:
            self.literals.update(forms)

    def test(self) -> Callable[[str], object] | None:
        """Make one test of all; None where there is nothing to fit."""
        literals, ends, other = self.literals, tuple(self.ends), _joined(self.others)
        if not (literals or ends or other):
            return None
        return lambda name: name in literals or name.endswith(ends) or (other and other(name))


def _joined(expressions: Iterable[str]) -> Callable[[str], object] | None:
    joined = "|".join(f"(?:{expression})" for expression in expressions)
    return re.compile(joined).match if joined else None

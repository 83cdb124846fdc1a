"""The first stage: which files there are, and which of them hold a word that some rule needs.

ripgrep does both in one run: it walks, it leaves out what git ignores, and it searches. It comes
with the wheel `ripgrep`. Words are looked for in a file's bytes, ASCII letters in any case.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from turnout_audit import git
from turnout_audit.errors import InvalidInput, WrongArguments
from turnout_audit.listing import Listing, list_files
from turnout_audit.model import FileProblem

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
MAX_ARGUMENTS = 800_000
"""Bytes of paths in one call; a kernel takes about two million."""
TIMEOUT = 600.0
"""Seconds for one run of ripgrep."""
WALK = (
    *("--no-config", "--null", "--color=never", "--no-ignore-messages"),
    *("--hidden", "--no-require-git", "--no-ignore-dot", "--no-ignore-global"),
    *(f"--glob=!{name}/" for name in sorted(SKIPPED)),
)
"""Hidden files count; of ignore files only `.gitignore` and the repository's own exclude file."""
SEARCH = (
    *("--text", "--with-filename", "--ignore-case"),
    *("--count", "--include-zero", "--max-count=1"),
)
_UNREADABLE = re.compile(r"^rg: (?P<path>.+): [^:]*\(os error (?P<number>\d+)\)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The files under some paths, as ripgrep lists them."""

    files: dict[str, bool] = field(default_factory=dict)
    """Every file by its path, as the caller would write it with `/`: whether it holds a word."""
    problems: list[FileProblem] = field(default_factory=list)
    links: int = 0
    """Symbolic links beside the files; they are not followed."""


class Search:
    """Searches the files under paths for words, while the caller does something else.

    Without words, files are only listed. What is named itself is read even if ignored. Raises
    WrongArguments where a path does not exist.
    """

    def __init__(self, paths: Sequence[str], words: frozenset[str]) -> None:
        self.folders = [path for path in paths if os.path.isdir(path)]  # noqa: PTH112 -- a Path raises where a folder above is shut
        named = {path: _unreachable(path) for path in paths if path not in self.folders}
        self.named = [path for path, problem in named.items() if problem is None]
        self.problems = [problem for problem in named.values() if problem is not None]
        command = [ripgrep(), *WALK, *(_search(words) if words else ["--files"])]
        self.command = [*command, "--no-ignore-parent"]
        obedient = [folder for folder in self.folders if obeys_above(folder)]
        self.listings = _Listings(obedient)
        self.runs = [
            _Run([*command, *parents, "--", *batch])
            for parents, roots in _by_ignore_files([*self.folders, *self.named], obedient)
            for batch in _batches(roots)
        ]

    def tree(self) -> Tree:
        """Wait for the results, and return them."""
        for run in self.runs:
            run.wait()
        files = {path: holds for run in self.runs for path, holds in run.files()}
        files = self._as_git_reads(files)
        problems = {problem for run in self.runs for problem in run.problems()}
        problems.update(self.problems)
        for problem in problems:
            if os.path.isfile(problem.path):  # noqa: PTH113 -- as above
                files.setdefault(problem.path, False)
        deep = {path: folder for path in files if (folder := _too_deep(path, self.folders))}
        reason = f"deeper than {MAX_DEPTH} folders"
        problems.update(FileProblem(path=folder, reason=reason) for folder in deep.values())
        files = {path: holds for path, holds in files.items() if path not in deep}
        if len(files) > MAX_FILES:
            raise WrongArguments(f"more than {MAX_FILES} files: name the folders to look at")
        return Tree(files=files, problems=list(problems), links=_count_links(files, self.folders))

    def _as_git_reads(self, files: dict[str, bool]) -> dict[str, bool]:
        """Take out what git ignores, and search what it lists beyond ripgrep's list.

        ripgrep leaves out tracked files that an ignore file names, and a few patterns mean
        something else to it.
        """
        listings = self.listings.wait()
        unlisted = [path for listing in listings for path in listing.paths if path not in files]
        further_runs = [
            _Run([*self.command, "--", *batch]) for batch in _batches(_arguments(unlisted))
        ]
        self.runs += further_runs
        named = {_report_path(_argument(path)) for path in self.named}
        unignored = {
            path: holds
            for path, holds in files.items()
            if path in named or not any(listing.ignores(path) for listing in listings)
        }
        for run in further_runs:
            run.wait()
            unignored.update(run.files())
        return unignored

    def close(self) -> None:
        """End all runs, also unfinished ones."""
        for run in self.runs:
            run.close()


def ripgrep() -> str:
    """Find the program: beside this interpreter, where the wheel puts it, or where pip says."""
    name = "rg.exe" if os.name == "nt" else "rg"
    beside = Path(sys.executable).with_name(name)
    if beside.exists():
        return str(beside)
    from importlib.metadata import PackageNotFoundError, files

    try:
        placed = [str(file.locate()) for file in files("ripgrep") or () if file.name == name]
    except PackageNotFoundError:
        placed = []
    program = next(iter(placed), None) or shutil.which(name)
    if program is None:
        raise InvalidInput("the audit needs ripgrep: pip install ripgrep")
    return program


class _Run:
    """One run of ripgrep; a thread reads its output, so that ripgrep never has to wait."""

    def __init__(self, command: Sequence[str]) -> None:
        self.searches = "--count" in command
        self.output = self.errors = ""
        self.process = subprocess.Popen(  # noqa: S603 -- no shell; names cannot be options
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.thread = threading.Thread(target=self._take, daemon=True)
        self.thread.start()

    def _take(self) -> None:
        output, errors = self.process.communicate()
        self.output, self.errors = os.fsdecode(output), os.fsdecode(errors)

    def wait(self) -> None:
        """Wait for the end."""
        self.thread.join(TIMEOUT)
        if self.thread.is_alive():
            raise WrongArguments(f"ripgrep took longer than {TIMEOUT:.0f} s")

    def files(self) -> Iterator[tuple[str, bool]]:
        """List the files, and whether each holds a word."""
        name, *pieces = self.output.split("\0")
        if not self.searches:
            yield from ((_report_path(path), False) for path in (name, *pieces) if path)
            return
        for piece in pieces:  # "1\n", and the next file's name
            count, _, following = piece.partition("\n")
            yield _report_path(name), count != "0"
            name = following

    def problems(self) -> Iterator[FileProblem]:
        """Name what could not be read; raises WrongArguments where ripgrep says something else."""
        for line in _UNREADABLE.finditer(self.errors):
            reason = f"cannot be read: {os.strerror(int(line['number']))}"
            yield FileProblem(path=_report_path(line["path"]), reason=reason)
        if self.process.returncode > 1 and not _UNREADABLE.search(self.errors):
            raise WrongArguments(f"ripgrep: {self.errors.strip()}")

    def close(self) -> None:
        """End the run, if it has not ended."""
        if self.thread.is_alive():
            self.process.kill()
            self.thread.join()


def _search(words: frozenset[str]) -> list[str]:
    """Ask for words; ASCII ones are found faster without Unicode's rules of case."""
    ascii_only = ["--no-unicode"] if all(word.isascii() for word in words) else []
    expressions = [spelling for word in sorted(words) for spelling in _spellings(word)]
    return [*SEARCH, *ascii_only, *(f"-e{expression}" for expression in expressions)]


def _spellings(word: str) -> Iterator[str]:
    """Spell a word as UTF-8 has it, and as UTF-16 and UTF-32 have it, with NULs between letters."""
    letters = [f"\\{c}" if c.isascii() and not c.isalnum() and c != "_" else c for c in word]
    yield "".join(letters)
    if word.isascii():
        yield r"\x00".join(letters)
        yield r"\x00\x00\x00".join(letters)


class _Listings:
    """What git lists under folders, read while ripgrep searches."""

    def __init__(self, folders: Sequence[str]) -> None:
        self.folders = folders
        self.listings: list[Listing] = []
        self.thread = threading.Thread(target=self._take, daemon=True)
        self.thread.start()

    def _take(self) -> None:
        for folder in self.folders:
            self.listings += list_files(folder, _prefix(folder), SKIPPED)

    def wait(self) -> list[Listing]:
        """Wait for git, and return its lists: none where it cannot say."""
        self.thread.join(TIMEOUT)
        return self.listings


def _by_ignore_files(
    paths: Iterable[str], obedient: Collection[str]
) -> Iterator[tuple[list[str], list[str]]]:
    """Divide paths by whether ignore files above them count."""
    arguments: dict[bool, list[str]] = {True: [], False: []}
    for path in paths:
        arguments[path in obedient].append(_argument(path))
    for obeys, batch in arguments.items():
        if batch:
            yield [] if obeys else ["--no-ignore-parent"], batch


def obeys_above(path: str) -> bool:
    """Say whether ignore files above a path count.

    They do up to the repository's root, and no further; not where they ignore the path itself,
    which is read because it is named.
    """
    place = Path(os.path.realpath(path))
    folders = (place, *place.parents)
    top = next((up for up in folders if os.path.exists(up / ".git")), None)  # noqa: PTH110 -- as above
    if top is None or top == place:
        return top is not None
    return not git.ignores(str(place))


def _arguments(paths: Iterable[str]) -> list[str]:
    """Keep regular files, written so that none is an option."""
    return [_argument(path) for path in paths if _is_regular(path)]


def _is_regular(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)  # a link is followed nowhere
    except OSError:
        return False  # tracked, and deleted since


def _argument(path: str) -> str:
    """Write a path so that it is no option."""
    name = _normal(path)
    return name if name.startswith("/") else "./" if name == "." else f"./{name}"


def _normal(path: str) -> str:
    return os.path.normpath(path).replace(os.sep, "/")


def _report_path(path: str) -> str:
    """Write a path of ripgrep's as findings show it."""
    return path.replace(os.sep, "/").removeprefix("./")


def _unreachable(path: str) -> FileProblem | None:
    """Say why a path that is named cannot be read: a pipe or a device is no file.

    Raises WrongArguments where nothing is there.
    """
    if not os.path.lexists(path):
        raise WrongArguments(f"no such file or folder: {path}")
    try:
        regular = stat.S_ISREG(Path(path).stat().st_mode)
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
    else:
        reason = "" if regular else "cannot be read: not a regular file"
    return FileProblem(path=_normal(path), reason=reason) if reason else None


def _too_deep(path: str, roots: Iterable[str]) -> str | None:
    """Return the last folder that counts, where a file stands deeper below every root."""
    if path.count("/") <= MAX_DEPTH:
        return None
    prefixes = [prefix for root in roots if path.startswith(prefix := _prefix(root))]
    longest = max(prefixes, key=len, default=path)
    parts = path[len(longest) :].split("/")
    return longest + "/".join(parts[:MAX_DEPTH]) if len(parts) > MAX_DEPTH + 1 else None


def _prefix(root: str) -> str:
    """Return what the names of a folder's files begin with."""
    name = _normal(root)
    return "" if name == "." else f"{name.removesuffix('/')}/"


def _count_links(files: Iterable[str], roots: Iterable[str]) -> int:
    """Count symbolic links in the folders above the files, up to the roots."""
    folders = {_prefix(root) for root in roots}
    prefixes = tuple(folders)
    for path in files:
        end = path.rfind("/") + 1
        while path.startswith(prefixes) and path[:end] not in folders:
            folders.add(path[:end])
            end = path.rfind("/", 0, end - 1) + 1
    links = 0
    for folder in folders:
        try:
            with os.scandir(folder or ".") as entries:
                links += sum(entry.is_symlink() for entry in entries)
        except OSError:
            continue  # it is named as a problem already
    return links


def _batches(arguments: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for argument in arguments:
        size += len(os.fsencode(argument)) + 1
        batch.append(argument)
        if size > MAX_ARGUMENTS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch

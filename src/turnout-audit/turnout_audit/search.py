"""The first stage: which files hold a word that some rule needs.

Two engines with one promise. Both look for the same words in the same files' bytes, ASCII letters
in any case, so they keep the same files: `ripgrep` 14 or later where it is installed, google-re2 in
this process otherwise. What is kept is then read by the second stage, whichever engine kept it.

ripgrep starts while we still walk, and walks by itself. Which files count is for our walk to say,
in any case: a file that ripgrep passed by is asked about afterwards, and what it read in excess is
forgotten.
"""

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, Protocol

from turnout_audit.errors import InvalidSettings
from turnout_audit.model import Problem
from turnout_audit.walk import SKIPPED, File, inside

OLDEST = 14
"""ripgrep 13 is far slower on many words."""
CHUNK = 1 << 20
ARGUMENTS = 800_000
"""Bytes of file names in one call; a kernel takes about two million."""
TIMEOUT = 120.0
MAX_WIDE = 64 << 20
WIDE = (b"\xff\xfe", b"\xfe\xff")
EngineName = Literal["auto", "ripgrep", "re2"]


class Engine(Protocol):
    """Keeps the files that hold one of the words."""

    def begin(self, paths: Sequence[str], words: frozenset[str]) -> None:
        """Look ahead under these paths, if that pays; `kept` is asked about the same words."""

    def kept(
        self, files: Sequence[File], words: frozenset[str], problems: list[Problem]
    ) -> set[str]:
        """Name the files that hold one; what cannot be read goes to `problems`."""

    def close(self) -> None:
        """Stop what is under way."""


def engine(name: EngineName = "auto") -> Engine:
    """Choose an engine; `auto` takes ripgrep where a good one is installed."""
    program = ripgrep() if name != "re2" else None
    if program:
        return Ripgrep(program)
    if name == "ripgrep":
        raise InvalidSettings(f"no ripgrep {OLDEST} or later on the PATH")
    return InProcess()


def ripgrep() -> str | None:
    """Find a ripgrep that is new enough."""
    program = shutil.which("rg")
    if program is None:
        return None
    try:
        said = subprocess.run(  # noqa: S603 -- the program found on the PATH, no shell
            [program, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.match(r"ripgrep (\d+)\.", said)
    return program if version and int(version[1]) >= OLDEST else None


class Ripgrep:
    """The search by ripgrep, over files that we chose."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.ahead: _Ahead | None = None

    def begin(self, paths: Sequence[str], words: frozenset[str]) -> None:
        """Search the folders among the paths as ripgrep walks them, which is nearly as we do."""
        folders = [_named(inside(path)) for path in paths if os.path.isdir(path)]  # noqa: PTH112 -- as in walk
        if words and folders and sum(map(len, folders)) < ARGUMENTS:
            command = [*self._command(words), "--count", "--include-zero", "--max-count=1"]
            command += ["--hidden", "--no-require-git", "--no-ignore-dot", "--no-ignore-global"]
            command += [f"--glob=!{name}" for name in sorted(SKIPPED)]
            self.ahead = _Ahead([*command, "--", *folders])

    def kept(
        self, files: Sequence[File], words: frozenset[str], problems: list[Problem]
    ) -> set[str]:
        """Name the files that hold a word."""
        seen = self.ahead.seen() if self.ahead else {}
        found = {file.path for file in files if seen.get(file.path)}
        for batch in _batches(file for file in files if file.path not in seen):
            found |= self._batch(batch, words, problems)
        return found

    def close(self) -> None:
        """Stop what is under way."""
        if self.ahead:
            self.ahead.stop()

    def _batch(
        self, paths: Sequence[str], words: frozenset[str], problems: list[Problem]
    ) -> set[str]:
        command = [*self._command(words), "--files-with-matches", "--no-ignore"]
        done = subprocess.run(  # noqa: S603 -- no shell; names cannot be options
            [*command, "--", *map(_named, paths)], capture_output=True, timeout=TIMEOUT, check=False
        )
        if done.returncode > 1:  # something could not be read: find out what, in this process
            return InProcess().kept([File(path) for path in paths], words, problems)
        kept = (os.fsdecode(name) for name in done.stdout.split(b"\0") if name)
        return {name.removeprefix("./") for name in kept}

    def _command(self, words: frozenset[str]) -> list[str]:
        command = [self.program, "--no-config", "--null", "--text", "--no-messages"]
        command += ["--with-filename", "--fixed-strings", "--ignore-case", "--color=never"]
        if all(word.isascii() for word in words):
            command.append("--no-unicode")
        for word in sorted(words):
            command += ["-e", word]
        return command


class _Ahead:
    """A search under way; its answer is taken in by a thread, so that it never has to wait."""

    def __init__(self, command: Sequence[str]) -> None:
        self.told = b""
        self.process = subprocess.Popen(  # noqa: S603 -- no shell; names cannot be options
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.thread = threading.Thread(target=self._take, daemon=True)
        self.thread.start()

    def _take(self) -> None:
        self.told, _ = self.process.communicate()

    def seen(self) -> dict[str, bool]:
        """Say of each file that was read whether it holds a word."""
        self.thread.join(TIMEOUT)
        self.stop()
        found = {}
        name, *rest = os.fsdecode(self.told).split("\0")
        for piece in rest:  # "1\n", and the next file's name
            count, end, following = piece.partition("\n")
            if end:
                found[name.removeprefix("./")] = count != "0"
            name = following
        return found

    def stop(self) -> None:
        """End the search, wherever it is."""
        if self.thread.is_alive():
            self.process.kill()
            self.thread.join()


def _named(path: str) -> str:
    """Write a path so that it is no option."""
    return path if path.startswith("/") else f"./{path}"


class InProcess:
    """The search by google-re2, in blocks, so that memory does not grow with a file."""

    def begin(self, paths: Sequence[str], words: frozenset[str]) -> None:
        """Wait for the walk: here, one thing is done after the other."""

    def close(self) -> None:
        """Nothing is under way."""

    def kept(
        self, files: Sequence[File], words: frozenset[str], problems: list[Problem]
    ) -> set[str]:
        """Name the files that hold a word."""
        search = _compiled(words)
        overlap = 4 * max(map(len, words), default=1)
        found = set()
        for file in files:
            try:
                if _holds(file.path, search, overlap):
                    found.add(file.path)
            except OSError as error:
                reason = f"cannot be read: {error.strerror or error}"
                problems.append(Problem(path=file.path, reason=reason))
        return found


class _Search(Protocol):
    def search(self, text: bytes) -> object | None: ...


def _compiled(words: frozenset[str]) -> _Search:
    """Compile for bytes: as Latin-1 where all words are ASCII, else as UTF-8."""
    try:
        import re2
    except ImportError as error:
        raise InvalidSettings("the audit needs google-re2: pip install turnout-audit") from error
    joined = "(?i)" + "|".join(re2.escape(word) for word in sorted(words))
    if all(word.isascii() for word in words):
        found: _Search = re2.compile(joined.encode())
    else:
        found = _Utf8(re2.compile(joined))
    return found


class _Utf8:
    """Searches bytes with a pattern of characters beyond ASCII; invalid bytes match nothing."""

    def __init__(self, pattern: _Search) -> None:
        self.pattern = pattern

    def search(self, text: bytes) -> object | None:
        """Search; a character cut by a block's end is whole in the next block's overlap."""
        return self.pattern.search(text.decode("utf-8", "replace"))  # type: ignore[arg-type]


def _holds(path: str, search: _Search, overlap: int) -> bool:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 -- thousands a second
        tail = b""
        while block := file.read(CHUNK):
            if not tail and block.startswith(WIDE):  # UTF-16 is searched as UTF-8, as ripgrep does
                block = (block + file.read(MAX_WIDE)).decode("utf-16", "replace").encode()
            if search.search(tail + block if tail else block):
                return True
            tail = block[-overlap:] if len(block) == CHUNK else (tail + block)[-overlap:]
    return False


def _batches(files: Iterable[File]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for file in files:
        size += len(os.fsencode(file.path)) + 3
        batch.append(file.path)
        if size > ARGUMENTS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch

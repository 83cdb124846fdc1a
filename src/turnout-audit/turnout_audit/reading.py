"""Reads the files that hold a word, and has them scanned, all within a bound that is named.

A file that takes too long is read again as plain text: its mentions are listed, nothing else is
said of it. So are all further files where the tree has used up what it may take; the small ones
are read first.
"""

import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from turnout_audit import own_files, processes
from turnout_audit.model import FileProblem, FileScan
from turnout_audit.results import UNCLASSIFIED, unclassified
from turnout_audit.source import decode, is_binary

if TYPE_CHECKING:
    from turnout_audit.scan import Scanner

MAX_TEXT = 32_000_000
"""Bytes of a file that is read as a whole; a larger one that holds a word is named."""
PAYS = 1_000_000
"""Bytes to scan from which a second process pays for its start."""
MAX_PROCESSES = 4
FILE_SECONDS, FILE_SECONDS_A_MB = 3.0, 3.0
"""Seconds of the processor that a file may take; a large script takes less than one."""
TREE_SECONDS, TREE_SECONDS_A_MB = 60.0, 0.1
"""Seconds of the processor that the files of a tree may take together."""
MAX_PLACES = 200_000
"""Findings and mentions that are listed of a tree."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    """A file to read; with a cause, as plain text; if that was too much, not at all."""

    path: str
    size: int
    cause: str = ""
    given_up: bool = False


def scan_all(
    scanner: "Scanner", paths: Sequence[str], count: int | None = None
) -> Iterator[FileScan]:
    """Read and scan files, on several processors where that is faster."""
    files = sorted((_File(path=path, size=size_of(path)) for path in paths), key=_by_size)
    size = sum(file.size for file in files)
    count = count or (_processors() if size >= PAYS else 1)
    works = [_Work(scanner, files[number::count], size, count) for number in range(count)]
    if processes.can_fork():
        yield from processes.do_all(works)
    else:
        for work in works:
            work.seconds += time.process_time()  # in a forked process this clock begins anew
            yield from map(work.do, work.jobs)


class _Work:
    """Files for one process after another, within what is allowed to all of these."""

    def __init__(self, scanner: "Scanner", files: list[_File], size: int, count: int) -> None:
        self.scanner = scanner
        self.jobs = files
        self.bound = TREE_SECONDS + TREE_SECONDS_A_MB * size / 1e6
        self.seconds = self.bound / count
        self.places = MAX_PLACES // count

    def limit(self, file: _File) -> float:
        """Return the seconds that a file may take."""
        return seconds_of(file.size)

    def do(self, file: _File) -> FileScan:
        """Read a file as far as it is allowed."""
        if file.given_up:
            return failed_scan(file.path, file.cause)
        if self.places < 0:
            reason = f"not listed: its tree has more than {MAX_PLACES} findings and mentions"
            return failed_scan(file.path, reason)
        cause = file.cause
        if not cause and time.process_time() > self.seconds:
            cause = f"its tree takes longer than {self.bound:.0f} s of the processor"
        scan = scan_file(self.scanner, file.path, cause)
        self.places -= _places(scan)
        return scan

    def ended(
        self, results: Sequence[FileScan], failure: processes.Failure | None, seconds: float
    ) -> None:
        """Go on with what is left; the file at which the process ended is read as plain text."""
        self.seconds -= seconds
        self.places -= sum(map(_places, results))
        if failure is not None:
            file = self.jobs[failure.number]
            reason = failure.reason(self.limit(file))
            cause = reason if failure.too_long else f"cannot be scanned: {reason}"
            given_up = file.cause != ""
            self.jobs[failure.number] = replace(file, cause=cause, given_up=given_up)


def seconds_of(size: int) -> float:
    """Return the seconds of the processor that a file of so many bytes may take."""
    return FILE_SECONDS + FILE_SECONDS_A_MB * size / 1e6


def size_of(path: str) -> int:
    """Return a file's size; 0 where it cannot be read: reading it will report why."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 -- thousands of them
    except OSError:
        return 0


def scan_file(scanner: "Scanner", path: str, cause: str = "") -> FileScan:
    """Read and scan a file; where there is a cause against it, only list its mentions."""
    try:
        raw = _read(path)
    except OSError as error:
        return failed_scan(path, f"cannot be read: {error.strerror or error}")
    if isinstance(raw, str):
        return failed_scan(path, raw)
    return scan_bytes(scanner, path, raw, cause)


def scan_bytes(scanner: "Scanner", path: str, raw: bytes, cause: str = "") -> FileScan:
    """Scan what a file holds; where there is a cause against it, only list its mentions."""
    if is_binary(raw):
        return _of_binary(scanner, path, raw)
    text = decode(raw)[0]
    if cause:
        return scanner.listed(path, text, cause)
    if own_files.is_ours(path, text):
        return FileScan(path=path, sort="own")
    return scanner.scan(path, text)


def _of_binary(scanner: "Scanner", path: str, raw: bytes) -> FileScan:
    lowered = raw.lower()
    counts = scanner.reports(UNCLASSIFIED)
    mentioned = counts and any(word.encode() in lowered for word in scanner.mentions)
    mentions = (unclassified(path, "(a binary file)", 0),) if mentioned else ()
    return FileScan(path=path, sort="binary", unclassified=mentions)


def _read(path: str) -> bytes | str:
    """Return a file's bytes, or why it has none that could be read; a pipe is not waited for."""
    with open(path, "rb", buffering=0, opener=_opened) as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            return "cannot be read: not a regular file"
        if about.st_size <= MAX_TEXT:
            return file.read(MAX_TEXT)
    return f"too large: {about.st_size} bytes, and it holds a word that a rule looks for"


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def failed_scan(path: str, reason: str) -> FileScan:
    """Return the scan of a file that was not read, with the reason as its problem."""
    return FileScan(path=path, problems=(FileProblem(path=path, reason=reason),))


def _places(scan: FileScan) -> int:
    return len(scan.findings) + len(scan.exempted) + len(scan.unclassified)


def _by_size(file: _File) -> tuple[int, str]:
    return file.size, file.path


def _processors() -> int:
    """Count the processors that we may use."""
    if not hasattr(os, "sched_getaffinity"):
        return 1
    return min(MAX_PROCESSES, len(os.sched_getaffinity(0)))

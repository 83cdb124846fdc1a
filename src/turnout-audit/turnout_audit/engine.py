"""An audit: walk, search, scan what the search kept, on as many processes as it pays."""

import os
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from turnout_audit import forked, kinds, own, search
from turnout_audit.model import Counted, Finding, Problem, Report, Scan
from turnout_audit.ruleset import PathMatch, Ruleset
from turnout_audit.source import decode, is_binary
from turnout_audit.walk import File, Tree, walk
from turnout_audit.words import of_path, of_ruleset

if TYPE_CHECKING:
    from turnout_audit.scan import Scanner

MAX_TEXT = 32_000_000
"""Bytes of a file that is read as a whole; a larger one that holds a word is named."""
PAYS = 300_000
"""Bytes to scan from which a second process pays for its start."""
Chosen = Literal["docs", "code", "config", "all"]


@dataclass(frozen=True, slots=True)
class _Part:
    """What one piece of work gave."""

    scans: list[Scan]
    problems: list[Problem]
    binary: int
    own: int


def audit(
    ruleset: Ruleset,
    paths: Sequence[str],
    *,
    scope: Chosen = "all",
    engine: search.EngineName = "auto",
    processes: int | None = None,
    without: Sequence[str] = (),
) -> Report:
    """Find every trace under paths; files named in `without`, and our own reports, are no traces.

    Raises WrongUse where a path does not exist, InvalidSettings where a library is missing.
    """
    words = of_ruleset(ruleset)
    with closing(search.engine(engine)) as searching:
        searching.begin(paths, words)
        from turnout_audit.scan import Scanner  # the search goes on meanwhile

        scanner = Scanner(ruleset)
        tree = walk(paths)
        files = [f for f in tree.files if scope == "all" or kinds.classify(f.path)[0] == scope]
        problems = list(tree.problems)
        holding = searching.kept(files, words, problems) if words else set()
    ours = own.Given(without)
    found = _kept(scanner, files, holding)
    kept = [file for file in found if not ours.holds(file.path)]
    parts = _parts(scanner, kept, processes)
    report = _report(ruleset, tree, files, problems, parts, len(kept))
    counted = replace(report.counted, own=report.counted.own + len(found) - len(kept))
    return replace(report, roots=tuple(paths), counted=counted)


def _kept(scanner: "Scanner", files: Sequence[File], holding: set[str]) -> list[File]:
    """Keep files that hold a word, and those that are found by their names alone."""
    names = set(holding)
    for each in scanner.prepared:
        if isinstance(each.match, PathMatch):
            words = of_path(each.match)
            near = [f for f in files if not words or any(w in f.path.lower() for w in words)]
            names.update(f.path for f in near if each.takes(f.path) and each.fits_name(f.path))
    return [file for file in files if file.path in names]


def _parts(scanner: "Scanner", kept: Sequence[File], processes: int | None) -> list[_Part]:
    """Scan, in as many processes as it pays; the largest files are dealt out first."""
    count = processes or _processors()
    sizes = {file.path: _size(file.path) for file in kept}
    if count == 1 or sum(sizes.values()) < PAYS:
        return [scan_files(scanner, kept)]
    sized = sorted(kept, key=lambda file: sizes[file.path], reverse=True)
    hands = [sized[number::count] for number in range(count)]
    return forked.each(lambda hand: scan_files(scanner, hand), hands)


def _size(path: str) -> int:
    """Tell a file's size; of one that cannot be asked, its reading will tell why."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 -- thousands of them
    except OSError:
        return 0


def _processors() -> int:
    """Count what we may use; one where a process cannot be forked."""
    if not hasattr(os, "sched_getaffinity"):
        return 1
    return min(4, len(os.sched_getaffinity(0)))


def scan_files(scanner: "Scanner", files: Iterable[File]) -> _Part:
    """Read and scan files, one in memory at a time."""
    part = _Part([], [], 0, 0)
    binary = ours = 0
    for file in files:
        try:
            with open(file.path, "rb", buffering=0) as opened:  # noqa: PTH123 -- thousands of them
                size = os.fstat(opened.fileno()).st_size
                raw = opened.read() if size <= MAX_TEXT else b""
        except OSError as error:
            reason = f"cannot be read: {error.strerror or error}"
            part.problems.append(Problem(path=file.path, reason=reason))
            continue
        if size > MAX_TEXT:
            reason = f"too large: {size} bytes, and it holds a word that a rule looks for"
            part.problems.append(Problem(path=file.path, reason=reason))
            continue
        if is_binary(raw):
            binary += 1
            continue
        text = decode(raw)[0]
        if own.is_ours(file.path, text):
            ours += 1
            continue
        scan = scanner.scan(file.path, text)
        if scan.findings or scan.problems or scan.exempted:
            part.scans.append(scan)
    return _Part(part.scans, part.problems, binary, ours)


def _report(
    ruleset: Ruleset,
    tree: Tree,
    files: Sequence[File],
    problems: list[Problem],
    parts: Sequence[_Part],
    opened: int,
) -> Report:
    scans = sorted((scan for part in parts for scan in part.scans), key=lambda scan: scan.path)
    for part in parts:
        problems.extend(part.problems)
    problems.extend(problem for scan in scans for problem in scan.problems)
    findings = [finding for scan in scans for finding in scan.findings]
    return Report(
        ruleset=ruleset.ruleset,
        findings=tuple(sorted(findings, key=_order)),
        problems=tuple(dict.fromkeys(sorted(problems, key=lambda p: (p.path, p.line, p.reason)))),
        exempted=tuple(each for scan in scans for each in scan.exempted),
        audited=frozenset(file.path for file in files),
        counted=Counted(
            files=len(files),
            opened=opened,
            binary=sum(part.binary for part in parts),
            links=tree.links,
            own=sum(part.own for part in parts),
        ),
    )


def _order(finding: Finding) -> tuple[str, int, int, str]:
    return finding.path, finding.start, finding.end, finding.rule

"""An audit: searches the tree, then scans the files with a needed word, in several processes."""

import os
from collections.abc import Container, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from turnout_audit import bounds, kinds, own_files
from turnout_audit.model import AuditReport, Counted, FileProblem, FileScan, Finding
from turnout_audit.results import UNCLASSIFIED, unclassified
from turnout_audit.ruleset import DemandMatch, PathMatch, Ruleset
from turnout_audit.search import Search, Tree
from turnout_audit.source import decode, is_binary
from turnout_audit.words import of_path, of_ruleset

if TYPE_CHECKING:
    from turnout_audit.scan import Scanner

MAX_TEXT = 32_000_000
"""Bytes of a file that is read as a whole; a larger one that holds a word is named."""
PAYS = 1_000_000
"""Bytes to scan from which more processes pay for their start."""
MAX_PROCESSES = 4
ScopeFilter = Literal["docs", "code", "config", "all"]


@dataclass(kw_only=True, slots=True)
class Share:
    """What one process scanned."""

    scans: list[FileScan] = field(default_factory=list)
    problems: list[FileProblem] = field(default_factory=list)
    binary: int = 0
    reports: int = 0
    """Baselines and reports of the audit itself."""


def audit(
    ruleset: Ruleset,
    paths: Sequence[str],
    *,
    scope: ScopeFilter = "all",
    processes: int | None = None,
    without: Sequence[str] = (),
    phase: int | None = None,
    codes: frozenset[str] | None = None,
    limited_to: Container[str] | None = None,
) -> AuditReport:
    """Find every trace under paths; files named in `without`, and our own reports, are no traces.

    `phase` is the phase of a migration that rules may depend on; with `codes`, only what these
    rules find is reported; with `limited_to`, no other files are looked at.

    Raises WrongUse where a path does not exist, InvalidSettings where a library is missing.
    """
    with closing(Search(paths, of_ruleset(ruleset))) as search:
        scanner = scanner_of(ruleset, phase=phase, codes=codes)  # the search goes on meanwhile
        tree = search.tree()
    files = [path for path in tree.files if scope == "all" or kinds.classify(path)[0] == scope]
    if limited_to is not None:
        files = [path for path in files if path in limited_to]
    excluded = own_files.NamedFiles(without)
    worth_reading = _worth_reading(scanner, tree, files)
    opened = [path for path in worth_reading if not excluded.holds(path)]
    shares = _scan_all(scanner, opened, processes)
    scans = sorted((scan for share in shares for scan in share.scans), key=lambda scan: scan.path)
    findings = [finding for scan in scans for finding in scan.findings]
    return AuditReport(
        ruleset=ruleset.ruleset,
        findings=tuple(sorted(findings, key=_order)),
        problems=_problems(tree, files, shares, scans),
        exempted=tuple(mention for scan in scans for mention in scan.exempted),
        unclassified=tuple(mention for scan in scans for mention in scan.unclassified),
        audited=frozenset(files),
        codes=codes,
        roots=tuple(paths),
        counted=Counted(
            files=len(files),
            opened=len(opened),
            binary=sum(share.binary for share in shares),
            links=tree.links,
            own_files=sum(share.reports for share in shares) + len(worth_reading) - len(opened),
        ),
    )


def scanner_of(
    ruleset: Ruleset, *, phase: int | None = None, codes: frozenset[str] | None = None
) -> "Scanner":
    """Make a scanner of files, beside which their configuration is read."""
    from turnout_audit.own_modules import is_own_module
    from turnout_audit.scan import Scanner

    return Scanner(ruleset, is_own_module, phase=phase, codes=codes)


def _worth_reading(scanner: "Scanner", tree: Tree, files: Sequence[str]) -> list[str]:
    """Keep files that hold a word, and files that rules find by their names alone."""
    names = {path for path in files if tree.files[path]}
    for prepared in scanner.prepared:
        if isinstance(prepared.match, PathMatch | DemandMatch):
            words = of_path(prepared.match) if isinstance(prepared.match, PathMatch) else ()
            near = [f for f in files if not words or any(word in f.lower() for word in words)]
            names.update(f for f in near if prepared.takes(f) and prepared.fits_name(f))
    return [path for path in files if path in names]


def _problems(
    tree: Tree, files: Iterable[str], shares: Iterable[Share], scans: Iterable[FileScan]
) -> tuple[FileProblem, ...]:
    """Collect problems; those of files outside the scope do not count."""
    passed_by = tree.files.keys() - set(files)
    problems = {problem for problem in tree.problems if problem.path not in passed_by}
    problems.update(problem for share in shares for problem in share.problems)
    problems.update(problem for scan in scans for problem in scan.problems)
    return tuple(sorted(problems, key=lambda problem: (problem.path, problem.line, problem.reason)))


def _scan_all(scanner: "Scanner", paths: Sequence[str], processes: int | None) -> Sequence[Share]:
    """Scan in several processes where that is faster; the largest files are distributed first."""
    count = processes or _processors()
    sizes = {path: _size(path) for path in paths}
    if count == 1 or sum(sizes.values()) < PAYS:
        return [scan_files(scanner, paths)]
    ordered = sorted(paths, key=lambda path: sizes[path], reverse=True)
    return _in_processes(scanner, [ordered[number::count] for number in range(count)])


def _in_processes(scanner: "Scanner", hands: Sequence[Sequence[str]]) -> Sequence[Share]:
    """Scan in forked processes, which share the compiled rules; only results are sent.

    If a process is killed, for want of memory for example, its work is done again in this one.
    """
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    fork = get_context("fork")
    try:
        with ProcessPoolExecutor(len(hands), fork, _share_rules, (scanner,)) as pool:
            return list(pool.map(_scan_hand, hands))
    except BrokenProcessPool:
        return [scan_files(scanner, hand) for hand in hands]


_shared: list["Scanner"] = []
"""In a forked process: the rules of its parent."""


def _share_rules(scanner: "Scanner") -> None:
    _shared.append(scanner)


def _scan_hand(paths: Sequence[str]) -> Share:
    return scan_files(_shared[-1], paths)


def _size(path: str) -> int:
    """Return a file's size; 0 where it cannot be read: reading it will report why."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 -- thousands of them
    except OSError:
        return 0


def _processors() -> int:
    """Count the processors that we may use; one where a process cannot be forked."""
    if not hasattr(os, "sched_getaffinity"):
        return 1
    return min(MAX_PROCESSES, len(os.sched_getaffinity(0)))


def scan_files(scanner: "Scanner", paths: Iterable[str]) -> Share:
    """Read and scan files, one in memory at a time."""
    share = Share()
    allowance = bounds.Allowance()
    for path in paths:
        try:
            raw = _read(path)
        except OSError as error:
            reason = f"cannot be read: {error.strerror or error}"
            share.problems.append(FileProblem(path=path, reason=reason))
            continue
        if isinstance(raw, FileProblem):
            share.problems.append(raw)
        elif is_binary(raw):
            share.binary += 1
            if scanner.reports(UNCLASSIFIED) and any(
                word.encode() in raw.lower() for word in scanner.mentions
            ):
                mention = unclassified(path, "(a binary file)", 0)
                share.scans.append(FileScan(path=path, unclassified=(mention,)))
        else:
            seconds = allowance.seconds()
            try:
                with bounds.bounded(seconds):
                    _scan_text(scanner, path, decode(raw)[0], share)
            except bounds.TookTooLong:
                allowance.spend(seconds)
                reason = f"took longer than {seconds:g} s of the processor"
                share.problems.append(FileProblem(path=path, reason=reason))
    return share


def _read(path: str) -> bytes | FileProblem:
    with open(path, "rb", buffering=0) as opened:  # noqa: PTH123 -- thousands of them
        size = os.fstat(opened.fileno()).st_size
        if size <= MAX_TEXT:
            return opened.read()
    reason = f"too large: {size} bytes, and it holds a word that a rule looks for"
    return FileProblem(path=path, reason=reason)


def _scan_text(scanner: "Scanner", path: str, text: str, share: Share) -> None:
    if own_files.is_ours(path, text):
        share.reports += 1
        return
    scan = scanner.scan(path, text)
    if scan.findings or scan.problems or scan.exempted or scan.unclassified:
        share.scans.append(scan)


def _order(finding: Finding) -> tuple[str, int, int, str]:
    return finding.path, finding.start, finding.end, finding.rule

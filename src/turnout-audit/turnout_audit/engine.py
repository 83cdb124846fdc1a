"""An audit: searches the tree, then reads the files with a needed word."""

from collections.abc import Container, Iterable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Literal

from turnout_audit import kinds, own_files
from turnout_audit.model import AuditReport, Counted, FileProblem, FileScan, Finding
from turnout_audit.reading import scan_all
from turnout_audit.ruleset import DemandMatch, PathMatch, Ruleset
from turnout_audit.search import Search, Tree
from turnout_audit.words import of_path, of_ruleset

if TYPE_CHECKING:
    from turnout_audit.scan import Scanner

ScopeFilter = Literal["docs", "code", "config", "all"]


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

    Raises WrongArguments where a path does not exist, InvalidInput where a library is missing.
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
    scans = sorted(scan_all(scanner, opened, processes), key=lambda scan: scan.path)
    findings = [finding for scan in scans for finding in scan.findings]
    return AuditReport(
        ruleset=ruleset.ruleset,
        findings=tuple(sorted(findings, key=_order)),
        problems=_problems(tree, files, scans),
        exempted=tuple(mention for scan in scans for mention in scan.exempted),
        unclassified=tuple(mention for scan in scans for mention in scan.unclassified),
        audited=frozenset(files),
        codes=codes,
        roots=tuple(paths),
        counted=Counted(
            files=len(files),
            opened=len(opened),
            binary=sum(scan.sort == "binary" for scan in scans),
            links=tree.links,
            own_files=sum(scan.sort == "own" for scan in scans) + len(worth_reading) - len(opened),
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
    tree: Tree, files: Iterable[str], scans: Iterable[FileScan]
) -> tuple[FileProblem, ...]:
    """Collect problems; those of files outside the scope do not count."""
    passed_by = tree.files.keys() - set(files)
    problems = {problem for problem in tree.problems if problem.path not in passed_by}
    problems.update(problem for scan in scans for problem in scan.problems)
    return tuple(sorted(problems, key=lambda problem: (problem.path, problem.line, problem.reason)))


def _order(finding: Finding) -> tuple[str, int, int, str]:
    return finding.path, finding.start, finding.end, finding.rule

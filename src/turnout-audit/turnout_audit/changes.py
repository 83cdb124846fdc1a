"""What changed in a repository since a commit: its files, and their lines."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from turnout_audit import git, listing
from turnout_audit.errors import WrongArguments
from turnout_audit.model import AuditReport, Exempted, Finding
from turnout_audit.results import UNCLASSIFIED

_HUNK = re.compile(rb"@@ -\d+(?:,(?P<removed>\d+))? \+(?P<start>\d+)(?:,(?P<added>\d+))? @@")
DIFF = (
    *("diff", "--raw", "-z", "--patch", "--unified=0", "--inter-hunk-context=0", "--text"),
    *("--no-color", "--no-ext-diff", "--no-textconv", "--find-renames", "--ignore-submodules"),
    *("--src-prefix=a/", "--dst-prefix=b/", "--diff-filter=d"),
)


@dataclass(kw_only=True, slots=True)
class Change:
    """What is new in one file."""

    named: bool = False
    """Whether the file has its name since then."""
    whole: bool = False
    """Whether the file is not tracked, so that all of its lines are new."""
    lines: list[range] = field(default_factory=list)

    def touches(self, first: int, last: int) -> bool:
        """Say whether a line of a span is new; line 0 means the whole file."""
        return (
            self.whole
            or not first
            or any(span.start <= last and first < span.stop for span in self.lines)
        )


def since(ref: str, paths: Sequence[str]) -> dict[str, Change]:
    """Read what changed under paths since the last commit in common with `ref`, by file.

    What is not committed, and files that are not tracked, are new, too. Raises WrongArguments where
    git knows no such commit.
    """
    changes: dict[str, Change] = {}
    repositories: dict[bytes, dict[bytes, Change]] = {}
    for folder in {path if os.path.isdir(path) else os.path.dirname(path) or "." for path in paths}:  # noqa: PTH112, PTH120 -- as text
        root = git.output(folder, "rev-parse", "--show-toplevel").removesuffix(b"\n")
        if root not in repositories:
            repositories[root] = _of_repository(os.fsdecode(root), ref)
        prefix = git.output(folder, "rev-parse", "--show-prefix").removesuffix(b"\n")
        for file, change in repositories[root].items():
            if file.startswith(prefix):
                path = f"{folder}/{os.fsdecode(file.removeprefix(prefix))}"
                changes[os.path.normpath(path).replace(os.sep, "/")] = change
    return changes


def _of_repository(root: str, ref: str) -> dict[bytes, Change]:
    """Read what changed in a whole repository: git finds the renames of what it compares."""
    try:
        commit = f"{ref}^{{commit}}"
        git.output(root, "rev-parse", "--quiet", "--verify", "--end-of-options", commit)
    except WrongArguments as error:
        raise WrongArguments(f"--since {ref}: {root} holds no such commit or branch") from error
    try:
        base = git.output(root, "merge-base", "--end-of-options", ref, "HEAD").decode().strip()
    except WrongArguments as error:
        reason = "no commit in common with HEAD (a shallow clone may lack it)"
        raise WrongArguments(f"--since {ref}: {reason}: {error}") from error
    changes = _read(git.output(root, *git.without_filters(root), *DIFF, base, "--"))
    for file in listing.entries(root, "--others", "--exclude-standard"):
        changes[os.fsencode(file)] = Change(named=True, whole=True)
    return changes


def narrowed(report: AuditReport, changes: Mapping[str, Change]) -> AuditReport:
    """Leave out of a report what stands on lines that did not change."""
    return replace(
        report,
        findings=_new(report.findings, changes),
        unclassified=_new(report.unclassified, changes),
        exempted=tuple(mention for mention in report.exempted if _is_new(mention, changes)),
    )


def _new(findings: Iterable[Finding], changes: Mapping[str, Change]) -> tuple[Finding, ...]:
    return tuple(finding for finding in findings if _is_new(finding, changes))


def _is_new(hit: Finding | Exempted, changes: Mapping[str, Change]) -> bool:
    change = changes[hit.path]
    if isinstance(hit, Exempted):
        return change.touches(hit.line, hit.line)
    if hit.start == hit.end and hit.rule != UNCLASSIFIED:
        return change.named  # a rule found the file, not a place in it
    return change.touches(hit.line, hit.end_line)


def _read(diff: bytes) -> dict[bytes, Change]:
    """Read a list of files, and their patches without context.

    Hunks count their own lines, so no text is taken for a head.
    """
    files, _, patch = diff.partition(b"\0\0")
    changes = dict(_listed(files))
    change = Change()
    lines = (line for line in patch.split(b"\n") if not line.startswith(b"\\"))
    for line in lines:
        if line.startswith(b"+++ "):
            change = changes.get(_name(line.removeprefix(b"+++ ")), Change())
        elif hunk := _HUNK.match(line):
            start, added = int(hunk["start"]), int(hunk["added"] or 1)
            change.lines.append(range(start, start + added))
            for _ in range(int(hunk["removed"] or 1) + added):
                next(lines)
    return changes


def _listed(files: bytes) -> Iterator[tuple[bytes, Change]]:
    """Read git's list of changed files: for each its status and its name, or both of its names."""
    fields = filter(None, files.split(b"\0"))
    for about in fields:
        status = about.rpartition(b" ")[2][:1]
        name = next(fields)
        yield next(fields) if status == b"R" else name, Change(named=status in b"ART")


def _name(name: bytes) -> bytes:
    """Read a name of a patch: in quotes where it holds odd letters, or with a tab behind."""
    if name.startswith(b'"'):
        quoted = name[1 : name.rindex(b'"')]
        name = quoted.decode("unicode_escape").encode("latin-1")
    else:
        name = name.removesuffix(b"\t")
    return name.removeprefix(b"b/")

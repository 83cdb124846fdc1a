"""What changed in a repository since a commit: its files, and their lines."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from turnout_audit import git
from turnout_audit.model import AuditReport, Exempted, Finding

_HUNK = re.compile(rb"@@ -\S+ \+(?P<start>\d+)(?:,(?P<count>\d+))? @@")
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)")
_LETTERS: Mapping[bytes, bytes] = dict(
    zip(
        (b"a", b"b", b"t", b"n", b"v", b"f", b"r"), b"\a \b \t \n \v \f \r".split(b" "), strict=True
    )
)
DIFF = (
    *("diff", "--unified=0", "--no-color", "--no-ext-diff", "--no-textconv", "--find-renames"),
    *("--relative", "--text", "--src-prefix=a/", "--dst-prefix=b/", "--diff-filter=d"),
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
    for path in paths:
        place = Path(path)
        folder, name = (place, ".") if place.is_dir() else (place.parent, f"./{place.name}")
        ends = git.output(str(folder), "rev-parse", "--verify", "--end-of-options", ref)
        commit = git.output(str(folder), "merge-base", ends.decode().strip(), "HEAD")
        patch = git.output(str(folder), *DIFF, commit.decode().strip(), "--", name)
        list_untracked = ("ls-files", "-z", "--others", "--exclude-standard", "--", name)
        in_path = _read(patch)
        for untracked in git.output(str(folder), *list_untracked).split(b"\0"):
            in_path[untracked] = Change(named=True, whole=True)
        for file, change in in_path.items():
            changes[_normal(str(folder / os.fsdecode(file)))] = change
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
    change = changes[_normal(hit.path)]
    if isinstance(hit, Exempted):
        return change.touches(hit.line, hit.line)
    by_name = hit.line and hit.start == hit.end and not hit.matched
    if by_name and hit.rule != "unclassified":
        return change.named
    return change.touches(hit.line, hit.end_line)


def _normal(path: str) -> str:
    """Write a path as the audit does."""
    return os.path.normpath(path).replace(os.sep, "/")


def _read(patch: bytes) -> dict[bytes, Change]:
    """Read a patch without context: hunks count their own lines, so no text is taken for a head."""
    changes: dict[bytes, Change] = {}
    change = Change()
    text = 0
    for line in patch.split(b"\n"):
        if text and line[:1] in (b"+", b"-", b"\\"):
            text -= line[:1] != b"\\"
        elif line.startswith(b"diff --git "):
            change, text = Change(), 0
        elif line.startswith((b"new file mode", b"rename to ")):
            change.named = True
            if line.startswith(b"rename to "):
                changes[_name(line.removeprefix(b"rename to "))] = change
        elif line.startswith(b"+++ "):
            changes[_name(line.removeprefix(b"+++ ")).removeprefix(b"b/")] = change
        elif hunk := _HUNK.match(line):
            start, count = int(hunk["start"]), int(hunk["count"] or 1)
            change.lines.append(range(start, start + count))
            removed = line.split(b" ")[1].partition(b",")[2] or b"1"
            text = count + int(removed)
    return changes


def _name(quoted: bytes) -> bytes:
    """Read a name as git writes it: in quotes where it holds odd letters, or with a tab behind."""
    if not quoted.startswith(b'"'):
        return quoted.removesuffix(b"\t")
    return _ESCAPE.sub(_letter, quoted[1 : quoted.rindex(b'"')])


def _letter(escape: "re.Match[bytes]") -> bytes:
    code = escape[1]
    return bytes([int(code, 8)]) if code.isdigit() else _LETTERS.get(code, code)

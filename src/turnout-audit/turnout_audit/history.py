"""The burndown: how many findings a repository's past commits had."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from turnout_audit import git
from turnout_audit.errors import WrongArguments
from turnout_audit.model import Level
from turnout_audit.processes import do_each
from turnout_audit.reading import failed_scan, scan_bytes, seconds_of
from turnout_audit.ruleset import Ruleset
from turnout_audit.scan import Scanner
from turnout_audit.search import SKIPPED

MAX_BLOB = 4_000_000
BAR = 40
LINK = b"120000"
"""The mode of a symbolic link."""


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """A commit, and what was found in it."""

    commit: str
    at: datetime
    subject: str
    findings: int
    levels: dict[Level, int]
    rules: dict[str, int]
    skipped: int
    """Files too large to read here."""
    problems: int
    """Files that could not be read or parsed."""


def burndown(
    ruleset: Ruleset,
    repository: str,
    *,
    points: int = 20,
    since: str = "",
    paths: Sequence[str] = (),
) -> list[HistoryPoint]:
    """Audit commits spread evenly over the history, oldest first, the newest always among them.

    Follows the first parents from HEAD. Each file's content is read once. Raises WrongArguments
    where there is no repository, or a path is in none of the commits.
    """
    commits = _commits(repository, points, since)
    _check(repository, [commit for commit, _, _ in commits], paths)
    reader = _Reader(Scanner(ruleset), repository)
    return [reader.point(commit, paths) for commit in commits]


def _commits(repository: str, points: int, since: str) -> list[tuple[str, datetime, str]]:
    command = ["log", "--first-parent", "--format=%H%x00%ct%x00%s", "-z"]
    if since:
        command.append(f"--since={since}")
    fields = git.output(repository, *command, "--").decode("utf-8", "replace").split("\0")
    rows = [tuple(fields[at : at + 3]) for at in range(0, len(fields) - 2, 3)]
    commits = [(c.strip(), datetime.fromtimestamp(int(t), UTC), s) for c, t, s in rows][::-1]
    if len(commits) <= points:
        return commits
    last = len(commits) - 1
    evenly_spaced = sorted(
        {round(number * last / max(1, points - 1)) for number in range(points)} | {last}
    )
    return [commits[number] for number in evenly_spaced]


def _check(repository: str, commits: Sequence[str], paths: Sequence[str]) -> None:
    """Refuse a path that no commit holds; one that only older commits hold has a burndown."""
    for path in paths:
        newest_first = reversed(commits)
        if commits and not any(
            git.output(repository, "ls-tree", c, "--", path) for c in newest_first
        ):
            raise WrongArguments(f"no such file or folder in any of the commits looked at: {path}")


class _Reader:
    """Reads commits, and caches the findings of each path and content."""

    def __init__(self, scanner: Scanner, repository: str) -> None:
        self.scanner = scanner
        self.repository = repository
        self.findings: dict[tuple[str, str], tuple[tuple[str, Level], ...]] = {}
        self.problems: set[tuple[str, str]] = set()

    def point(self, commit: tuple[str, datetime, str], paths: Sequence[str]) -> HistoryPoint:
        name, at, subject = commit
        files = list(self._files(name, paths))
        self._read([(path, blob) for path, blob, size in files if size <= MAX_BLOB])
        contents = [(path, blob) for path, blob, _ in files]
        findings = [finding for content in contents for finding in self.findings.get(content, ())]
        return HistoryPoint(
            commit=name,
            at=at,
            subject=subject[:200],
            findings=len(findings),
            levels=dict(Counter(level for _, level in findings)),
            rules=dict(Counter(rule for rule, _ in findings)),
            skipped=sum(size > MAX_BLOB for _, _, size in files),
            problems=sum((path, blob) in self.problems for path, blob, _ in files),
        )

    def _files(self, commit: str, paths: Sequence[str]) -> Iterator[tuple[str, str, int]]:
        listed = git.output(self.repository, "ls-tree", "-r", "-z", "-l", commit, "--", *paths)
        for row in listed.split(b"\0"):
            about, _, path = row.partition(b"\t")
            fields = about.split()
            name = path.decode("utf-8", "surrogateescape")
            walked = SKIPPED.isdisjoint(name.split("/")[:-1])
            if fields[1:2] == [b"blob"] and fields[0] != LINK and walked:
                yield name, fields[2].decode(), int(fields[3])

    def _read(self, files: Sequence[tuple[str, str]]) -> None:
        unread = [entry for entry in files if entry not in self.findings]
        for at in range(0, len(unread), 200):
            part = unread[at : at + 200]
            contents = self._contents([blob for _, blob in part])
            scans = do_each(
                [(path, raw) for (path, _), raw in zip(part, contents, strict=True)],
                lambda file: scan_bytes(self.scanner, *file),
                limit=lambda file: seconds_of(len(file[1])),
                failed=lambda file, reason: failed_scan(file[0], reason),
            )
            for entry, scan in zip(part, scans, strict=True):
                findings = tuple((finding.rule, finding.level) for finding in scan.findings)
                self.findings[entry] = findings
                if scan.problems:
                    self.problems.add(entry)

    def _contents(self, blobs: Sequence[str]) -> list[bytes]:
        names = "".join(f"{blob}\n" for blob in blobs).encode()
        out = git.output(self.repository, "cat-file", "--batch", content=names)
        contents, at = [], 0
        for _ in blobs:
            end = out.index(b"\n", at)
            size = int(out[at:end].split()[2])
            contents.append(out[end + 1 : end + 1 + size])
            at = end + 2 + size
        return contents


def table(points: Sequence[HistoryPoint]) -> str:
    """Show the burndown as a table with bars."""
    highest = max((point.findings for point in points), default=0) or 1
    lines = [f"{'date':<10}  {'commit':<9} {'findings':>8}  "]
    for point in points:
        bar = "█" * round(BAR * point.findings / highest) or ("▏" if point.findings else "")
        lines.append(f"{point.at:%Y-%m-%d}  {point.commit[:9]} {point.findings:>8}  {bar}".rstrip())
    return "\n".join(lines) + "\n"


def plot(points: Sequence[HistoryPoint], title: str, *, width: int = 720, height: int = 260) -> str:
    """Draw the burndown as SVG, one step a commit, time from left to right."""
    from xml.sax.saxutils import escape

    margin_left, top, margin_right, bottom = 48, 32, 12, 28
    highest = max((point.findings for point in points), default=0) or 1
    first, last = points[0].at.timestamp(), points[-1].at.timestamp()
    span = (last - first) or 1.0
    across, down = width - margin_left - margin_right, height - top - bottom
    places = [
        (
            margin_left + across * (point.at.timestamp() - first) / span,
            top + down * (1 - point.findings / highest),
        )
        for point in points
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    label = 'font-family="sans-serif" font-size="11" fill="currentColor"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}">'
        f'<text x="{margin_left}" y="16" {label}>{escape(title)}</text>'
        f'<text x="{margin_left - 6}" y="{top + 4}" text-anchor="end" {label}>{highest}</text>'
        f'<text x="{margin_left - 6}" y="{top + down}" text-anchor="end" {label}>0</text>'
        f'<text x="{margin_left}" y="{height - 8}" {label}>{points[0].at:%Y-%m-%d}</text>'
        f'<text x="{width - margin_right}" y="{height - 8}" text-anchor="end" {label}>'
        f"{points[-1].at:%Y-%m-%d}</text>"
        f'<path d="M{margin_left},{top}V{top + down}H{width - margin_right}" '
        f'fill="none" stroke="#888"/>'
        f'<polyline points="{path}" fill="none" stroke="#2563eb" stroke-width="2"/></svg>\n'
    )

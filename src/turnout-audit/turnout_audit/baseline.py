"""The baseline: known findings do not fail an audit until they are gone; new ones do.

An entry is a rule, a path as seen from the baseline's folder, and the line's text without its
spaces, so that lines may move; a file may move as well, as long as it is no more at the old place.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from turnout_audit.errors import InvalidInput
from turnout_audit.model import AuditReport, Finding
from turnout_audit.results import UNCLASSIFIED

VERSION = 1
MAX_FILE = 100_000_000
DIGEST = 16
CONFLICT = b"<<<<<<< "
IN_CONFLICT = (
    "in the midst of a merge: take the file of either side (git checkout --ours or --theirs), "
    "then --update-baseline"
)
K = TypeVar("K", bound=Hashable)
Key = tuple[str, str, str]
"""Rule, path, digest of the line."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """Known findings of one rule set, counted; paths are as seen from the baseline's folder.

    The file holds path → rule → digest of the line → how often.
    """

    ruleset: str
    entries: Counter[Key]
    folder: str = "."


def fingerprint(finding: Finding) -> str:
    """Name a finding by its rule, its path and its line's text."""
    raw = finding.path.encode("utf-8", "surrogateescape")
    parts = (finding.rule.encode(), raw, _digest(finding).encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def updated(report: AuditReport, before: Baseline) -> Baseline:
    """Record all findings of a report as known; keep the entries of other files."""
    coverage = _Coverage(report, before.folder)
    current = Counter(map(coverage.key, (*report.findings, *report.unclassified, *report.accepted)))
    return replace(
        before, ruleset=report.ruleset, entries=current | coverage.unseen(before.entries)
    )


def compared(report: AuditReport, baseline: Baseline) -> AuditReport:
    """Separate known findings from new ones, and count known ones that are gone.

    Raises InvalidInput where the baseline is of another rule set.
    """
    if baseline.ruleset != report.ruleset:
        raise InvalidInput(
            f"the baseline is of the rule set {baseline.ruleset!r}, not {report.ruleset!r}"
        )
    coverage = _Coverage(report, baseline.folder)
    remaining = Counter(baseline.entries)
    unmatched, accepted = _split((*report.findings, *report.unclassified), remaining, coverage.key)
    unseen = coverage.unseen(remaining)
    resolved = remaining - unseen
    unmatched, moved = _split(unmatched, _placeless(resolved), _text_of)
    new, renamed = _split(unmatched, _placeless(coverage.missing(unseen)), _text_of)
    return replace(
        report,
        findings=tuple(finding for finding in new if finding.rule != UNCLASSIFIED),
        unclassified=tuple(finding for finding in new if finding.rule == UNCLASSIFIED),
        accepted=(*accepted, *moved, *renamed),
        resolved=resolved.total() - len(moved),
    )


def shrunk(report: AuditReport, baseline: Baseline) -> Baseline:
    """Return the baseline without what is gone; `report` is a compared one."""
    coverage = _Coverage(report, baseline.folder)
    accepted = Counter(map(coverage.key, report.accepted))
    unseen = coverage.unseen(baseline.entries)
    resolved = baseline.entries - unseen - accepted
    renamed = _placeless(accepted - baseline.entries) - _placeless(resolved)
    for key, count in sorted(coverage.missing(unseen - accepted).items()):
        text = (key[0], key[2])
        used = min(count, renamed[text])
        renamed[text] -= used
        unseen[key] -= used
    return replace(baseline, entries=accepted | +unseen)


class _Coverage:
    """Which files an audit covered, by paths relative to the baseline's folder."""

    def __init__(self, report: AuditReport, folder: str) -> None:
        self.folder = os.path.realpath(folder)
        self.in_folder = self.folder == os.path.realpath(".")
        self.examined = {self.name(path) for path in report.audited}
        self.examined -= {self.name(problem.path) for problem in report.problems}
        self.codes = report.codes
        self.roots = [self.name(path) for path in report.roots]

    def name(self, path: str) -> str:
        if self.in_folder and not path.startswith(("/", ".")):
            return path
        return os.path.relpath(path, self.folder).replace(os.sep, "/")

    def key(self, finding: Finding) -> Key:
        return finding.rule, self.name(finding.path), _digest(finding)

    def unseen(self, entries: Counter[Key]) -> Counter[Key]:
        """Keep the entries of files and of rules that this audit does not cover."""
        paths = {path: self._covers(path) for _, path, _ in entries}
        looked_at = {rule for rule, _, _ in entries if self.codes is None or rule in self.codes}
        return Counter(
            {
                key: count
                for key, count in entries.items()
                if not (paths[key[1]] and key[0] in looked_at)
            }
        )

    def _covers(self, path: str) -> bool:
        """Whether the audit covers a file: it was scanned, or is gone from a searched folder."""
        if path in self.examined:
            return True
        in_scope = any(root in (".", path) or path.startswith(f"{root}/") for root in self.roots)
        return in_scope and not self._is_there(path)

    def missing(self, entries: Counter[Key]) -> Counter[Key]:
        """Keep the entries of files that do not exist: such a file may have been renamed."""
        present = {path: self._is_there(path) for path in {path for _, path, _ in entries}}
        return Counter({key: count for key, count in entries.items() if not present[key[1]]})

    def _is_there(self, path: str) -> bool:
        return os.path.lexists(os.path.join(self.folder, path))  # noqa: PTH118 -- as text


def load(path: Path) -> Baseline:
    """Read a baseline; raises InvalidInput that names the file and the first fault."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise InvalidInput(f"{path}: larger than {MAX_FILE} bytes")
        raw = path.read_bytes()
        if raw.startswith(CONFLICT) or b"\n" + CONFLICT in raw:
            raise InvalidInput(f"{path}: {IN_CONFLICT}")
        return replace(parsed(json.loads(raw)), folder=str(path.parent))
    except FileNotFoundError as error:
        raise InvalidInput(f"no baseline {path}: make it with --update-baseline") from error
    except OSError as error:
        raise InvalidInput(f"{path}: not a baseline: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: not a baseline: {error}") from error


def save(path: Path, baseline: Baseline) -> None:
    """Write a baseline, sorted, one entry a line, so that merges are easy."""
    files: dict[str, dict[str, dict[str, int]]] = {}
    for (rule, name, text), count in sorted(baseline.entries.items()):
        files.setdefault(name, {}).setdefault(rule, {})[text] = count
    document = {"version": VERSION, "ruleset": baseline.ruleset, "files": files}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def parsed(raw: Any) -> Baseline:
    """Read a baseline's document; raises ValueError that names the first fault."""
    fault = _fault(raw)
    if fault:
        raise ValueError(fault)
    entries = Counter[Key]()
    for path, rules in raw["files"].items():
        for rule, texts in rules.items():
            for text, count in texts.items():
                entries[rule, path, text] = count
    return Baseline(raw["ruleset"], entries)


def _fault(raw: Any) -> str:
    """Name the first fault of a baseline's document; empty where there is none."""
    if not isinstance(raw, dict):
        return "it is no object"
    if raw.get("version") != VERSION:
        return f"version: should be {VERSION}"
    if not isinstance(raw.get("ruleset"), str):
        return "ruleset: should be a string"
    return _fault_of_table("files", raw.get("files"), depth=3)


def _fault_of_table(place: str, value: object, depth: int) -> str:
    if not depth:
        return "" if type(value) is int and value > 0 else f"{place}: should be a count from 1"
    if not isinstance(value, dict):
        return f"{place}: should be an object"
    faults = (_fault_of_table(f"{place}: {key}", inner, depth - 1) for key, inner in value.items())
    return next(filter(None, faults), "")


def is_digest(text: str) -> bool:
    """Say whether a text has the form of a line's digest."""
    return len(text) == DIGEST and set(text) <= set("0123456789abcdef")


def _split(
    findings: Iterable[Finding], remaining: Counter[K], key: Callable[[Finding], K]
) -> tuple[list[Finding], list[Finding]]:
    """Split findings into new ones and those of a count, which is reduced by them."""
    new, accepted = [], []
    for finding in findings:
        name = key(finding)
        if remaining[name] > 0:
            remaining[name] -= 1
            accepted.append(finding)
        else:
            new.append(finding)
    return new, accepted


def _placeless(entries: Counter[Key]) -> Counter[tuple[str, str]]:
    """Count entries by rule and text, without their paths."""
    counted = Counter[tuple[str, str]]()
    for (rule, _, text), count in entries.items():
        counted[rule, text] += count
    return counted


def _text_of(finding: Finding) -> tuple[str, str]:
    return finding.rule, _digest(finding)


def _digest(finding: Finding) -> str:
    return hashlib.sha256("".join(finding.text.split()).encode()).hexdigest()[:DIGEST]

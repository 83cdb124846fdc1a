"""Fixes: merged, previewed as a diff, written in one piece, repeated until nothing changes."""

import difflib
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from turnout_audit.model import Edit, FileProblem, Finding, Unfixed
from turnout_audit.scan import Scanner
from turnout_audit.source import decode, encoded

ROUNDS = 6
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
"""Only a line feed ends a line, as git has it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FixedText:
    """One text after its fixes."""

    text: str
    applied: int = 0
    unfixed: tuple[Unfixed, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class FileChange:
    """A file before and after its fixes."""

    path: str
    before: str
    after: str
    applied: int
    mark: str = ""
    """The byte-order mark of UTF-8 that stands before the text, as a character."""

    def diff(self) -> str:
        """Show the change as a unified diff, which `git apply` takes."""
        return "".join(_ended(line) for line in self._lines())

    def _lines(self) -> Iterable[str]:
        return difflib.unified_diff(
            _LINE.findall(self.mark + self.before),
            _LINE.findall(self.mark + self.after),
            fromfile=f"a/{self.path}",
            tofile=f"b/{self.path}",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Patch:
    """What fixing changes, and what it leaves alone."""

    changes: tuple[FileChange, ...]
    unfixed: tuple[Unfixed, ...]
    problems: tuple[FileProblem, ...]


def patched(text: str, edits: Iterable[Edit]) -> tuple[str, int]:
    """Apply edits; of those that overlap only the first, so that the next round sees the rest."""
    ordered = sorted(set(edits), key=lambda edit: (edit.start, edit.end, edit.replacement))
    newline = "\r\n" if "\r\n" in text else "\n"
    pieces, at, applied = [], 0, 0
    for edit in ordered:
        if edit.start < at or not 0 <= edit.start <= edit.end <= len(text):
            continue
        replacement = edit.replacement.replace("\r\n", "\n").replace("\n", newline)
        if text[edit.start : edit.end] == replacement:
            continue
        pieces += [text[at : edit.start], replacement]
        at, applied = edit.end, applied + 1
    return "".join([*pieces, text[at:]]), applied


def mended_text(
    scanner: Scanner, path: str, text: str, *, unsafe: bool, anywhere: bool = False
) -> FixedText:
    """Fix a text until nothing changes; a fix that never stops to change it is dropped."""
    from turnout_audit import fix

    first, applied = text, 0
    for _ in range(ROUNDS):
        findings = [f for f in scanner.scan(path, text, anywhere=anywhere).findings if f.path]
        fixes = fix.apply(scanner.ruleset, findings, {path: text}, unsafe=unsafe)
        edits = [edit for edit in fixes.edits if edit.path == path and (unsafe or edit.safe)]
        after, count = patched(text, edits)
        if after == text:
            return FixedText(text=text, applied=applied, unfixed=fixes.unfixed)
        text, applied = after, applied + count
    unfixed = tuple(
        Unfixed(finding=finding, reason="its fix does not come to rest")
        for finding in scanner.scan(path, first, anywhere=anywhere).findings
    )
    return FixedText(text=first, unfixed=unfixed)


def plan(scanner: Scanner, findings: Sequence[Finding], *, unsafe: bool) -> Patch:
    """Say what fixing the files of these findings would change; nothing is written."""
    changes: list[FileChange] = []
    unfixed: list[Unfixed] = []
    problems: list[FileProblem] = []
    for path in dict.fromkeys(finding.path for finding in findings):
        raw = Path(path).read_bytes()
        text, _ = decode(raw)
        if encoded(text, raw) != raw:
            reason = "not fixed: bytes that are no characters"
            problems.append(FileProblem(path=path, reason=reason))
            continue
        mended = mended_text(scanner, path, text, unsafe=unsafe)
        unfixed.extend(mended.unfixed)
        if mended.text != text:
            mark = "\ufeff" if raw.startswith(b"\xef\xbb\xbf") else ""
            change = FileChange(
                path=path, before=text, after=mended.text, applied=mended.applied, mark=mark
            )
            changes.append(change)
    return Patch(changes=tuple(changes), unfixed=tuple(unfixed), problems=tuple(problems))


def write(changes: Iterable[FileChange]) -> list[FileProblem]:
    """Write the changes, each file in one piece; a file that changed meanwhile is left alone."""
    return [problem for change in changes if (problem := _write(change))]


def _write(change: FileChange) -> FileProblem | None:
    path = Path(change.path)
    try:
        raw = path.read_bytes()
        if decode(raw)[0] != change.before:
            return FileProblem(path=change.path, reason="not fixed: the file changed meanwhile")
        _replace(path, encoded(change.after, raw))
    except OSError as error:
        return FileProblem(path=change.path, reason=f"not fixed: {error.strerror or error}")
    return None


def _replace(path: Path, content: bytes) -> None:
    target = path.resolve()
    mode = target.stat().st_mode
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).chmod(mode & 0o7777)
        Path(temporary).replace(target)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"

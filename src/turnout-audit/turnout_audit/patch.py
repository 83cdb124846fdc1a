"""Fixes: merged, previewed as a diff, written in one piece, repeated until nothing changes."""

import difflib
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from turnout_audit import git, processes, reading
from turnout_audit.errors import WrongArguments
from turnout_audit.model import Edit, FileProblem, Finding, Unfixed
from turnout_audit.scan import Scanner
from turnout_audit.source import decode, encoded, encoding_of

ROUNDS = 6
_ODD = re.compile(r"""[\x00-\x1f\x7f"\\\ud800-\udfff]""")
"""Letters of a name that are not written as they are: git ends a name at them."""
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
    encoding: str = "utf-8"

    def diff(self) -> str:
        """Show the change as a unified diff, which `git apply` takes in the current folder.

        A file elsewhere is named as in its own repository, in whose top folder the patch applies.
        """
        name = _name_in_patch(self.path)
        lines = difflib.unified_diff(
            _LINE.findall(self.mark + self.before),
            _LINE.findall(self.mark + self.after),
            fromfile=_header(f"a/{name}"),
            tofile=_header(f"b/{name}"),
        )
        return "".join(map(_ended, lines))


@dataclass(frozen=True, kw_only=True, slots=True)
class Patch:
    """What fixing changes, and what it leaves alone."""

    changes: tuple[FileChange, ...] = ()
    unfixed: tuple[Unfixed, ...] = ()
    problems: tuple[FileProblem, ...] = ()


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
    patches = list(
        processes.do_each(
            list(dict.fromkeys(finding.path for finding in findings)),
            lambda path: _plan_file(scanner, path, unsafe=unsafe),
            limit=lambda path: (ROUNDS + 1) * reading.seconds_of(reading.size_of(path)),
            failed=_not_fixed,
        )
    )
    return Patch(
        changes=tuple(change for patch in patches for change in patch.changes),
        unfixed=tuple(unfixed for patch in patches for unfixed in patch.unfixed),
        problems=tuple(problem for patch in patches for problem in patch.problems),
    )


def _plan_file(scanner: Scanner, path: str, *, unsafe: bool) -> Patch:
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        return _not_fixed(path, error.strerror or str(error))
    text, _ = decode(raw)
    if encoded(text, raw) != raw:
        return _not_fixed(path, "it holds bytes that its encoding does not know")
    mended = mended_text(scanner, path, text, unsafe=unsafe)
    if mended.text == text:
        return Patch(unfixed=mended.unfixed)
    change = FileChange(
        path=path,
        before=text,
        after=mended.text,
        applied=mended.applied,
        mark="\ufeff" if raw.startswith(b"\xef\xbb\xbf") else "",
        encoding=encoding_of(raw)[1],
    )
    return Patch(changes=(change,), unfixed=mended.unfixed)


def _not_fixed(path: str, reason: str) -> Patch:
    return Patch(problems=(FileProblem(path=path, reason=f"not fixed: {reason}"),))


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


def _name_in_patch(path: str) -> str:
    whole, here = os.path.abspath(path), os.getcwd()  # noqa: PTH100, PTH109 -- links stay as named
    if whole.startswith(f"{here}/"):
        return whole[len(here) + 1 :]
    folder, _, name = whole.rpartition("/")
    try:
        return os.fsdecode(git.output(folder, "rev-parse", "--show-prefix")).rstrip("\n") + name
    except WrongArguments:
        return whole.lstrip("/")


def _header(name: str) -> str:
    """Write a name as git reads it: odd letters in C's form, a tab behind one with blanks."""
    if _ODD.search(name):
        return f'"{_ODD.sub(_in_c, name)}"'
    return f"{name}\t" if " " in name else name


def _in_c(letter: "re.Match[str]") -> str:
    if letter[0] in '"\\':
        return f"\\{letter[0]}"
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(letter[0]))


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"

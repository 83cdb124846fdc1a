"""Fixes of a word where it stands."""

import json
import re
from dataclasses import replace as changed
from functools import lru_cache
from pathlib import Path

from turnout_audit.fix.case import Case, FixResult, covering, understood, upwards
from turnout_audit.model import Edit

_IMPORTING = re.compile(
    r"(?:\b(?:from|import)\s*|\b(?:import|require|require\.resolve|(?:jest|vi|vitest|td)\.\w+)"
    r"\s*(?:<[^()]*>)?\(\s*)$"
)
"""What stands before a module's name that is brought in, or mocked."""
_NEAR = 80
_TABLES = ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies")


def replace(case: Case) -> FixResult:
    """Put `to` in place of what was matched; `{name}` stands for what the match captured."""
    try:
        new = (case.fix.to or "").format_map(case.finding.captured)
    except (KeyError, IndexError, ValueError) as error:
        return f"the match did not capture {error}"
    if new == case.finding.matched:
        return "already as it shall be"
    return [case.edit(case.finding.start, case.finding.end, new)]


def module(case: Case) -> FixResult:
    """Rename a module where it stands quoted, by `table`; what imports nothing needs a look.

    With `options.package` and `options.since`, only where the nearest manifest that lists the
    package asks for that version or a later one; without such a manifest it needs a look.
    """
    version = _installed(case)
    if version is not None and version < int(case.option("since")):
        return f"{case.option('package')} is still at {version} here: raise it first"
    for old, new in case.fix.table.items():
        for quote in "'\"`":
            at = case.text.find(quote + old + quote, case.finding.start, _end(case))
            if at >= 0:
                start = at + 1
                return [_looked_at(case, case.edit(start, start + len(old), new))]
        if case.finding.matched == old:
            return [_looked_at(case, case.edit(case.finding.start, case.finding.end, new))]
    return "the module's name is not written out here"


def _end(case: Case) -> int:
    """Read to the end of the statement's last line: a match may end before the module's name."""
    line_end = case.text.find("\n", case.finding.end)
    return len(case.text) if line_end < 0 else line_end


def _looked_at(case: Case, edit: Edit) -> Edit:
    unknown = case.option("package") is not None and _installed(case) is None
    return changed(edit, safe=edit.safe and not unknown and _is_imported(case, edit.start))


def _installed(case: Case) -> int | None:
    """Return the major version that the nearest manifest asks for; None where none says it."""
    package = case.option("package")
    folder = Path(case.finding.path).absolute().parent
    return _major(folder, package) if isinstance(package, str) else None


@lru_cache(4096)
def _major(folder: Path, package: str) -> int | None:
    for place in (folder, *folder.parents):
        try:
            manifest = json.loads((place / "package.json").read_bytes())
        except (OSError, ValueError, RecursionError):
            continue
        tables = [manifest.get(name) for name in _TABLES] if isinstance(manifest, dict) else []
        versions = [
            str(table[package]) for table in tables if isinstance(table, dict) and package in table
        ]
        number = re.search(r"\d+", versions[0]) if versions else None
        if versions:
            return int(number[0]) if number else None
    return None


def _is_imported(case: Case, start: int) -> bool:
    """Whether the quoted text that starts here names a module that is brought in or mocked."""
    if case.finding.language == "python":
        return True  # there a module is no string
    before = case.text[max(0, start - 1 - _NEAR) : start - 1]
    if case.finding.language in ("json", "yaml", "toml") or _IMPORTING.search(before) is None:
        return False
    root = case.tree()
    if not understood(root):
        return True  # a fence: its words must do
    node = covering(root, start, start + 1)
    return upwards(node, "template_string") is None

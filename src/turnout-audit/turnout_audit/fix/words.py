"""Fixes of a word where it stands."""

import re
from dataclasses import replace as changed

from turnout_audit.fix.case import Case, FixResult, covering, understood, upwards
from turnout_audit.model import Edit

_IMPORTING = re.compile(
    r"(?:\b(?:from|import)\s*|\b(?:import|require|require\.resolve|(?:jest|vi|vitest|td)\.\w+)"
    r"\s*(?:<[^()]*>)?\(\s*)$"
)
"""What stands before a module's name that is brought in, or mocked."""
_NEAR = 80


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
    """Rename a module where it stands quoted, by `table`; what imports nothing needs a look."""
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
    return changed(edit, safe=edit.safe and _is_imported(case, edit.start))


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

"""Fixes of findings: `apply` gives the edits.

A fixer is told by name in a rule's `fix.kind`; the rest of the `fix` table is its own. It either
understood the whole construct, or leaves it alone and says why. Edits of two findings that meet
are not mixed: the later finding waits for the next round, on the new text and its findings. On
its own result a fixer proposes nothing.
"""

from collections.abc import Callable, Mapping, Sequence

from turnout_audit.fix.calls import declare, insert_option, move_argument, rewrite_call
from turnout_audit.fix.case import Case, FixResult, Unclear
from turnout_audit.fix.documents import banner, glossary, mark, prose
from turnout_audit.fix.functions import params
from turnout_audit.fix.options import preset, rename, value
from turnout_audit.fix.results import destructured
from turnout_audit.fix.words import module, replace
from turnout_audit.model import Edit, Finding, Fixes, Unfixed
from turnout_audit.ruleset import Ruleset

Fixer = Callable[[Case], FixResult]

FIXERS: Mapping[str, Fixer] = {
    "banner": banner,
    "call": rewrite_call,
    "declare": declare,
    "destructured": destructured,
    "glossary": glossary,
    "insert-option": insert_option,
    "mark": mark,
    "module": module,
    "move-argument": move_argument,
    "params": params,
    "preset": preset,
    "prose": prose,
    "rename": rename,
    "replace": replace,
    "value": value,
}
"""Every fixer by the name that rules use."""

NEEDS_A_LOOK = "the fix needs a look afterwards: ask for unsafe fixes"

__all__ = ["FIXERS", "NEEDS_A_LOOK", "apply"]


def apply(
    ruleset: Ruleset,
    findings: Sequence[Finding],
    texts: Mapping[str, str],
    *,
    unsafe: bool = False,
) -> Fixes:
    """Say how the findings would be mended; without `unsafe`, by the safe fixes only.

    `texts` holds the files by path. A finding whose rule has no fix is not mentioned.
    """
    results = [
        _of_file(
            ruleset, text, [result for result in findings if result.path == path], unsafe=unsafe
        )
        for path, text in texts.items()
    ]
    return Fixes(
        edits=tuple(edit for result in results for edit in result.edits),
        unfixed=tuple(unfixed for result in results for unfixed in result.unfixed),
    )


def _of_file(ruleset: Ruleset, text: str, findings: Sequence[Finding], *, unsafe: bool) -> Fixes:
    edits: list[Edit] = []
    unfixed: list[Unfixed] = []
    for finding in sorted(findings, key=lambda finding: (finding.start, finding.end, finding.rule)):
        fix = ruleset.rule(finding.rule).fix
        if fix is None:
            continue
        if not (fix.safe or unsafe):
            unfixed.append(Unfixed(finding=finding, reason=NEEDS_A_LOOK))
            continue
        case = Case(text=text, finding=finding, fix=fix)
        mended = _mended(case)
        if not (unsafe or isinstance(mended, str) or all(edit.safe for edit in mended)):
            mended = NEEDS_A_LOOK
        if isinstance(mended, str):
            unfixed.append(Unfixed(finding=finding, reason=mended))
        elif not _meets(mended, edits):
            edits.extend(edit for edit in mended if edit not in edits)
    return Fixes(edits=tuple(sorted(edits, key=_order)), unfixed=tuple(unfixed))


def _mended(case: Case) -> FixResult:
    fixer = FIXERS.get(case.fix.kind)
    if fixer is None:
        return f"there is no fixer {case.fix.kind!r}"
    try:
        return fixer(case)
    except Unclear as unclear:
        return str(unclear)


def _order(edit: Edit) -> tuple[int, int]:
    return edit.start, edit.end


def _meets(new: Sequence[Edit], old: Sequence[Edit]) -> bool:
    """Whether an edit would touch what another one changes; the very same edit twice is one."""
    return any(
        edit != earlier
        and ((edit.start < earlier.end and earlier.start < edit.end) or edit.start == earlier.start)
        for edit in new
        for earlier in old
    )

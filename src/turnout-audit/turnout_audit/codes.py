"""The codes of a rule set: the ids of its rules, and `unclassified`."""

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from turnout_audit.errors import WrongArguments
from turnout_audit.results import UNCLASSIFIED
from turnout_audit.ruleset import Rule, Ruleset


def chosen(
    ruleset: Ruleset, select: Sequence[str], ignore: Sequence[str], phase: int | None = None
) -> frozenset[str] | None:
    """Return the codes to report: those of `select`, or all, without those of `ignore`.

    Both hold globs, several in one by commas. None where nothing is chosen. Raises WrongArguments
    where one fits no code.
    """
    if not select and not ignore and phase is None:
        return None
    known = [rule.id for rule in ruleset.rules if rule.holds_in(phase)] + [UNCLASSIFIED]
    every = [rule.id for rule in ruleset.rules] + [UNCLASSIFIED]
    taken = _fitting(every, select) if select else set(every)
    return frozenset(taken - _fitting(every, ignore)) & frozenset(known)


def explained(ruleset: Ruleset, code: str) -> str:
    """Say what a rule is about; raises WrongArguments where there is none of this code."""
    if code == UNCLASSIFIED:
        return (
            f"{UNCLASSIFIED} (warn)\n\nThe vendor is mentioned, and no rule says what that means."
            f"\n\ndo: remove it, write a rule, take it into the baseline, or write beside it"
            f" `turnout-audit: allow {UNCLASSIFIED}`\n"
        )
    rule = next((rule for rule in ruleset.rules if rule.id == code), None)
    if rule is None:
        raise _unknown(code, [*(rule.id for rule in ruleset.rules), UNCLASSIFIED])
    return "\n".join([f"{rule.id} ({rule.level})", "", rule.why, "", *_facts(rule)]) + "\n"


def listed(ruleset: Ruleset) -> list[dict[str, Any]]:
    """List the rules by code, in the order of the rule set."""
    return [
        {
            "rule": rule.id,
            "level": rule.level,
            "scope": list(rule.scope),
            "fix": None if rule.fix is None else "safe" if rule.fix.safe else "unsafe",
            "phases": list(rule.phases),
            "except_phases": list(rule.except_phases),
            "why": rule.why,
        }
        for rule in ruleset.rules
    ]


def _facts(rule: Rule) -> list[str]:
    fix = "none" if rule.fix is None else "safe" if rule.fix.safe else "needs a look"
    facts = [f"do: {rule.advice}"] if rule.advice else []
    facts += [f"see: {rule.link}"] if rule.link else []
    facts += [f"reads: {', '.join(rule.scope)}", f"fix: {fix}"]
    if rule.phases:
        facts.append(f"only in the phases: {', '.join(map(str, rule.phases))}")
    if rule.except_phases:
        facts.append(f"not in the phases: {', '.join(map(str, rule.except_phases))}")
    for title, positive in (("found", True), ("not found", False)):
        example = next((e for e in rule.example if bool(e.expect) is positive), None)
        if example is not None:
            note = f" ({example.note})" if example.note else ""
            facts += ["", f"{title}, for example{note}:"]
            facts += [f"    {line}" for line in example.code.rstrip("\n").split("\n")]
    return facts


def _fitting(codes: Sequence[str], globs: Sequence[str]) -> set[str]:
    fitting: set[str] = set()
    for glob in [part.strip() for text in globs for part in text.split(",") if part.strip()]:
        fits = {code for code in codes if fnmatchcase(code, glob)}
        if not fits:
            raise _unknown(glob, codes)
        fitting |= fits
    return fitting


def _unknown(code: str, codes: Sequence[str]) -> WrongArguments:
    near = get_close_matches(code, codes, 3, 0.5) or list(codes)
    return WrongArguments(f"no rule {code!r}; near: {', '.join(near)}")

"""The codes of a rule set: the ids of its rules, and `unclassified`."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from turnout_audit.errors import WrongArguments
from turnout_audit.results import UNCLASSIFIED, unclassified
from turnout_audit.ruleset import Rule, Ruleset


def reported(
    ruleset: Ruleset, select: Sequence[str], ignore: Sequence[str], phase: int | None = None
) -> frozenset[str]:
    """Return the codes to report: those of `select`, or all, without those of `ignore`.

    Both hold globs, several in one by commas. Rules that do not hold in the phase are left out.
    Raises WrongArguments where a glob fits no code, no rule asks for the phase or one behind it, or
    nothing is left.
    """
    if phase is not None:
        _known(phase, ruleset)
    codes = _codes(ruleset)
    selected = _fitting(codes, select) if select else set(codes)
    selected -= _fitting(codes, ignore)
    selected -= {rule.id for rule in ruleset.rules if not rule.holds_in(phase)}
    if not selected:
        raise WrongArguments("no rule is left by --select, --ignore and --phase")
    return frozenset(selected)


def explained(ruleset: Ruleset, code: str) -> str:
    """Say what a rule is about; raises WrongArguments where there is none of this code."""
    if code == UNCLASSIFIED:
        mention = unclassified("", "", 0)
        return f"{code} ({mention.level})\n\n{mention.why}\n\ndo: {mention.fix}\n"
    rule = next((rule for rule in ruleset.rules if rule.id == code), None)
    if rule is None:
        raise _unknown(code, _codes(ruleset))
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


def _known(phase: int, ruleset: Ruleset) -> None:
    named = {n for rule in ruleset.rules for n in (*rule.phases, *rule.except_phases)}
    if not named:
        raise WrongArguments(f"--phase {phase}: the rule set {ruleset.ruleset} knows no phases")
    if phase > max(named):
        last = f"the last phase of the rule set {ruleset.ruleset} is {max(named)}"
        raise WrongArguments(f"--phase {phase}: {last}")


def _codes(ruleset: Ruleset) -> list[str]:
    return [*(rule.id for rule in ruleset.rules), UNCLASSIFIED]


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
    from difflib import get_close_matches  # few audits need it

    near = get_close_matches(code, codes, 3, 0.5)
    hint = f"near: {', '.join(near)}" if near else f"known: {', '.join(codes)}"
    return WrongArguments(f"no rule {code!r}; {hint}")

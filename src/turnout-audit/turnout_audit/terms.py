"""The team's own terms: what comes after the vendor, and how its concepts are called there."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from turnout_audit.errors import InvalidInput
from turnout_audit.ruleset import DemandMatch, Fix, Match, Rule, Ruleset

MAX_FILE = 1_000_000
CONCEPTS = "prose"
"""The fixer that replaces concepts by its table."""


def load(path: Path) -> dict[str, str]:
    """Read a table of terms: a TOML file with one table, `terms`, of old phrases and new ones.

    Raises InvalidInput that names the file and the fault.
    """
    if not path.is_file():
        raise InvalidInput(f"no such file of terms: {path}")
    if path.stat().st_size > MAX_FILE:
        raise InvalidInput(f"{path}: larger than {MAX_FILE} bytes")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidInput(f"{path}: not TOML: {error}") from error
    terms = raw.get("terms")
    if set(raw) != {"terms"} or not isinstance(terms, dict) or not terms:
        raise InvalidInput(f"{path}: should hold one table, [terms], of phrases")
    for old, new in terms.items():
        if not (isinstance(new, str) and old.strip() and new.strip()):
            raise InvalidInput(f"{path}: terms: {old!r}: should be a phrase, not {new!r}")
        if not (old.isprintable() and new.isprintable()):
            raise InvalidInput(f"{path}: terms: {old!r}: should be one line, and so its phrase")
    return terms


def starter(ruleset: Ruleset) -> str:
    """Write the rule set's own terms as a file that can be changed and loaded.

    Raises InvalidInput where it has none.
    """
    lines = [f"# What is said instead of the phrases of {ruleset.ruleset}: a start.", "[terms]"]
    for fix in _concept_fixes(ruleset):
        lines += [f"{_quoted(old)} = {_quoted(new)}" for old, new in fix.table.items()]
    return "\n".join(lines) + "\n"


def applied(
    ruleset: Ruleset, *, to: str | None = None, terms: Mapping[str, str] | None = None
) -> Ruleset:
    """Name the successor `to`, and take `terms` for the rule set's own.

    A team has said what it means: its terms need no look. The rule set's terms are true of its own
    successor only, so they go where another one is named and no terms are given. Raises
    InvalidInput where the rule set names no successor, or has no terms, and where `to` is no name
    or the vendor's own.
    """
    if to is not None:
        _check_successor(to, ruleset)
    new = ruleset.successor if to is None else to
    if terms is not None:
        _concept_fixes(ruleset)
    elif new != ruleset.successor:
        terms = {}
    else:
        return ruleset
    rules = tuple(_rule(rule, ruleset.successor, new, terms) for rule in ruleset.rules)
    return replace(ruleset, rules=rules, successor=new)


def _check_successor(name: str, ruleset: Ruleset) -> None:
    if not (name and name.isprintable() and name == name.strip()):
        raise InvalidInput(f"--to {name!r}: should be a name, in one line")
    if name.lower() in map(str.lower, ruleset.markers):
        raise InvalidInput(f"--to {name}: is the vendor's own name, and comes not after it")
    if not ruleset.successor:
        raise InvalidInput(f"the rule set {ruleset.ruleset} names no successor to replace")


def _concept_fixes(ruleset: Ruleset) -> list[Fix]:
    """List the fixes that replace phrases; raises InvalidInput where there are none."""
    fixes = [rule.fix for rule in ruleset.rules if rule.fix and rule.fix.kind == CONCEPTS]
    if not fixes:
        raise InvalidInput(f"the rule set {ruleset.ruleset} has no terms to replace")
    return fixes


def _rule(rule: Rule, old: str, new: str, terms: Mapping[str, str] | None) -> Rule:
    return replace(
        rule,
        fix=rule.fix and _fix(rule.fix, old, new, terms),
        match=tuple(_match(match, old, new) for match in rule.match),
    )


def _fix(fix: Fix, old: str, new: str, terms: Mapping[str, str] | None) -> Fix:
    options = {
        key: value.replace(old, new) if isinstance(value, str) else value
        for key, value in fix.options.items()
    }
    if terms is not None and fix.kind == CONCEPTS:
        options.pop("look", None)
        fix = replace(fix, table=terms)
    return replace(fix, to=fix.to and fix.to.replace(old, new), options=options)


def _match(match: Match, old: str, new: str) -> Match:
    if not isinstance(match, DemandMatch):
        return match
    demand = tuple(word.replace(re.escape(old), re.escape(new)) for word in match.demand)
    return replace(match, demand=demand)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)

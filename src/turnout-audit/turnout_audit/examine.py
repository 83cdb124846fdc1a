"""Examines a rule set beyond its format: expressions, words, fixers."""

from collections.abc import Iterable

import re2

from turnout_audit.fix import FIXERS
from turnout_audit.ruleset import (
    CallMatch,
    ConfigKeyMatch,
    DemandMatch,
    Match,
    ProseMatch,
    Rule,
    Ruleset,
    TextMatch,
)
from turnout_audit.words import needs


def faults(ruleset: Ruleset) -> list[str]:
    """Name faults beyond the format: expressions, matches without words, unknown fixers."""
    fixers = ", ".join(sorted(FIXERS))
    return [
        f"rule {rule.id!r}: fix.kind: there is no fixer {rule.fix.kind!r}; known: {fixers}"
        for rule in ruleset.rules
        if rule.fix and rule.fix.kind not in FIXERS
    ] + [
        f"rule {rule.id!r}: match {number}: {fault}"
        for rule in ruleset.rules
        for number, match in enumerate(rule.match, start=1)
        for fault in _of_match(rule, match)
    ]


def _of_match(rule: Rule, match: Match) -> Iterable[str]:
    for name, expression in _expressions(match):
        fault = _of_expression(expression)
        if fault:
            yield f"{name}: {fault}"
    if needs(match) is None:
        yield "no word of two letters or more can be derived from it: give `words`"
    if isinstance(match, DemandMatch) and not rule.files:
        yield "a demand needs `files`: it says what they must hold"
    if isinstance(match, ProseMatch) and "docs" not in rule.scope:
        yield "prose is found in the scope docs only"


def _expressions(match: Match) -> Iterable[tuple[str, str]]:
    if isinstance(match, TextMatch):
        yield from (("text", expression) for expression in match.text)
    if isinstance(match, ProseMatch):
        yield from (("prose", expression) for expression in match.prose)
    if isinstance(match, CallMatch | ConfigKeyMatch) and match.value is not None:
        yield "value", match.value
    if isinstance(match, DemandMatch):
        yield from (("demand", expression) for expression in match.demand)
    if isinstance(match, ProseMatch) and match.marked is not None:
        yield "marked", match.marked
    if match.unless is not None:
        yield "unless", match.unless


def _of_expression(expression: str) -> str:
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(expression, options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        return f"not a regular expression (RE2 syntax): {text}"
    return ""

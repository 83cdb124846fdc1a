"""Tests rules by their examples: what a rule must find, and what it must not."""

from collections.abc import Iterator
from dataclasses import replace

from turnout_audit.model import Finding
from turnout_audit.patch import mended_text
from turnout_audit.ruleset import Example, Rule, Ruleset
from turnout_audit.scan import Scanner

FEWEST = 3
_NAMES = {
    "python": "example.py",
    "typescript": "example.ts",
    "tsx": "example.tsx",
    "javascript": "example.js",
    "shell": "example.sh",
    "json": "example.json",
    "yaml": "example.yaml",
    "toml": "example.toml",
    "env": ".env",
    "dockerfile": "Dockerfile",
    "ini": "example.ini",
    "lock": "yarn.lock",
    "markdown": "example.md",
    "text": "example.txt",
}


def faults(ruleset: Ruleset) -> list[str]:
    """Name every example that a rule fails, and every rule with too few of them."""
    return [
        f"rule {rule.id!r}: {fault}" for rule in ruleset.rules for fault in _rule(ruleset, rule)
    ]


def found_by(ruleset: Ruleset, rule: Rule, example: Example) -> list[Finding]:
    """Return what the rule alone finds in the example."""
    single = _scanner_of(ruleset, rule)
    path = path_of(example)
    scan = single.scan(path, example.code, anywhere=example.path is None)
    return list(scan.findings)


def path_of(example: Example) -> str:
    """Name the example's file."""
    return example.path or _NAMES[example.language or "text"]


def _scanner_of(ruleset: Ruleset, rule: Rule) -> Scanner:
    """Make a scanner of one rule, in a phase in which it holds."""
    phase = rule.phases[0] if rule.phases else None
    return Scanner(replace(ruleset, rules=(rule,)), phase=phase)


def _rule(ruleset: Ruleset, rule: Rule) -> Iterator[str]:
    positive = sum(bool(example.expect) for example in rule.example)
    negative = len(rule.example) - positive
    if positive < FEWEST or negative < FEWEST:
        yield f"has {positive} examples found and {negative} not; {FEWEST} of each are the least"
    for number, example in enumerate(rule.example, start=1):
        lines = sorted({finding.line for finding in found_by(ruleset, rule, example)})
        if lines != sorted(example.expect):
            yield f"example {number}: found lines {lines}, expected {sorted(example.expect)}"
        elif example.fixed is not None:
            yield from _fixed(ruleset, rule, example, number)


def _fixed(ruleset: Ruleset, rule: Rule, example: Example, number: int) -> Iterator[str]:
    single = _scanner_of(ruleset, rule)
    anywhere = example.path is None
    fixed = mended_text(single, path_of(example), example.code, unsafe=True, anywhere=anywhere)
    if fixed.text != example.fixed:
        yield f"example {number}: fixed to {fixed.text!r}, expected {example.fixed!r}"
    refixed = mended_text(single, path_of(example), fixed.text, unsafe=True, anywhere=anywhere)
    if refixed.text != fixed.text:
        yield f"example {number}: a second fix changes it again"

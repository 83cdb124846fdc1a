"""Every rule's examples, which are its tests."""

import re
from dataclasses import replace
from functools import cache

import pytest
from turnout_audit.examples import faults
from turnout_audit.fix import FIXERS
from turnout_audit.load import load as read
from turnout_audit.load import names
from turnout_audit.ruleset import Ruleset


@cache
def load(ruleset: str) -> Ruleset:
    """Load a rule set, once."""
    return read(ruleset)


RULES = [(ruleset, rule.id) for ruleset in names() for rule in load(ruleset).rules]
FACTS = 29


def test_the_rule_sets_ship() -> None:
    """Both vendors' decommissioning and both upgrades come with the package."""
    assert {"inngest", "triggerdev", "triggerdev-v4", "inngest-v4"} <= set(names())


@pytest.mark.parametrize(("ruleset", "rule"), RULES)
def test_a_rule_finds_its_examples_and_no_trap(ruleset: str, rule: str) -> None:
    """At least three examples found and three not, at the lines they say; fixes as they say."""
    whole = load(ruleset)
    alone = replace(whole, rules=(whole.rule(rule),))
    assert faults(alone) == []


@pytest.mark.parametrize(("ruleset", "rule"), RULES)
def test_a_rule_says_what_to_do(ruleset: str, rule: str) -> None:
    """Why, an advice, and a fixer that exists; ids carry the rule set's name."""
    found = load(ruleset).rule(rule)
    assert found.id.startswith(f"{ruleset}.")
    assert found.why.endswith(".")
    assert found.advice.endswith(".")
    assert found.fix is None or found.fix.kind in FIXERS
    assert all(example.note for example in found.example if not example.expect)


def test_every_known_change_of_version_four_has_a_rule() -> None:
    """The changes from v3 to v4, and in 4.x, as counted in the vendor's documentation."""
    parts = {
        "triggerdev-v4.mixed-packages",
        "triggerdev-v4.cli-version",
        "triggerdev-v4.hook-parameter",
        "triggerdev-v4.schedule-create-window",
    }
    whole = {rule.id for rule in load("triggerdev-v4").rules} - parts
    assert len(whole) == FACTS


def test_only_the_harmless_is_safe() -> None:
    """Safe fixes touch import paths and documents; code is changed by unsafe fixes only."""
    for ruleset in names():
        for rule in load(ruleset).rules:
            if rule.fix is not None and rule.fix.safe:
                assert rule.fix.kind in {"module", "prose", "banner", "glossary"}, rule.id


def test_links_are_addresses() -> None:
    """A link leads to a page, or is not there."""
    links = [rule.link for ruleset in names() for rule in load(ruleset).rules if rule.link]
    assert all(re.fullmatch(r"https://[\w./#-]+", link) for link in links)

"""The audit's rules on a labelled corpus, and the page that tells how exact they are."""

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
RULESETS = ("inngest", "triggerdev", "triggerdev-v4", "inngest-v4", "restate")
LEAST = 0.99


@cache
def accuracy() -> ModuleType:
    """Load the script that measures."""
    path = ROOT / "scripts" / "audit_accuracy.py"
    spec = importlib.util.spec_from_file_location("audit_accuracy", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["audit_accuracy"] = module
    spec.loader.exec_module(module)
    return module


@cache
def measured(ruleset: str) -> Any:
    """Measure a rule set, once."""
    return accuracy().measured(ruleset)


@pytest.mark.parametrize("ruleset", RULESETS)
def test_what_is_found_is_a_trace(ruleset: str) -> None:
    """Of what a rule set finds in the corpus, at least 99 % is labelled as a trace."""
    result = measured(ruleset)
    assert result.precision >= LEAST, sorted(result.findings - result.expected)


@pytest.mark.parametrize("ruleset", RULESETS)
def test_a_trace_is_found(ruleset: str) -> None:
    """Of the labelled traces, a rule set finds at least 99 %."""
    result = measured(ruleset)
    assert result.recall >= LEAST, sorted(result.expected - result.findings)


@pytest.mark.parametrize("ruleset", RULESETS)
def test_every_file_of_the_corpus_can_be_told(ruleset: str) -> None:
    """No file of the corpus is one that the audit could not read."""
    assert measured(ruleset).problems == ()


@pytest.mark.parametrize("ruleset", RULESETS)
def test_labels_stand_where_they_say(ruleset: str) -> None:
    """A label holds the text of its line, so that an edited file cannot keep stale labels."""
    tree = accuracy().CORPUS / ruleset
    for place in accuracy().labels(ruleset):
        line = (tree / place["path"]).read_text(encoding="utf-8").split("\n")[place["line"] - 1]
        assert line.strip()[:100] == place["text"], place


@pytest.mark.parametrize("ruleset", RULESETS)
def test_labels_name_rules_that_exist(ruleset: str) -> None:
    """A label cannot hide a trace behind a rule's name that is gone."""
    from turnout_audit.load import load

    known = {rule.id for rule in load(ruleset).rules}
    named = {rule for place in accuracy().labels(ruleset) for rule in place["rules"]}
    assert named <= known


@pytest.mark.parametrize("ruleset", RULESETS)
def test_every_rule_has_a_trace_in_the_corpus(ruleset: str) -> None:
    """A rule that is never met would be measured by nothing; some kinds have their examples."""
    from turnout_audit.load import load

    by_example = {"document", "glossary"}
    known = {rule.id for rule in load(ruleset).rules if rule.holds_in(None)}
    met = {rule for place in accuracy().labels(ruleset) for rule in place["rules"]}
    assert {rule for rule in known - met if rule.rpartition(".")[2] not in by_example} == set()


def test_the_corpus_is_large_and_speaks_four_languages() -> None:
    """At least 300 labelled places, of which a third are traps; documents in four languages."""
    places = [place for ruleset in RULESETS for place in accuracy().labels(ruleset)]
    assert len(places) >= 300
    assert sum(not place["rules"] for place in places) >= len(places) / 3
    spoken = {part for place in places for part in place["path"].split("/")}
    assert {"uk", "ko", "ja"} <= spoken


def test_the_page_tells_these_figures() -> None:
    """The published page is what the script writes from this corpus and these rules."""
    results = [measured(ruleset) for ruleset in RULESETS]
    written = accuracy().PAGE.read_text(encoding="utf-8")
    assert written == accuracy().page(results, accuracy().section_elsewhere()), (
        "run python scripts/audit_accuracy.py"
    )

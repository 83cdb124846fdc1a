"""A configuration that is not what its name says is named, if it holds a word."""

import pytest
from turnout_audit.load import load, parse
from turnout_audit.scan import Scanner

TEXT_ONLY = """
ruleset = "acme"
version = "1"
title = "Acme"
markers = ["acme"]
[[rule]]
id = "word"
why = "w"
level = "error"
scope = "config"
match = { text = "acme\\\\.io" }
"""


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        ("br.json", '{"inngest": ', "not JSON"),
        ("br.toml", "a = [inngest\n", "not TOML"),
        ("br.yml", "a: [inngest\n", "not YAML"),
    ],
)
def test_a_broken_file_with_a_word_is_named(path: str, text: str, reason: str) -> None:
    """Whichever rules would have read it."""
    scan = Scanner(load("inngest")).scan(path, text)
    assert [problem.reason for problem in scan.problems] == [reason]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("other.json", '{"orders": '),
        ("tsconfig.json", '{"inngestion": [1, 2,], /* inngest */ }\n'),
        ("chart/a.yaml", "{{- if .inngest }}\na: 1\n{{- end }}\n"),
        ("a.json5", "{inngest: 'a', b: +1}"),
        ("a.yaml", "# inngest\na: 1\n---\nb: !tag 2\n"),
        ("a.ts", "const inngest = [1,\n"),
    ],
)
def test_other_files_are_not(path: str, text: str) -> None:
    """No word, a comma too many, a form that is looser by name."""
    problems = Scanner(load("inngest")).scan(path, text).problems
    assert not [problem for problem in problems if problem.reason.startswith("not ")]


def test_rules_that_read_text_alone_ask_for_no_form() -> None:
    """Nothing is missed in a broken file if no rule reads keys."""
    scan = Scanner(parse(TEXT_ONLY, source="x")).scan("a.json", '{"acme.io": ')
    assert len(scan.findings) == 1
    assert not scan.problems

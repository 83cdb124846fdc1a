"""What the audit wrote is no trace: its baseline, its reports, here and in later runs."""

import json
from pathlib import Path

import pytest
from turnout_audit.cli.app import run
from turnout_audit.own_files import is_ours

RULES = """
ruleset = "acme"
version = "1"
title = "Acme"
markers = ["acme"]
[[rule]]
id = "word"
why = "w"
level = "error"
scope = ["code", "config", "docs"]
match = { text = "acme" }
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One trace, in a folder of its name, so that every report names it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.toml").write_text(RULES.replace('"acme"', '"ac\\u006de"'))
    (tmp_path / "tree/acme").mkdir(parents=True)
    (tmp_path / "tree/acme/a.ts").write_text("acme();\n")
    return tmp_path


def audit(*given: str) -> int:
    """Run the command in the tree; its exit code."""
    with pytest.raises(SystemExit) as raised:
        run(["rules.toml", *given])
    return int(raised.value.code or 0)


def test_the_baseline_is_no_finding_of_its_own(here: Path) -> None:
    """The documented ratchet passes on its next run, and for a later run without the option."""
    known = "tree/known.json"
    assert audit("tree", "--baseline", known, "--update-baseline") == 0
    assert audit("tree", "--baseline", known) == 0
    assert audit("tree", known, "--baseline", "./tree/../tree/known.json") == 0
    assert "acme/a.ts" in (here / known).read_text()
    (here / "tree/acme/a.ts").unlink()
    assert audit("tree") == 0


@pytest.mark.parametrize("form", ["json", "sarif", "text", "markdown"])
def test_a_report_in_the_tree_is_no_finding(
    here: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """However often it is written again."""
    given = ("tree", "--format", form, "--output", f"tree/report.{form}")
    assert audit(*given) == 1
    first = (here / f"tree/report.{form}").read_text()
    assert audit(*given) == 1
    again = (here / f"tree/report.{form}").read_text()
    assert again.count("acme/a.ts") == first.count("acme/a.ts")
    if form in ("json", "sarif"):
        capsys.readouterr()
        assert audit("tree", "--json") == 1
        told = json.loads(capsys.readouterr().out)
        assert {each["path"] for each in told["findings"]} == {"tree/acme/a.ts"}
        assert told["summary"]["own"] == 1


@pytest.mark.parametrize(
    "text",
    [
        '{"version": 1, "ruleset": "acme", "files": {"a": {"r": {"acme": 1}}}}',
        '{"version": 1, "ruleset": "acme", "files": {}, "acme": 1}',
        '{"ruleset": "acme", "version": 1}',
        '{"$schema": "", "version": "", "runs": [{"tool": {"driver": {"name": "acme"}}}], "a": 1}',
        '{"ruleset": ',
        "{" * 100_000 + '"ruleset"',
    ],
)
def test_what_is_only_like_a_file_of_ours_is_read(text: str) -> None:
    """The whole form must fit: a key more, or a digest that is none, and it is another file."""
    assert not is_ours("a.json", text)

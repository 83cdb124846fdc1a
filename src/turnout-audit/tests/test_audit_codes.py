"""The codes of rules: chosen, explained, listed, stable; rules of phases, and demands."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from turnout_audit.cli.app import run
from turnout_audit.errors import InvalidInput
from turnout_audit.load import load, names, parse
from turnout_audit.scan import Scanner

CODES = json.loads(Path(__file__).with_name("audit_codes.json").read_text(encoding="utf-8"))
"""The codes that were published: baselines and comments in repositories name them."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with three findings and an unclassified mention."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.ts").write_text('import { Inngest } from "inngest";\nconst kind = "inngest";\n')
    (tmp_path / "b.md").write_text("Inngest runs it.\n")
    return tmp_path


def ran(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Run the command: its exit code, its output, its errors."""
    with pytest.raises(SystemExit) as raised:
        run(arguments)
    printed = capsys.readouterr()
    return int(raised.value.code or 0), printed.out, printed.err


def codes(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> set[str]:
    """Return the codes that an audit reports."""
    report = json.loads(ran(["inngest", ".", "--json", *arguments], capsys)[1])
    unclassified = {"unclassified"} if report["unclassified"] else set()
    return {finding["rule"] for finding in report["findings"]} | unclassified


@pytest.mark.usefixtures("here")
def test_rules_are_selected_and_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    """By globs, by commas, several times; `unclassified` is a code like others."""
    every = {"inngest.import", "inngest.prose", "unclassified"}
    assert codes([], capsys) == every
    assert codes(["--select", "inngest.import"], capsys) == {"inngest.import"}
    assert codes(["--select", "inngest.*", "--ignore=*.prose"], capsys) == {"inngest.import"}
    assert codes(["--ignore", "unclassified,inngest.prose"], capsys) == {"inngest.import"}
    assert codes(["--select=inngest.prose", "--select=unclassified"], capsys) == every - {
        "inngest.import"
    }
    assert ran(["inngest", ".", "--select", "inngest.env"], capsys)[0] == 0


@pytest.mark.usefixtures("here")
def test_a_code_that_is_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """With those near it."""
    for option in ("--select", "--ignore", "--explain"):
        code, _, errors = ran(["inngest", ".", option, "inngest.improt"], capsys)
        assert code == 2
        assert "inngest.import" in errors


def test_only_what_is_selected_is_fixed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rest of the file stays."""
    (here / "b.md").write_text("The Inngest event bus.\n")
    ran(["inngest", ".", "--fix", "--ignore", "inngest.prose"], capsys)
    assert (here / "b.md").read_text() == "The Inngest event bus.\n"
    ran(["inngest", ".", "--fix", "--select", "inngest.prose"], capsys)
    assert (here / "b.md").read_text() == "The Trigger.dev task triggers.\n"


def test_a_baseline_loses_nothing_of_rules_that_were_not_looked_for(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with files that were not looked at."""
    known = ["inngest", ".", "--baseline", "known.json"]
    ran([*known, "--update-baseline"], capsys)
    before = (here / "known.json").read_text()
    assert ran([*known, "--select", "inngest.prose"], capsys)[0] == 0
    ran([*known, "--select", "inngest.prose", "--update-baseline"], capsys)
    assert ran([*known, "--phase", "0"], capsys)[0] == 1
    assert (here / "known.json").read_text() == before
    assert ran(known, capsys)[0] == 0


def test_a_baseline_keeps_what_holds_in_a_phase_only(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An audit without a phase does not look for it."""
    ran(["inngest", ".", "--phase", "0", "--baseline", "known.json", "--update-baseline"], capsys)
    ran(["inngest", ".", "--baseline", "known.json", "--update-baseline"], capsys)
    assert "inngest.unmarked" in (here / "known.json").read_text()
    assert ran(["inngest", ".", "--phase", "0", "--baseline", "known.json"], capsys)[0] == 0


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "words", [["--select", ""], ["--select=,"], ["--ignore=*"], ["--select", "inngest.unmarked"]]
)
def test_an_audit_that_looks_for_nothing_is_wrong_use(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """It would be clean whatever is there; the last rule holds in phases only."""
    code, _, errors = ran(["inngest", ".", *words], capsys)
    assert code == 2
    assert "no rule is left" in errors


def test_a_code_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """With its level, its advice, its fix and an example; without an audit."""
    code, out, _ = ran(["inngest", "--explain", "inngest.prose"], capsys)
    assert code == 0
    for part in ("inngest.prose (warn)", "do: Say Orchestrator", "fix: safe", "not in the phases"):
        assert part in out
    assert "allow unclassified" in ran(["inngest", "--explain", "unclassified"], capsys)[1]


def test_codes_are_listed_and_stable(capsys: pytest.CaptureFixture[str]) -> None:
    """A code that was published stays."""
    for name in names():
        listed = json.loads(ran(["rules", name, "--json"], capsys)[1])["rules"]
        assert set(CODES[name]) <= {rule["rule"] for rule in listed}
        assert ran(["rules", name], capsys)[1].count("\n") == len(listed)


def found(path: str, text: str, phase: int | None) -> set[str]:
    """Return the codes that are found in a phase."""
    scan = Scanner(load("inngest"), phase=phase).scan(path, text)
    assert not scan.unclassified
    return {finding.rule.partition(".")[2] for finding in scan.findings}


@pytest.mark.parametrize(
    ("phase", "plain", "marked"),
    [(0, {"unmarked"}, set()), (3, {"unmarked"}, set()), (4, {"prose"}, {"prose", "mark"})],
)
def test_the_mark_is_wanted_first_and_forbidden_at_last(
    phase: int, plain: set[str], marked: set[str]
) -> None:
    """Where a phase is named; else every mention is a trace, as always."""
    assert found("a.md", "Inngest runs it.\n", phase) == plain
    assert found("a.md", "Inngest (migrating to Acme) runs it.\n", phase) == marked
    assert found("a.md", "Inngest (мігрується на Acme) чекає.\n", phase) == marked
    assert found("a.md", "Inngest (migrating to Acme) runs it.\n", None) == {"prose"}


def test_a_file_without_a_word_of_the_vendor_can_lack_something(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is opened for what it should hold; a rule set that demands of no files is refused."""
    (here / "GLOSSARY.md").write_text("# Glossary\n\n- **Run**: one execution.\n")
    assert codes(["--phase", "1", "--select", "*.term"], capsys) == {"inngest.term"}
    (here / "GLOSSARY.md").write_text("- **Orchestrator**: what Trigger.dev is.\n")
    assert codes(["--phase", "1", "--select", "*.term"], capsys) == set()
    text = (
        'ruleset = "a"\nversion = "1"\ntitle = "A"\nmarkers = ["acme"]\n[[rule]]\nid = "r"\n'
        'why = "w"\nlevel = "warn"\nscope = "docs"\nmatch = { demand = "x" }\n'
    )
    with pytest.raises(InvalidInput, match="files"):
        parse(text, source="x")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("ruleset", "phase", "fault"),
    [("restate", "0", "restate knows no phases"), ("inngest", "5", "the last phase of")],
)
def test_a_phase_that_no_rule_knows_is_wrong_use(
    ruleset: str, phase: str, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or nothing would be asked for, in silence."""
    code, _, errors = ran([ruleset, ".", "--phase", phase], capsys)
    assert code == 2
    assert f"--phase {phase}: " in errors
    assert fault in errors

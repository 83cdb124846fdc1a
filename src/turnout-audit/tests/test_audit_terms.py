"""The successor's name and the team's terms, in what fixes write."""

from pathlib import Path

import pytest
from turnout_audit import terms
from turnout_audit.cli.app import run
from turnout_audit.errors import InvalidInput
from turnout_audit.load import load
from turnout_audit.patch import mended_text
from turnout_audit.scan import Scanner

BUS = "The Inngest event bus carries it.\n"


def mended(
    text: str, *, to: str | None = None, table: dict[str, str] | None = None, path: str = "a.md"
) -> str:
    """Fix a document safely."""
    scanner = Scanner(terms.applied(load("inngest"), to=to, terms=table))
    return mended_text(scanner, path, text, unsafe=False).text


def test_a_team_names_its_own_terms() -> None:
    """They replace those of the rule set, and nothing else is replaced."""
    assert (
        mended(BUS, table={"Inngest event bus": "message bus"}) == "The message bus carries it.\n"
    )
    assert mended(BUS, table={"Inngest Cloud": "cluster"}) == BUS


def test_the_vendors_products_need_a_look() -> None:
    """A sentence about its cloud is seldom true of another one; a team says what it means."""
    text = "Runs are kept in Inngest Cloud.\n"
    assert mended(text) == text
    assert mended(text, table={"Inngest Cloud": "our cluster"}) == "Runs are kept in our cluster.\n"


def test_another_successor_brings_no_foreign_terms() -> None:
    """What is true of one successor is not said of another; marks and banners name the new one."""
    assert mended(BUS, to="Acme") == BUS
    assert mended(BUS, to="Trigger.dev") != BUS
    entry = "# Glossary\n\n- **Inngest**: runs tasks.\n"
    assert "(DEPRECATED → Acme)" in mended(entry, to="Acme", path="GLOSSARY.md")
    assert "from Inngest to Acme" in mended("# T\n\nInngest.\n", to="Acme", path="A_INNGEST.md")


def test_demands_ask_for_the_successor_that_is_named() -> None:
    """A glossary has to define it."""
    text = "# Glossary\n\n- **Orchestrator**: Acme+ (beta).\n"
    rules = terms.applied(load("inngest"), to="Acme+ (beta)")
    assert not Scanner(rules, phase=0).scan("GLOSSARY.md", text).findings
    assert Scanner(load("inngest"), phase=0).scan("GLOSSARY.md", text).findings


def test_the_starter_is_a_file_of_terms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `terms` prints can be given back, and changes nothing."""
    with pytest.raises(SystemExit):
        run(["terms", "inngest"])
    path = tmp_path / "terms.toml"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    fix = load("inngest").rule("inngest.prose").fix
    assert fix is not None
    assert terms.load(path) == fix.table


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[terms]\n",
        "[terms]\na = 1\n",
        "[terms]\na = ' '\n",
        "a = 'b'\n",
        "[",
        "\udcff",
        "[terms]\na = 'b'\n'c' = \"d\\ne\"\n",
    ],
)
def test_faults_of_a_file_of_terms_are_named(tmp_path: Path, text: str) -> None:
    """With the file."""
    path = tmp_path / "terms.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InvalidInput, match="terms"):
        terms.load(path)
    with pytest.raises(InvalidInput, match="missing"):
        terms.load(tmp_path / "missing.toml")


def test_a_rule_set_without_a_successor_takes_no_name() -> None:
    """There is nothing that it could replace."""
    with pytest.raises(InvalidInput, match="no successor"):
        terms.applied(load("restate"), to="Acme")


def test_a_rule_set_without_terms_takes_none() -> None:
    """They would replace nothing; nor is there a start of them."""
    with pytest.raises(InvalidInput, match="no terms"):
        terms.applied(load("restate"), terms={"a": "b"})
    with pytest.raises(InvalidInput, match="no terms"):
        terms.starter(load("restate"))


@pytest.mark.parametrize("name", ["", "A\nB", " Acme", "\t", "Inngest", "inngest"])
def test_a_successor_is_a_name_of_its_own(name: str) -> None:
    """It is written into sentences and rows."""
    with pytest.raises(InvalidInput, match="--to"):
        terms.applied(load("inngest"), to=name)

"""The ratchet from anywhere: what was not looked at, or not told, stays known."""

import json
import subprocess
from pathlib import Path

import pytest
from turnout_audit.cli.app import run

RULES = """
ruleset = "acme"
version = "1"
title = "Acme"
markers = ["acme"]
[[rule]]
id = "import"
why = "w"
level = "error"
scope = "code"
match = { import = "acme" }
"""
IMPORT = 'import "acme";\n'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two known findings, in two folders."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.toml").write_text(RULES)
    for name in ("a/x.ts", "b/y.ts"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(IMPORT)
    assert audit("a", "b", "--update-baseline") == 0
    return tmp_path


def audit(*given: str, rules: str = "rules.toml", known: str = "known.json") -> int:
    """Run the command; its exit code."""
    with pytest.raises(SystemExit) as raised:
        run([rules, *given, "--baseline", known])
    return int(raised.value.code or 0)


def files(folder: Path) -> list[str]:
    """The files that the baseline knows."""
    return sorted(json.loads((folder / "known.json").read_text())["files"])


def test_paths_are_as_seen_from_the_baseline(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same baseline serves from a folder below, and for absolute paths."""
    before = (here / "known.json").read_text()
    assert audit(str(here / "a"), str(here / "b")) == 0
    monkeypatch.chdir(here / "a")
    assert audit(".", rules="../rules.toml", known="../known.json") == 0
    assert (here / "known.json").read_text() == before


def test_what_could_not_be_told_is_not_gone(here: Path) -> None:
    """A file broken for a day does not lose its entries."""
    (here / "a/x.ts").write_text('import { y from "acme";\n')
    assert audit("a", "b") == 3
    assert files(here) == ["a/x.ts", "b/y.ts"]
    (here / "a/x.ts").write_text(IMPORT)
    assert audit("a", "b") == 0


def test_a_file_that_is_no_more_is_gone_where_we_looked(here: Path) -> None:
    """Another folder's audit says nothing about it."""
    (here / "b/y.ts").unlink()
    assert audit("a") == 0
    assert files(here) == ["a/x.ts", "b/y.ts"]
    assert audit("b") == 0
    assert files(here) == ["a/x.ts"]


def test_an_update_keeps_what_was_not_looked_at(here: Path) -> None:
    """Taking one folder's findings as known forgets no other's."""
    (here / "a/z.ts").write_text(IMPORT)
    assert audit("a", "--update-baseline") == 0
    assert files(here) == ["a/x.ts", "a/z.ts", "b/y.ts"]
    assert audit("a", "b") == 0


def test_a_place_that_cannot_be_written_is_named(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 and one line, not findings and not a traceback."""
    assert audit("a", "--output", "none/x.json") == 2
    assert audit("a", "--update-baseline", known="none/k.json") == 2
    assert "turnout-audit: none/k.json: No such file or directory" in capsys.readouterr().err


def test_a_renamed_file_stays_known_where_only_the_new_name_is_given(here: Path) -> None:
    """As a commit hook does it; the entry moves with the file, once."""
    (here / "a/x.ts").rename(here / "a/z.ts")
    assert audit("a/z.ts") == 0
    assert files(here) == ["a/z.ts", "b/y.ts"]
    (here / "a/more.ts").write_text(IMPORT)
    assert audit("a/more.ts") == 1
    assert files(here) == ["a/z.ts", "b/y.ts"]


def test_a_hook_adds_the_baseline_to_the_commit_of_a_rename(here: Path) -> None:
    """So that it leaves no file changed, which would fail the commit."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (
        ["init", "-q"],
        ["add", "-A"],
        ["commit", "-qm", "a"],
        ["mv", "a/x.ts", "a/z.ts"],
    ):
        subprocess.run([*git, *words], cwd=here, check=True)
    assert audit("a/z.ts", "--stage-baseline") == 0
    changed = subprocess.run([*git, "diff", "--quiet"], cwd=here, check=False)
    assert changed.returncode == 0
    assert files(here) == ["a/z.ts", "b/y.ts"]


def test_a_copied_file_is_new(here: Path) -> None:
    """The same text is known at another place only where the old place is no more."""
    (here / "a/z.ts").write_text(IMPORT)
    assert audit("a/z.ts") == 1
    assert audit("a", "b") == 1
    assert files(here) == ["a/x.ts", "b/y.ts"]


def test_a_baseline_in_the_midst_of_a_merge_says_what_to_do(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not what a reader of JSON thinks of the marks."""
    sides = "<<<<<<< HEAD\n%s=======\n%s>>>>>>> other\n"
    known = (here / "known.json").read_text()
    for text in (sides % (known, known), known.replace("{\n", "{\n" + sides % ("", ""), 1)):
        (here / "known.json").write_text(text)
        capsys.readouterr()
        assert audit("a") == 2
        assert audit("a", "--update-baseline") == 2
        assert capsys.readouterr().err.count("in the midst of a merge: take the file of") == 2
        assert (here / "known.json").read_text() == text


def test_a_folder_is_no_baseline(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named, without the number of an error."""
    assert audit("a", known=str(here / "a")) == 2
    assert capsys.readouterr().err.endswith("/a: not a baseline: Is a directory\n")

"""The preview of fixes is a patch that git applies, whatever the files are called and hold."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turnout_audit.engine import audit, scanner_of
from turnout_audit.load import load
from turnout_audit.model import FileProblem
from turnout_audit.patch import plan

PROSE = "The Inngest event bus carries it."
FIXED = "The Trigger.dev task triggers carries it."
NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=("Cs",)),
    min_size=1,
    max_size=12,
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 100)
ENDS = st.sampled_from(["\n", "\r\n"])
LINES = st.lists(
    st.sampled_from(
        ["", " ", "  blank at the end  ", PROSE, f"  {PROSE}\t ", "\x0c", "\u2028x", "é"]
    ),
    max_size=12,
)


@contextmanager
def repository() -> Iterator[Path]:
    """Make an empty repository."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "init", "-q", folder], check=True)
        yield Path(folder).resolve()


def preview(folder: Path, *paths: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command as its users do."""
    program = "from turnout_audit.cli.app import run; run()"
    command = [sys.executable, "-c", program, "inngest", *paths, "--diff"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False)


def apply(folder: Path, patch: bytes) -> None:
    """Apply a patch."""
    subprocess.run(["git", "-C", folder, "apply"], input=patch, check=True)


@given(
    names=st.lists(NAMES, min_size=1, max_size=3, unique_by=str.lower),
    lines=LINES,
    end=ENDS,
    mark=st.booleans(),
    ended=st.booleans(),
)
@settings(max_examples=8, deadline=None)
def test_any_file_by_any_name(
    names: list[str], lines: list[str], end: str, mark: bool, ended: bool
) -> None:
    """With marks, blanks at the ends of lines, other line ends, and no end of the last line."""
    text = end.join([*lines, "", PROSE, "", *lines[:2]]) + (end if ended else "")
    before = (b"\xef\xbb\xbf" if mark else b"") + text.encode()
    with repository() as folder:
        files = [folder / "docs" / f"{name}.md" for name in names]
        for file in files:
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(before)
        apply(folder, preview(folder, ".").stdout)
        patched = [file.read_bytes() for file in files]
        for file in files:
            file.write_bytes(before)
        program = "from turnout_audit.cli.app import run; run()"
        fix = [sys.executable, "-c", program, "inngest", ".", "--fix"]
        subprocess.run(fix, cwd=folder, capture_output=True, check=False)
        assert patched == [file.read_bytes() for file in files]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with a document in a folder, and one in a repository within it."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    for place in ("docs/a.md", "inner/b.md", "c.md"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(f"{PROSE}\n")
    subprocess.run(["git", "init", "-q", tmp_path / "inner"], check=True)
    return tmp_path


@pytest.mark.parametrize(
    ("folder", "paths", "changed"),
    [
        (".", ["."], ["docs/a.md", "inner/b.md", "c.md"]),
        (".", ["./docs"], ["docs/a.md"]),
        ("docs", ["."], ["docs/a.md"]),
        ("docs", ["../docs/a.md"], ["docs/a.md"]),
        ("inner", ["."], ["inner/b.md"]),
    ],
)
def test_from_any_folder(tree: Path, folder: str, paths: list[str], changed: list[str]) -> None:
    """The names are those that git reads in the folder where the audit was started."""
    apply(tree / folder, preview(tree / folder, *paths).stdout)
    fixed = [p for p in ("docs/a.md", "inner/b.md", "c.md") if FIXED in (tree / p).read_text()]
    assert fixed == changed


@pytest.mark.parametrize("absolute", [True, False])
def test_of_files_elsewhere(tree: Path, *, absolute: bool) -> None:
    """The patch applies in the top folder of their own repository."""
    target = str(tree / "c.md") if absolute else "../c.md"
    apply(tree, preview(tree / "docs", target).stdout)
    assert FIXED in (tree / "c.md").read_text()


def test_a_renamed_file_is_patched_by_its_new_name(tree: Path) -> None:
    """Also before the renaming is committed."""
    (tree / "c.md").rename(tree / "d e.md")
    apply(tree, preview(tree, "d e.md").stdout)
    assert FIXED in (tree / "d e.md").read_text()


def test_a_name_that_is_no_utf8(tree: Path) -> None:
    """Is written by its bytes."""
    name = os.fsdecode(b"\xff odd.md")
    try:
        shutil.copy(tree / "c.md", tree / name)
    except OSError:
        pytest.skip("this file system has no such names")
    apply(tree, preview(tree, name).stdout)
    assert FIXED in (tree / name).read_text()


def test_a_file_that_is_no_utf8_is_not_in_the_patch(tree: Path) -> None:
    """It is named: git would not take the rest either."""
    (tree / "c.md").write_bytes(f"{PROSE}\n".encode("utf-16"))
    shown = preview(tree, ".")
    assert b"c.md: not in the patch" in shown.stderr
    apply(tree, shown.stdout)
    assert FIXED in (tree / "docs/a.md").read_text()


def test_a_file_that_is_gone_hinders_no_other(tmp_path: Path) -> None:
    """It is named, and the others are fixed."""
    (tmp_path / "a.md").write_text(PROSE)
    (tmp_path / "b.md").write_text(PROSE)
    rules = load("inngest")
    report = audit(rules, [str(tmp_path)])
    (tmp_path / "a.md").unlink()
    planned = plan(scanner_of(rules), report.findings, unsafe=False)
    assert [change.path for change in planned.changes] == [str(tmp_path / "b.md")]
    problem = FileProblem(
        path=str(tmp_path / "a.md"), reason="not fixed: No such file or directory"
    )
    assert planned.problems == (problem,)

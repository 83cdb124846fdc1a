"""Globs of rules take the paths that .gitignore would."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turnout_audit.globs import Globs

PIECES = st.sampled_from(["a", "b", "*", "?", "**", "a*", "*.b", "[ab]", "[!a]", "/", "/", ".b"])
NAMES = ["a", "b", "a/b", "a/a/b", "b/a.b", "ab/b", "c/d/a", "a.b", "c/ab", "b/b/b/a", ".b/a"]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty repository."""
    folder = tmp_path_factory.mktemp("globs")
    subprocess.run(["git", "init", "-q", "."], cwd=folder, check=True)
    return folder


# What git makes of two asterisks after a name depends on where its memory lies (`prev_p < text` in
# its wildmatch.c), so only its manual says what `a**/b` means: one asterisk.
CERTAIN = re.compile(r"(?!.*//)(?!.*[^/*]\*\*).*", re.DOTALL)
PATTERNS = st.lists(PIECES, min_size=1, max_size=6).map("".join).filter(CERTAIN.fullmatch)


@given(PATTERNS)
@settings(max_examples=120, deadline=None)
def test_a_pattern_takes_what_git_ignores_by_it(repository: Path, pattern: str) -> None:
    """Compared with git itself, on paths that need not exist."""
    (repository / ".gitignore").write_text(f"{pattern}\n")
    command = ["git", "-c", f"core.excludesFile={os.devnull}", "check-ignore", "--no-index", "-z"]
    ran = subprocess.run(
        [*command, "--stdin"],
        cwd=repository,
        input="\0".join(NAMES) + "\0",
        capture_output=True,
        text=True,
        check=False,
    )
    globs = Globs([pattern])
    assert [name for name in NAMES if globs.match(name)] == ran.stdout.split("\0")[:-1]


def test_two_asterisks_beside_a_name_are_one() -> None:
    """As git's manual has it: other consecutive asterisks are regular asterisks."""
    globs = Globs(["a**/b"])
    assert [name for name in NAMES if globs.match(name)] == ["a/b", "ab/b"]


def test_the_last_pattern_that_fits_decides() -> None:
    """And `!` takes back."""
    globs = Globs(["# a comment", "", "docs/**", "!docs/**/keep.md"])
    paths = ["docs/a.md", "docs/x/keep.md", "src/a.md", "./docs/b.md", "/docs/c.md"]
    assert [path for path in paths if globs.match(path)] == [
        "docs/a.md",
        "./docs/b.md",
        "/docs/c.md",
    ]

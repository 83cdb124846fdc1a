"""Globs of rules take the paths that .gitignore would."""

import os
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


PATTERNS = st.lists(PIECES, min_size=1, max_size=6).map("".join).filter(lambda p: "//" not in p)


@given(PATTERNS)
@settings(max_examples=120, deadline=None)
def test_a_pattern_takes_what_git_ignores_by_it(repository: Path, pattern: str) -> None:
    """Compared with git itself, on paths that need not exist."""
    globs = Globs([pattern])
    assert [name for name in NAMES if globs.match(name)] == ignored(repository, pattern)


def ignored(repository: Path, pattern: str) -> list[str]:
    """List the names that git ignores by a pattern."""
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
    return ran.stdout.split("\0")[:-1]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a**/b", ["a/b", "a/a/b", "ab/b"]),
        ("[a]**/b", ["a/b", "ab/b"]),
        ("***/a", ["a", "a/b", "a/a/b", "c/d/a", "b/b/b/a", ".b/a"]),
        ("c/**", ["c/d/a", "c/ab"]),
    ],
)
def test_two_asterisks_are_any_depth_where_git_takes_them_so(
    repository: Path, pattern: str, names: list[str]
) -> None:
    """As a whole name, and after letters where nothing before them is special."""
    globs = Globs([pattern])
    assert [name for name in NAMES if globs.match(name)] == names == ignored(repository, pattern)


def test_the_last_pattern_that_fits_decides() -> None:
    """And `!` takes back."""
    globs = Globs(["# a comment", "", "docs/**", "!docs/**/keep.md"])
    paths = ["docs/a.md", "docs/x/keep.md", "src/a.md", "./docs/b.md", "/docs/c.md"]
    assert [path for path in paths if globs.match(path)] == [
        "docs/a.md",
        "./docs/b.md",
        "/docs/c.md",
    ]

"""Only what changed: lines of files, by git."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

IDENTITY = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
USE = 'import "inngest";\n'


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A repository with one commit, in which we stand, and git in it."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> None:
        subprocess.run(["git", *IDENTITY, *words], check=True, capture_output=True)

    run("init", "-qb", "main")
    Path("src").mkdir()
    for name in ("a.ts", "b.ts", 'odd "né\\tw.ts', "gone.ts"):
        Path("src", name).write_text("const a = 1;\n" * 9 + USE)
    run("add", "--all")
    run("commit", "-qm", "one")
    return run


def audited(*words: str) -> tuple[int, set[tuple[str, int]]]:
    """Run an audit; returns the exit code, and the places found."""
    command = [sys.executable, "-c", "from turnout_audit.cli.app import run; run()", "inngest"]
    done = subprocess.run([*command, *words, "--json"], capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)["findings"]
    return done.returncode, {(finding["path"], finding["line"]) for finding in found}


def test_only_new_lines_are_reported(git: Callable[..., None]) -> None:
    """Committed, staged, not staged, and not tracked; names may be odd."""
    assert audited(".", "--since", "HEAD") == (0, set())
    git("switch", "-qc", "work")
    Path("src/a.ts").write_text(USE + Path("src/a.ts").read_text() + "++ a\n-- b\n")
    git("commit", "-qam", "two")
    odd = Path('src/odd "né\\tw.ts')
    odd.write_text(odd.read_text() + USE)
    git("add", "--all")
    Path("src/b.ts").write_text(Path("src/b.ts").read_text() + "\n" + USE)
    Path("src/new.ts").write_text(USE)
    Path("src/gone.ts").unlink()
    expected = {("src/a.ts", 1), ("src/b.ts", 12), ("src/new.ts", 1), (str(odd), 11)}
    assert audited(".", "--since", "main") == (1, expected)
    assert audited("./src/", "--since=main") == (1, expected)
    assert audited("src/a.ts", "--since", "main") == (1, {("src/a.ts", 1)})
    assert audited(".", "--since", "HEAD")[1] == expected - {("src/a.ts", 1)}


def test_only_the_side_of_a_branch_counts(git: Callable[..., None]) -> None:
    """What the other branch changed meanwhile is not ours."""
    git("switch", "-qc", "work")
    git("commit", "-q", "--allow-empty", "-m", "two")
    git("switch", "-q", "main")
    Path("src/a.ts").write_text("")
    git("commit", "-qam", "three")
    git("switch", "-q", "work")
    assert audited(".", "--since", "main") == (0, set())


def test_a_renamed_file_has_only_its_changed_lines(git: Callable[..., None]) -> None:
    """So a move is no news."""
    git("mv", "src/a.ts", "src/moved.ts")
    assert audited(".", "--since", "HEAD") == (0, set())
    Path("src/moved.ts").write_text(USE + Path("src/moved.ts").read_text())
    assert audited(".", "--since", "HEAD") == (1, {("src/moved.ts", 1)})


def test_a_move_into_a_named_folder_is_a_rename(git: Callable[..., None]) -> None:
    """Git compares the whole repository, whatever paths are named."""
    Path("lib").mkdir()
    git("mv", "src/a.ts", "lib/a.ts")
    assert audited("lib", "src/b.ts", "--since", "HEAD") == (0, set())


def test_an_empty_file_has_a_new_name(git: Callable[..., None]) -> None:
    """It has no line, but a rule finds it by its name."""
    route = Path("src/app/api/inngest/route.ts")
    route.parent.mkdir(parents=True)
    route.touch()
    git("add", "--all")
    assert audited(".", "--since", "HEAD") == (1, {(str(route), 1)})


def test_lines_between_hunks_are_not_new(git: Callable[..., None]) -> None:
    """Also where the repository asks git to show them."""
    git("config", "diff.interHunkContext", "20")
    Path("src/a.ts").write_text("b\n" + Path("src/a.ts").read_text() + "c\n")
    assert audited(".", "--since", "HEAD") == (0, set())


def test_no_program_that_a_repository_names_starts(git: Callable[..., None]) -> None:
    """Git would read files through its filters."""
    git("config", "filter.odd.clean", "touch started; cat")
    Path(".gitattributes").write_text("* filter=odd\n")
    Path("src/a.ts").write_text("b\n" + Path("src/a.ts").read_text())
    assert audited(".", "--since", "HEAD") == (0, set())
    assert not Path("started").exists()


@pytest.mark.parametrize("words", [["--since", "no-such"], ["--since=--output=x"]])
def test_what_is_no_commit_is_wrong_use(git: Callable[..., None], words: list[str]) -> None:
    """It is one line on stderr, and no option of git."""
    del git
    command = [sys.executable, "-c", "from turnout_audit.cli.app import run; run()", "inngest", "."]
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert not Path("x").exists()


@pytest.mark.usefixtures("git")
@pytest.mark.parametrize("ref", ["nosuch", "", "main~9", "--all", "main:src/a.ts"])
def test_a_commit_that_is_not_there_is_named(ref: str) -> None:
    """A shallow clone is not to blame for a wrong name."""
    command = [sys.executable, "-c", "from turnout_audit.cli.app import run; run()", "inngest"]
    words = [*command, ".", f"--since={ref}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"--since {ref}: " in done.stderr
    assert done.stderr.endswith(" holds no such commit or branch\n")

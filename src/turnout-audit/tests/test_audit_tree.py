"""Trees: what is walked, what is kept, what is named."""

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st
from turnout_audit.engine import audit
from turnout_audit.errors import WrongArguments
from turnout_audit.load import parse
from turnout_audit.search import Search, Tree

RULES = parse(
    """
ruleset = "acme"
version = "1"
title = "Acme"
markers = ["acme"]
[[rule]]
id = "import"
why = "w"
level = "error"
scope = "code"
match = { import = ["acme", "acme/*"] }
[[rule]]
id = "word"
why = "w"
level = "warn"
scope = ["code", "config", "docs"]
match = { text = "(?i)acme|їжак" }
[[rule]]
id = "path"
why = "w"
level = "warn"
scope = ["code", "config", "docs"]
match = { path = "acme.config.*" }
""",
    source="x",
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and the place we stand in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tree(paths: list[str], words: frozenset[str] = frozenset()) -> Tree:
    """Search files for words."""
    with contextlib.closing(Search(paths, words)) as search:
        return search.tree()


def write(root: Path, files: dict[str, str | bytes]) -> None:
    """Write files under a folder."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


TREE: dict[str, str | bytes] = {
    "src/a.ts": 'import "acme";\n',
    "src/b.py": "x = 'ACME'\n",
    "docs/c.md": "# Їжак\n\nЇжак acme\n",  # noqa: RUF001 -- Ukrainian
    ".github/ci.yml": "name: Acme\n",
    "empty.ts": "",
    "latin.py": b"# caf\xe9 acme\n",
    "wide.ts": 'import "acme";\n'.encode("utf-16"),
    "wide-other.ts": "nothing".encode("utf-16-le"),
    "binary.ts": b"\0\1acme",
    "crlf.md": "a\r\nacme\r\n",
    "-e.ts": 'import "acme";\n',
    "new\nline.ts": 'import "acme";\n',
    "(a+)+$.ts": "a" * 10_000 + "!\nacme",
    "acme.config.json": "{}",
}


def test_processes_find_the_same(here: Path) -> None:
    """In any encoding, under any name: findings, problems and counts are equal."""
    write(here, TREE)
    report = audit(RULES, ["."], processes=1)
    assert audit(RULES, ["."], processes=2) == report
    assert {finding.path for finding in report.findings} == {
        *("src/a.ts", "src/b.py", "docs/c.md", ".github/ci.yml", "latin.py", "wide.ts", "crlf.md"),
        *("-e.ts", "new\nline.ts", "(a+)+$.ts", "acme.config.json"),
    }
    assert report.counted.binary == 1


def holds(content: bytes, words: frozenset[str]) -> bool:
    """Whether bytes hold one of the words, as google-re2 says."""
    joined = "(?i)" + "|".join(re2.escape(word) for word in sorted(words))
    if all(word.isascii() for word in words):
        return re2.search(joined.encode(), content) is not None
    return re2.search(joined, content.decode("utf-8", "replace")) is not None


@settings(max_examples=25, deadline=None)
@given(
    contents=st.lists(
        st.lists(
            st.sampled_from(
                [
                    b"acme",
                    b"ACME",
                    b"ac",
                    b"me",
                    b"\n",
                    b"\xff",
                    b"\0",
                    "їЖ".encode(),
                    b"\xd1",
                    b"K",
                ]
            ),
            max_size=12,
        ).map(b"".join),
        min_size=1,
        max_size=12,
    ),
    words=st.sets(st.sampled_from(["acme", "їж", "ac", "k", "me\n"]), min_size=1),
)
def test_files_that_hold_a_word_are_kept(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes], words: set[str]
) -> None:
    """Over any bytes, ASCII or not."""
    folder = tmp_path_factory.mktemp("tree")
    chosen = frozenset(word for word in words if "\n" not in word) or frozenset({"acme"})
    expected = {}
    for number, content in enumerate(contents):
        path = folder / f"f{number}"
        path.write_bytes(content)
        expected[str(path)] = holds(content, chosen)
    assert tree([str(folder)], chosen).files == expected


@pytest.mark.parametrize("inside", ["", "repo/", "repo/sub/"])
@pytest.mark.parametrize("root", [".", "./repo", "repo/sub/..", "absolute", "repo/sub/deep"])
def test_only_what_git_reads_ignores(here: Path, root: str, inside: str) -> None:
    """`.gitignore` and the repository's exclude file count; those of other programs do not."""
    names = [".gitignore", ".ignore", ".rgignore", ".git/info/exclude"]
    write(here, {f"{inside}{name}": f"x{n}.ts\nout/\n" for n, name in enumerate(names)})
    files = [f"{folder}x{n}.ts" for folder in ("", "repo/", "repo/sub/") for n in range(4)]
    files += ["repo/out/a.ts", "repo/sub/deep/out/a.ts", "repo/sub/deep/b\n1.ts"]
    write(here, dict.fromkeys([*files, "repo/node_modules/a.ts", ".git/a.ts"], "acme"))
    write(here, dict.fromkeys(["repo/none.ts", "repo/sub/deep/none.ts"], "bolt"))
    (here / "repo/sub/linked").symlink_to("deep")
    path = str(here / "repo") if root == "absolute" else root
    report = audit(RULES, [path, "repo/sub/x0.ts"])
    under = "" if root == "." else "repo/sub/deep/" if root.endswith("deep") else "repo/"
    ignored = ("x0.ts", "x3.ts", "out/a.ts")
    expected = {
        file
        for file in files
        if file.startswith(under) and not (file.startswith(inside) and file.endswith(ignored))
    }
    shown = {f"{here}/{file}" if root == "absolute" else file for file in expected}
    assert {finding.path for finding in report.findings} == {*shown, "repo/sub/x0.ts"}


def test_git_says_the_same_about_what_is_ignored(here: Path) -> None:
    """Nested files, negation, folders, anchors, globs, the repository's own exclude file."""
    write(
        here,
        {
            ".gitignore": "*.log\n!keep.log\n/build/\ndocs/**/draft\n"
            "foo/*\n!foo/bar/\n\\#x\ntrail \n",
            "sub/.gitignore": "!*.log\nlocal\n/only\n",
            **dict.fromkeys(
                [
                    "a.log",
                    "keep.log",
                    "build/x",
                    "sub/build/x",
                    "sub/a.log",
                    "sub/local/y",
                    "sub/only",
                    "sub/deep/only",
                    "docs/a/b/draft/x",
                    "docs/draft",
                    "foo/z",
                    "foo/bar/q",
                    "#x",
                    "info.tmp",
                    "ok",
                ],
                "acme",
            ),
        },
    )
    subprocess.run(["git", "init", "-q"], check=True)
    (here / ".git/info").mkdir(exist_ok=True)
    (here / ".git/info/exclude").write_text("info.tmp\n")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], check=True, capture_output=True
    ).stdout.decode()
    assert set(tree(["."]).files) == set(listed.split("\0")) - {""}
    assert set(tree(["sub"]).files) == {
        name for name in listed.split("\0") if name.startswith("sub/")
    }


def test_a_file_found_by_its_path_is_found_wherever_it_stands(here: Path) -> None:
    """Globs of paths are looked at in full, whatever words they are sieved by."""
    globs = ["conf/*.ts", "**/deep/**", "[xy].md", "*.acme", "A?ne.txt"]
    written = "".join(
        f'[[rule]]\nid="p{n}"\nwhy="w"\nlevel="warn"\nscope=["code","docs","config"]\n'
        f"match={{path={json.dumps(glob)}}}\n"
        for n, glob in enumerate(globs)
    )
    rules = parse(f'ruleset="x"\nversion="1"\ntitle="x"\nmarkers=["acme"]\n{written}', source="x")
    names = [
        "conf/a.ts",
        "sub/conf/a.ts",
        "deep/a",
        "b/deep/c/d",
        "x.md",
        "z.md",
        "q.acme",
        "Aone.txt",
    ]
    write(here, dict.fromkeys(names, "nothing"))
    found = {finding.path for finding in audit(rules, ["."]).findings}
    assert found == {"conf/a.ts", "deep/a", "b/deep/c/d", "x.md", "q.acme", "Aone.txt"}


def test_a_file_that_is_named_is_read_even_if_ignored(here: Path) -> None:
    """Whoever names it wants it."""
    write(here, {".gitignore": "a.ts\n", "a.ts": 'import "acme";'})
    assert audit(RULES, ["."]).findings == ()
    assert len(audit(RULES, ["a.ts", "./a.ts"]).findings) == 2


def test_links_loops_pipes_and_depth_are_survived(here: Path) -> None:
    """No link is followed, nothing is waited for, and what is too deep is named."""
    write(here, {"a.ts": 'import "acme";', "sub/.gitmodules": "[submodule]\npath = ../\n"})
    (here / "loop").symlink_to(here)
    (here / "dangling").symlink_to("nowhere")
    (here / "sub" / "up").symlink_to("..")
    os.mkfifo(here / "pipe.ts")
    deep = here / Path(*["d"] * 140)
    deep.mkdir(parents=True)
    (deep / "x.ts").write_text("acme")
    report = audit(RULES, ["."])
    assert {finding.path for finding in report.findings} == {"a.ts"}
    assert report.counted.links == 3
    assert [problem.reason for problem in report.problems] == ["deeper than 128 folders"]


def test_a_path_that_is_not_there_is_wrong_use(here: Path) -> None:
    """Auditing nothing must not look clean."""
    with pytest.raises(WrongArguments, match="no such file or folder: nope"):
        audit(RULES, ["nope"])


def test_huge_files_are_bounded_and_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too large to parse, too large to read, more findings than anybody reads."""
    write(here, {"million.ts": 'import "acme";\n' * 300_000, "big.md": "acme\n" * 21_000})
    report = audit(RULES, ["."], processes=1)
    reasons = {problem.path: problem.reason for problem in report.problems}
    assert "too large to parse" in reasons["million.ts"]
    assert "more than 20000 findings" in reasons["big.md"]
    monkeypatch.setattr("turnout_audit.reading.MAX_TEXT", 1000)
    reasons = {p.path: p.reason for p in audit(RULES, ["."], processes=1).problems}
    assert all("too large" in reason for reason in reasons.values())
    assert set(reasons) == {"million.ts", "big.md"}


NESTED = "(" * 50_000


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.ts", f'import "acme"; {NESTED}'),
        ("a.py", f"import acme\nx = {NESTED}{')' * 50_000}"),
        ("a.json", '{"acme": ' + "[" * 50_000),
        ("a.yaml", "acme: " + "[" * 20_000),
        ("a.toml", "acme = " + "[" * 20_000),
        ("a.md", "> " * 20_000 + "acme"),
        ("b.md", "<!-- acme\n" * 4_000),
        ("c.md", "`acme " * 8_000),
        ("d.md", "# acme (deprecated)\n> deprecated\n" * 2_000),
        ("a.vue", "<script>" * 20_000 + "acme"),
        ("b.yaml", "acme: &a [x]\n" + "".join(f"k{n}: &b{n} [*a, *a]\n" for n in range(2000))),
    ],
)
def test_hostile_files_end(here: Path, name: str, text: str) -> None:
    """Deep nesting, endless openings, aliases: told or named, and soon."""
    key = parse(
        'ruleset="x"\nversion="1"\ntitle="x"\nmarkers=["acme"]\n[[rule]]\nid="k"\nwhy="w"\n'
        'level="warn"\nscope=["config","docs"]\n[[rule.match]]\nconfig_key="acme"\n',
        source="x",
    )
    rules = replace(RULES, rules=(*RULES.rules, *key.rules))
    write(here, {name: text})
    report = audit(rules, ["."], processes=1)
    assert report.findings or report.problems or report.exempted


DROP = "os.setgid(65534); os.setuid(65534)"
AS_NOBODY = """
import os, sys
from turnout_audit.engine import audit
from turnout_audit.load import load
audit(load(sys.argv[1]), [os.path.dirname(sys.argv[1])])  # import it all
os.setgid(65534); os.setuid(65534)
report = audit(load(sys.argv[1]), [sys.argv[2]])
for problem in report.problems:
    print(problem.path.rpartition("/")[2], problem.reason)
"""


def test_what_cannot_be_read_is_named() -> None:
    """A folder and a file without permission."""
    root = Path(f"/tmp/turnout-audit-{os.getpid()}")  # every folder above must be open
    write(root, {"tree/shut/a.ts": "acme", "tree/b.ts": "acme", "tree/c.ts": "acme"})
    rules = root / "rules.toml"
    rules.write_text(
        'ruleset = "acme"\nversion = "1"\ntitle = "A"\nmarkers = ["acme"]\n[[rule]]\nid = "w"\n'
        'why = "w"\nlevel = "warn"\nscope = "code"\nmatch = { text = "acme" }\n'
    )
    try:
        root.chmod(0o755)
        (root / "tree").chmod(0o755)
        (root / "tree/shut").chmod(0)
        (root / "tree/b.ts").chmod(0)
        code = AS_NOBODY if os.geteuid() == 0 else AS_NOBODY.replace(DROP, "")
        done = subprocess.run(
            [sys.executable, "-c", code, str(rules), str(root / "tree")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.splitlines() == [
            "b.ts cannot be read: Permission denied",
            "shut cannot be read: Permission denied",
        ], done.stderr
    finally:
        for path in (root / "tree/shut", root / "tree/b.ts"):
            path.chmod(stat.S_IRWXU)
        shutil.rmtree(root)


def test_a_folder_that_is_named_is_read_even_if_ignored(here: Path) -> None:
    """Auditing nothing must not look clean; what the folder itself ignores stays ignored."""
    write(here, {".gitignore": "/build/\n", "build/.gitignore": "skip.ts\n"})
    write(here, dict.fromkeys(["build/a.ts", "build/in/b.ts", "build/skip.ts"], 'import "acme";'))
    subprocess.run(["git", "init", "-q"], check=True)
    assert audit(RULES, ["."]).findings == ()
    assert {f.path for f in audit(RULES, ["build"]).findings} == {"build/a.ts", "build/in/b.ts"}
    assert {f.path for f in audit(RULES, ["build/in"]).findings} == {"build/in/b.ts"}


@pytest.mark.parametrize("pattern", ["/build/", "build", "*", "*.ts\nbuild"])
def test_what_ignores_a_named_folder_ignores_none_of_its_files(here: Path, pattern: str) -> None:
    """Patterns above a folder that they ignore do not count below it."""
    write(here, {".gitignore": f"{pattern}\n", "build/a.ts": "acme", "build/in/b.ts": "acme"})
    subprocess.run(["git", "init", "-q"], check=True)
    assert audit(RULES, ["."]).findings == ()
    assert len(audit(RULES, ["build"]).findings) == 2
    assert len(audit(RULES, ["build/in"]).findings) == 1


def test_a_tracked_link_to_a_folder_is_no_repository(here: Path) -> None:
    """Its target's files are listed once, under their own names; so a loop ends, too."""
    write(here, {"real/a.ts": 'import "acme";'})
    (here / "link").symlink_to("real")
    (here / "real/loop").symlink_to("..")
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", "add", "--all"], check=True)
    report = audit(RULES, ["."])
    assert {finding.path for finding in report.findings} == {"real/a.ts"}
    assert (report.counted.files, report.counted.links) == (1, 2)


@pytest.mark.parametrize("name", ["inner", "inner.js"])
def test_a_submodule_lists_its_own_files(here: Path, name: str) -> None:
    """Also one whose name looks like that of a file."""
    write(here, {f"{name}/a.ts": 'import "acme";', f"{name}/b.ts": "acme"})
    write(here, {f"{name}/.gitignore": "b.ts\n", ".gitignore": "*.ts\n"})
    for folder in (here / name, here):
        subprocess.run(["git", "init", "-q", folder], check=True)
        subprocess.run(["git", "-C", folder, "add", "--all", "--force", ":!b.ts"], check=True)
        commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]
        subprocess.run(["git", "-C", folder, *commit], check=True)
    report = audit(RULES, ["."])
    assert {finding.path for finding in report.findings} == {f"{name}/a.ts"}


def test_a_pipe_or_a_device_that_is_named_is_not_read(here: Path) -> None:
    """Nobody writes into the pipe, and the device never ends."""
    os.mkfifo(here / "a.ts")
    report = audit(RULES, ["a.ts", "/dev/zero"])
    assert [(problem.path, problem.reason) for problem in report.problems] == [
        ("/dev/zero", "cannot be read: not a regular file"),
        ("a.ts", "cannot be read: not a regular file"),
    ]

"""Which files are looked at, and how their bytes are read: as git and an editor would."""

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turnout_audit import kinds
from turnout_audit.engine import audit
from turnout_audit.load import load
from turnout_audit.source import decode, encoded, is_binary

SDK = 'import { Inngest } from "inngest";\n'
CODECS = [
    "utf-8",
    "utf-8-sig",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "utf-32",
    "utf-32-le",
    "utf-32-be",
]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init")
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    """Run git."""
    identity = ("-c", "user.email=a@example.com", "-c", "user.name=a")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files, each with its text."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def traces(paths: str = ".") -> set[str]:
    """Name the files with findings."""
    return {finding.path for finding in audit(load("inngest"), [paths]).findings}


@pytest.mark.parametrize("codec", CODECS)
def test_a_file_is_read_whatever_unicode_it_is_in(tree: Path, codec: str) -> None:
    """Also without a byte-order mark."""
    (tree / "a.ts").write_bytes(SDK.encode(codec))
    assert traces() == {"a.ts"}


@given(st.text(alphabet=st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=8))
@settings(deadline=None)
def test_a_text_is_encoded_as_it_was_read(text: str) -> None:
    """In every encoding."""
    for codec in CODECS:
        raw = text.encode(codec)
        assert decode(raw) == (text, False)
        assert encoded(text, raw) == raw
        assert not is_binary(raw)


def test_a_stray_nul_makes_no_binary_file(tree: Path) -> None:
    """But many control bytes do."""
    (tree / "a.ts").write_bytes(SDK.encode() + b"\0// and more of the text\n")
    (tree / "b.bin").write_bytes(bytes(range(32)) * 8 + b"inngest")
    report = audit(load("inngest"), ["."])
    assert {finding.path for finding in report.findings} == {"a.ts"}
    assert report.counted.binary == 1


def test_a_tracked_file_counts_even_if_an_ignore_file_names_it(tree: Path) -> None:
    """It is part of the repository; an untracked one beside it is not."""
    write(
        tree, {".gitignore": "generated/\n", "generated/client.ts": SDK, "src/a.ts": "export {};\n"}
    )
    git(tree, "add", "-f", ".")
    write(tree, {"generated/other.ts": SDK, "node_modules/inngest/index.js": SDK})
    assert traces() == {"generated/client.ts"}


def test_a_tracked_file_that_is_deleted_is_no_problem(tree: Path) -> None:
    """The index may be behind the folder."""
    write(tree, {"a.ts": SDK, "b.ts": SDK})
    git(tree, "add", ".")
    (tree / "a.ts").unlink()
    report = audit(load("inngest"), ["."])
    assert ({finding.path for finding in report.findings}, report.problems) == ({"b.ts"}, ())


PATTERNS = st.lists(
    st.sampled_from(
        [
            *(
                "dir/*/",
                "!sub/",
                "src/*/",
                "!*/",
                "**/lib",
                "!lib",
                "*.ts",
                "!b.ts",
                "dir/",
                "/lib",
            ),
            *("!dir/sub/b.ts", "a.*", "**/sub/**", "l?b", "[ds]ub", "\\!odd", "# a", "src/lib/"),
        ]
    ),
    min_size=1,
    max_size=4,
)


@given(PATTERNS, PATTERNS)
@settings(max_examples=25, deadline=None)
def test_the_files_are_those_that_git_lists(
    tmp_path_factory: pytest.TempPathFactory, patterns: list[str], inner: list[str]
) -> None:
    """Whatever ignore files say, from a folder within the repository, too."""
    folder = tmp_path_factory.mktemp("repository")
    names = ["dir/a.ts", "dir/sub/b.ts", "src/a.ts", "src/lib/b.ts", "b.ts", "lib/dub/a.ts"]
    ignores = {".gitignore": "\n".join(patterns) + "\n", "src/.gitignore": "\n".join(inner) + "\n"}
    write(folder, {**dict.fromkeys(names, SDK), **ignores})
    git(folder, "init")
    git(folder, "add", "-f", "dir/sub/b.ts")
    for place in (folder, folder / "src"):
        listed = git(place, "ls-files", "-z", "-c", "-o", "--exclude-standard").split("\0")
        report = audit(load("inngest"), [str(place)])
        audited = {str(Path(path).relative_to(place)) for path in report.audited}
        assert audited == set(filter(None, listed))


def test_a_repository_within_lists_its_own_files(tree: Path) -> None:
    """Ignored, tracked or neither, by its own rules."""
    write(tree, {"inner/.gitignore": "out/\n", "inner/out/a.ts": SDK, "inner/out/b.ts": SDK})
    git(tree / "inner", "init")
    git(tree / "inner", "add", "-f", "out/a.ts")
    assert traces() == {"inner/out/a.ts"}


@pytest.mark.parametrize(
    ("name", "line", "language"),
    [
        (".githooks/post-push", "#!/usr/bin/env bash", "shell"),
        ("bin/jobs", "#!/usr/bin/env -S node --no-warnings", "typescript"),
        ("bin/report", "#!/usr/bin/python3.12", "python"),
        ("bin/data", "not a script", "text"),
        ("notes.txt", "#!/bin/sh", "text"),
    ],
)
def test_a_script_without_a_suffix_is_known_by_its_first_line(
    name: str, line: str, language: str
) -> None:
    """A suffix goes before it."""
    assert kinds.of_text(name, f"{line}\n")[1] == language


def test_markup_of_components_is_read_beside_their_scripts(tree: Path) -> None:
    """Each at its own line."""
    page = '<template>\n  <a href="https://app.inngest.com/env">Jobs</a>\n</template>\n'
    script = '<script>\nimport { Inngest } from "inngest";\n</script>\n'
    write(tree, {"a.vue": page + script})
    found = [(finding.rule, finding.line) for finding in audit(load("inngest"), ["."]).findings]
    assert found == [("inngest.endpoint-config", 2), ("inngest.import", 5)]


@pytest.mark.parametrize(
    ("configuration", "module", "own"),
    [
        ({"baseUrl": "./src"}, "inngest/server", True),
        ({"baseUrl": "./src"}, "inngest", True),
        ({"baseUrl": "./src"}, "inngest/next", False),
        ({"paths": {"inngest/*": ["./src/inngest/*"]}}, "inngest/server", True),
        ({"paths": {"inngest": ["./src/inngest/index.ts"]}}, "inngest", True),
        ({"paths": {"inngest": ["./node_modules/inngest"]}}, "inngest", False),
        ({"baseUrl": "src", "paths": {"inngest": ["node_modules/inngest"]}}, "inngest", False),
        ({"baseUrl": "."}, "inngest", False),
        ({}, "inngest/server", False),
    ],
)
def test_a_module_of_the_teams_own_is_no_package(
    tree: Path, configuration: dict[str, object], module: str, *, own: bool
) -> None:
    """By the nearest tsconfig.json, or one that it extends; only where the file exists."""
    base = json.dumps({"compilerOptions": configuration})
    files = {"tsconfig.base.json": base, "tsconfig.json": '{ "extends": "./tsconfig.base.json" }'}
    files |= {
        "src/inngest/server.ts": "",
        "src/inngest/index.ts": "",
        "inngest.json": "{}",
        "node_modules/inngest/index.js": "",
    }
    write(tree, {**files, "src/a.ts": f'import {{ a }} from "{module}";\na();\n'})
    assert ("src/a.ts" in traces()) is not own


def test_json5_is_read_by_its_keys(tree: Path) -> None:
    """Bare keys, comments, and a comma too many."""
    text = (
        '{\n  // quiet\n  packageRules: [{ matchPackageNames: ["inngest"], enabled: false, }],\n}\n'
    )
    write(tree, {"renovate.json5": text, "broken.json5": "{ inngest: [ }"})
    report = audit(load("inngest"), ["."])
    assert [(finding.path, finding.line) for finding in report.findings] == [("renovate.json5", 3)]
    assert report.problems == ()

"""The command: reports, exit codes, ratchet, fixes, burndown, and the project's own audit."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import jsonschema
import pytest
from turnout_audit import fix, patch
from turnout_audit.cli.app import run
from turnout_audit.engine import audit
from turnout_audit.load import parse
from turnout_audit.model import Edit, Finding, Fixes
from turnout_audit.render import render
from turnout_audit.ruleset import Ruleset

RULES = """
ruleset = "acme"
version = "1"
title = "Traces of Acme"
markers = ["acme"]
[[rule]]
id = "import"
why = "Acme is imported."
level = "error"
scope = "code"
link = "https://docs.example.org/a b"
advice = "Import ours."
match = { import = ["acme", "acme/*"] }
fix = { kind = "module", safe = true, table = { "acme" = "ours", "acme/b" = "ours/b" } }
[[rule]]
id = "word"
why = "Acme is named."
level = "advise"
scope = ["docs", "config"]
match = { text = "(?i)acme" }
"""
SCHEMA = json.loads(Path(__file__).with_name("sarif_2_1_0.json").read_text())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project, and the place we stand in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.toml").write_text(RULES)
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.ts").write_text('import x from "acme";\nimport y from "acme/b";\n')
    (tmp_path / "src/b.md").write_text("Acme | `runs` it <b>\n")
    return tmp_path


def audited(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Run the command: its exit code, its output, its errors."""
    with pytest.raises(SystemExit) as raised:
        run([*arguments])
    told = capsys.readouterr()
    return int(raised.value.code or 0), told.out, told.err


def test_text_is_grouped_by_rule_and_file_with_the_line(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a person reads."""
    code, out, _ = audited("rules.toml", "src", capsys=capsys)
    assert code == 1
    assert out == (
        "import (error): Acme is imported.\n"
        "  do: Import ours.\n"
        "  see: https://docs.example.org/a b\n"
        "  src/a.ts\n"
        '    1:16     import x from "acme";\n'
        '    2:16     import y from "acme/b";\n'
        "\n"
        "word (advise): Acme is named.\n"
        "  src/b.md\n"
        "    1:1      Acme | `runs` it <b>\n"
        "\n"
        "acme: 3 findings in 2 files; 2 files searched\n"
    )


def test_json_is_as_documented(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The keys of a finding, and the summary."""
    code, out, _ = audited("rules.toml", "src", "--json", capsys=capsys)
    told = json.loads(out)
    assert code == 1
    assert told["findings"][0] == {
        "rule": "import",
        "level": "error",
        "path": "src/a.ts",
        "line": 1,
        "column": 16,
        "end_line": 1,
        "text": 'import x from "acme";',
        "why": "Acme is imported.",
        "fix": "Import ours.",
    }
    assert told["summary"]["by_rule"] == {"import": 2, "word": 1}
    assert told["summary"]["findings"] == 3


def test_sarif_follows_the_standard(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also for names that are no addresses, for problems, and with a baseline."""
    (here / "src/ünï #%\n.ts").write_text('import "acme";')
    (here / "src/package.json").write_text('{"acme": ')
    rules = parse(RULES, source="x")
    extra = (
        'id = "key"\nwhy = "w"\nlevel = "warn"\nscope = "config"\nmatch = { config_key = "acme" }\n'
    )
    rules = parse(f"{RULES}[[rule]]\n{extra}", source="x")
    report = audit(rules, ["src"])
    assert report.problems
    told = json.loads(render(report, rules, "sarif"))
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(told, SCHEMA)
    results = told["runs"][0]["results"]
    assert len(results) == len(report.findings)
    region = results[0]["locations"][0]["physicalLocation"]["region"]
    assert region == {
        "startLine": 1,
        "startColumn": 16,
        "endLine": 1,
        "endColumn": 20,
        "snippet": {"text": 'import x from "acme";'},
    }
    assert told["runs"][0]["invocations"][0]["executionSuccessful"] is False
    told["runs"][0]["results"][0]["level"] = "loud"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(told, SCHEMA)


def test_markdown_keeps_its_table(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pipes and tags in a line do not break it."""
    _, out, _ = audited("rules.toml", "src", "--format", "markdown", capsys=capsys)
    assert "## Traces of Acme" in out
    assert "| `src/b.md:1` | ``Acme \\| `runs` it <b>`` |" in out


def test_control_characters_do_not_reach_the_terminal(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file's name may be anything."""
    (here / "src/\x1b[31m\n.ts").write_text('import "acme"; // \x1b[2J')
    for form in ("text", "markdown"):
        _, out, _ = audited("rules.toml", "src", "--format", form, capsys=capsys)
        assert "\x1b" not in out
    (here / "src").joinpath(os.fsdecode(b"\xff.ts")).write_text('import "acme";')
    for form in ("text", "markdown", "json", "sarif"):
        assert audited("rules.toml", "src", "--format", form, capsys=capsys)[0] == 1


def test_exit_codes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 clean, 1 findings, 2 wrong use, 3 could not tell."""
    assert audited("rules.toml", "src", "--scope", "config", capsys=capsys)[0] == 0
    assert audited("rules.toml", "src", "--scope", "docs", capsys=capsys)[0] == 1
    assert audited("rules.toml", "nowhere", capsys=capsys)[0] == 2
    assert audited("rules.toml", capsys=capsys)[0] == 2
    assert audited("nope", "src", capsys=capsys)[0] == 2
    (here / "src/a.ts").write_text('const = ; import { from "acme\n((')
    (here / "src/b.md").unlink()
    code, out, _ = audited("rules.toml", "src", capsys=capsys)
    assert code == 3
    assert "src/a.ts:1: does not parse" in out


def test_the_ratchet(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Known findings pass, also when lines or files move; new ones fail; gone ones leave."""
    given = ("rules.toml", "src", "--baseline", "known.json")
    assert audited(*given, capsys=capsys)[0] == 2
    assert audited(*given, "--update-baseline", capsys=capsys)[0] == 0
    source = here / "src/a.ts"
    source.write_text('// moved\n\n  import y from "acme/b";\nimport x from "acme";\n')
    (here / "src/b.md").rename(here / "src/c.md")
    assert audited(*given, capsys=capsys)[0] == 0
    source.write_text(source.read_text() + 'import x from "acme";\n')
    code, out, _ = audited(*given, capsys=capsys)
    assert code == 1
    assert "1 finding in 1 file, 3 known" in out
    source.write_text('import x from "acme";\n')
    code, _, err = audited(*given, capsys=capsys)
    assert (code, "1 fewer" in err) == (0, True)
    source.write_text('import x from "acme";\nimport y from "acme/b";\n')
    assert audited(*given, capsys=capsys)[0] == 1


def test_the_ratchet_forgets_nothing_that_was_not_looked_at(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hook that names a few files does not shrink the rest away."""
    audited("rules.toml", "src", "--baseline", "k", "--update-baseline", capsys=capsys)
    before = (here / "k").read_text()
    assert audited("rules.toml", "src/b.md", "--baseline", "k", capsys=capsys)[0] == 0
    assert (here / "k").read_text() == before
    assert audited("rules.toml", "src", "--baseline", "k", capsys=capsys)[0] == 0


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "no",
        '{"version": 9}',
        '{"version":1,"ruleset":"acme","files":{"a":{"b":{"c":-1}}}}',
        '{"version":1,"ruleset":"other","files":{}}',
    ],
)
def test_a_baseline_that_is_none_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    """By name, not by a traceback."""
    (here / "k").write_text(text)
    code, _, err = audited("rules.toml", "src", "--baseline", "k", capsys=capsys)
    assert code == 2
    assert "baseline" in err


def test_fixes_are_previewed_applied_and_idempotent(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--diff writes nothing; --fix writes once; a second run changes nothing."""
    before = (here / "src/a.ts").read_bytes()
    code, out, _ = audited("rules.toml", "src", "--diff", capsys=capsys)
    assert code == 1
    assert '-import x from "acme";\n' in out
    assert '+import x from "ours";\n' in out
    assert (here / "src/a.ts").read_bytes() == before
    (here / "src/a.ts").chmod(0o640)
    audited("rules.toml", "src", "--fix", capsys=capsys)
    after = (here / "src/a.ts").read_bytes()
    assert b'from "ours"' in after
    assert (here / "src/a.ts").stat().st_mode & 0o777 == 0o640
    _, _, err = audited("rules.toml", "src", "--fix", capsys=capsys)
    assert "fixed 0 in 0 files" in err
    assert (here / "src/a.ts").read_bytes() == after


def test_bytes_and_line_ends_survive_a_fix(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """CRLF, marks, UTF-16; a file with invalid bytes is named and left alone."""
    code = 'import x from "acme";\r\n// ї\r\n'
    files = {
        "crlf.ts": code.encode(),
        "mark.ts": b"\xef\xbb\xbf" + code.encode(),
        "wide.ts": code.encode("utf-16"),
        "bad.ts": code.encode() + b"\xff",
    }
    for name, content in files.items():
        (here / "src" / name).write_bytes(content)
    _, _, err = audited("rules.toml", "src", "--fix", capsys=capsys)
    new = code.replace("acme", "ours")
    assert (here / "src/crlf.ts").read_bytes() == new.encode()
    assert (here / "src/mark.ts").read_bytes() == b"\xef\xbb\xbf" + new.encode()
    assert (here / "src/wide.ts").read_bytes() == new.encode("utf-16")
    assert (here / "src/bad.ts").read_bytes() == files["bad.ts"]
    assert "src/bad.ts: not fixed: it holds bytes that its encoding does not know" in err


def test_a_fix_that_never_comes_to_rest_is_given_up(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text stays as it was, and the finding is named."""

    def endless(
        ruleset: Ruleset, findings: Sequence[Finding], sources: Mapping[str, str], *, unsafe: bool
    ) -> Fixes:
        edits = tuple(
            Edit(path=f.path, start=f.start, end=f.end, replacement=f"{f.matched}/x", rule=f.rule)
            for f in findings
        )
        return Fixes(edits=edits)

    monkeypatch.setattr(fix, "apply", endless)
    from turnout_audit.scan import Scanner

    scanner = Scanner(parse(RULES, source="x"))
    mended = patch.mended_text(scanner, "a.ts", 'import "acme";', unsafe=True)
    assert mended.text == 'import "acme";'
    assert [left.reason for left in mended.unfixed] == ["its fix does not come to rest"]


def test_edits_that_overlap_wait_for_the_next_round() -> None:
    """The first of them is applied, in order, once."""
    edits = [
        Edit(path="a", start=0, end=3, replacement="X", rule="r"),
        Edit(path="a", start=2, end=5, replacement="Y", rule="r"),
        Edit(path="a", start=5, end=5, replacement="Z", rule="r"),
        Edit(path="a", start=5, end=5, replacement="Z", rule="r"),
        Edit(path="a", start=90, end=99, replacement="!", rule="r"),
    ]
    assert patch.patched("abcdef", edits) == ("XdeZf", 2)


def test_a_file_that_changed_meanwhile_is_left_alone(here: Path) -> None:
    """Somebody else's work is not overwritten."""
    change = patch.FileChange(path="src/a.ts", before="old", after="new", applied=1)
    problems = patch.write([change])
    assert [problem.reason for problem in problems] == ["not fixed: the file changed meanwhile"]


def _git(*arguments: str, at: str = "2026-01-01") -> None:
    who = {
        f"GIT_{role}_{part}": "x@example.org"
        for role in ("AUTHOR", "COMMITTER")
        for part in ("NAME", "EMAIL")
    }
    dates = {"GIT_AUTHOR_DATE": f"{at}T00:00:00Z", "GIT_COMMITTER_DATE": f"{at}T00:00:00Z"}
    subprocess.run(
        ["git", *arguments], check=True, capture_output=True, env=os.environ | who | dates
    )


def test_the_burndown(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each commit as it would have been told; a table, a plot, JSON."""
    _git("init", "-q")
    source = here / "src/a.ts"
    for day, lines in enumerate((3, 2, 0), start=1):
        source.write_text('import "acme";\n' * lines + "x;\n")
        _git("add", "src")
        _git("commit", "-qm", f"day {day}", at=f"2026-01-0{day}")
    code, out, _ = audited("history", "rules.toml", ".", "--svg", "plot.svg", capsys=capsys)
    assert code == 1
    rows = [re.split(r"\s+", line)[0:3:2] for line in out.splitlines()[1:]]
    assert rows == [["2026-01-01", "4"], ["2026-01-02", "3"], ["2026-01-03", "1"]]
    assert "█" in out
    assert (here / "plot.svg").read_text().startswith("<svg")
    _, out, _ = audited("history", "rules.toml", ".", "--json", "--points", "2", capsys=capsys)
    told = json.loads(out)
    assert told["ruleset"] == "acme"
    assert [(point["findings"], point["rules"]) for point in told["commits"]] == [
        (4, {"import": 3, "word": 1}),
        (1, {"word": 1}),
    ]
    code, out, err = audited("history", "rules.toml", ".", "src", "nosuch", capsys=capsys)
    assert (code, out) == (2, "")
    assert err == "turnout-audit: no such file or folder in any of the commits looked at: nosuch\n"
    code, _, err = audited("history", "rules.toml", str(here / "src/none"), capsys=capsys)
    assert (code, "git" in err) == (2, True)


def test_a_repository_without_commits_has_no_burndown(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Git says so, and names the branch."""
    _git("init", "-qb", "main")
    code, out, err = audited("history", "rules.toml", capsys=capsys)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "'main' does not have any commits yet" in err


def test_the_burndown_sees_what_an_audit_sees(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other people's code is left out, and what could not be told at HEAD is no clean end."""
    _git("init", "-q")
    (here / "node_modules").mkdir()
    (here / "node_modules/a.ts").write_text('import "acme";\n')
    (here / "src/a.ts").write_text('import { x from "acme";\n')
    (here / "src/b.md").unlink()
    _git("add", "-f", "src", "node_modules")
    _git("commit", "-qm", "one")
    code, out, _ = audited("history", "rules.toml", ".", "--json", capsys=capsys)
    assert [(point["findings"], point["problems"]) for point in json.loads(out)["commits"]] == [
        (0, 1)
    ]
    assert code == 3


def test_the_core_names_no_vendor(capsys: pytest.CaptureFixture[str]) -> None:
    """The project audits itself."""
    code, out, _ = audited("--self", capsys=capsys)
    assert code == 0, out


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("worker/a.py", "# as Inngest does\n"),
        ("b.py", "import turnout_acme\n"),
        ("c.md", "Trigger.dev\n"),
    ],
)
def test_a_vendor_in_the_core_is_found(
    here: Path, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    """The project's audit of itself is no formality."""
    (here / "core" / name).parent.mkdir(parents=True)
    (here / "core" / name).write_text(text)
    code, out, _ = audited("--self", "core", capsys=capsys)
    assert (code, name in out) == (1, True)


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    """One line, also behind a rule set."""
    line = f"turnout-audit {version('turnout-audit')}\n"
    assert audited("--version", capsys=capsys) == (0, line, "")
    assert audited("inngest", "--version", capsys=capsys) == (0, line, "")


def test_help_imports_no_engine() -> None:
    """Listing commands stays quick."""
    code = (
        "import sys\nfrom turnout_audit.cli.app import run\n"
        "try: run(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'re2', 'ast_grep_py', 'yaml', 'turnout_audit.engine'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_audit_knows_nothing_of_the_rest() -> None:
    """It imports itself."""
    package = Path(audit.__code__.co_filename).parent
    for path in package.rglob("*.py"):
        for name in re.findall(
            r"^\s*(?:from|import) (turnout[\w.]*)", path.read_text(), re.MULTILINE
        ):
            assert re.match(r"turnout_audit\b", name), f"{path}: {name}"


def test_wrong_use_is_told_in_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output stays empty; no inner name of a command is shown, nor in its help."""
    code, out, err = audited("rules.toml", ".", "--json", "--scope", "bad", capsys=capsys)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "'bad' is not one of" in err
    assert err.endswith("audit --help\n")
    code, out, err = audited("history", "--points", "many", capsys=capsys)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.endswith("audit history --help\n")
    code, out, _ = audited("--help", capsys=capsys)
    assert code == 0
    assert "audit find" not in out


@pytest.mark.parametrize("option", ["--to", "--since", "--explain"])
def test_an_option_without_a_value_is_not_ignored(
    here: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    """As where a variable of a script is not set."""
    _git("init", "-q")
    code, out, err = audited("rules.toml", "src", option, "", capsys=capsys)
    assert (code, out, err.count("\n")) == (2, "", 1)


EXAMPLES = """
[[rule]]
id = "tried"
why = "w"
level = "warn"
scope = "code"
match = { text = "acme" }
fix = { kind = "replace", to = "ours" }
example = [
  { language = "shell", code = "acme\\n", expect = [1], fixed = "ours\\n" },
  { language = "shell", code = "ls\\nacme\\n", expect = [2] },
  { language = "shell", code = "acme acme\\n", expect = [1] },
  { language = "shell", code = "a\\n" },
  { language = "shell", code = "b\\n" },
  { language = "shell", code = "c\\n" },
]
"""


def test_a_team_s_own_examples_are_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0 where all hold; 1 with what failed: lines, fixes, too few of them; 2 for no file."""
    own_files = RULES.partition("[[rule]]")[0] + EXAMPLES
    (here / "own.toml").write_text(own_files)
    code, out, _ = audited("check", "own.toml", "triggerdev-v4", capsys=capsys)
    assert (code, out.splitlines()[0]) == (0, "own.toml: 6 examples of 1 rules; faults: 0")
    wrong = own_files.replace("expect = [2]", "expect = [1]").replace(
        'fixed = "ours', 'fixed = "yours'
    )
    (here / "own.toml").write_text(wrong.replace('"c\\n"', '"acme\\n"'))
    code, out, _ = audited("check", "own.toml", "--json", capsys=capsys)
    assert code == 1
    assert json.loads(out)["checked"][0]["faults"] == [
        "rule 'tried': example 1: fixed to 'ours\\n', expected 'yours\\n'",
        "rule 'tried': example 2: found lines [2], expected [1]",
        "rule 'tried': example 6: found lines [1], expected []",
    ]
    code, out, _ = audited("check", "rules.toml", capsys=capsys)
    assert code == 1
    assert "rules.toml: rule 'import': has 0 examples found and 0 not" in out
    assert audited("check", "none.toml", capsys=capsys)[:2] == (2, "")


def test_an_audit_starts_without_heavy_libraries(tmp_path: Path) -> None:
    """A commit hook does not wait for what an audit never uses."""
    (tmp_path / "a.md").write_text("nothing")
    code = (
        "import sys\nfrom turnout_audit.cli.app import run\n"
        f"try: run(['inngest', {str(tmp_path)!r}, '--json'])\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "heavy = {'rich', 'asyncio', 'httpx', 'sqlalchemy', 'turnout'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    """`turnout audit … | head` ends without a complaint."""
    (tmp_path / "a.md").write_text("Inngest is used.\n" * 5_000)
    code = f"from turnout_audit.cli.app import run; run(['inngest', {str(tmp_path)!r}])"
    command = f'{sys.executable} -c "{code}" | head -1; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[1:] == ["1"]


def test_a_place_that_two_matches_of_a_rule_see_is_found_once(tmp_path: Path) -> None:
    """The longer one; a rule of another name finds it, too."""
    rule = '[[rule]]\nid = "%s"\nwhy = "w"\nlevel = "warn"\nscope = "config"\nmatch = [%s]\n'
    texts = ['{ text = "npx acme" }', '{ text = "npx acme dev" }', '{ text = "npx" }']
    head = 'ruleset = "acme"\nversion = "1"\ntitle = "A"\nmarkers = ["acme"]\n'
    text = head + rule % ("all", ", ".join(texts)) + rule % ("one", texts[0])
    (tmp_path / "a.yml").write_text("run: npx acme dev\nthen: npx acme\n")
    report = audit(parse(text, source="x"), [str(tmp_path)])
    found = [(finding.rule, finding.line, finding.matched) for finding in report.findings]
    assert found == [
        ("one", 1, "npx acme"),
        ("all", 1, "npx acme dev"),
        ("all", 2, "npx acme"),
        ("one", 2, "npx acme"),
    ]


def test_what_could_not_be_written_does_not_count_as_fixed(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named instead."""

    def refuse(path: Path, content: bytes) -> None:
        raise PermissionError(13, "Permission denied", str(path), content)

    monkeypatch.setattr(patch, "_replace", refuse)
    code, _, err = audited("rules.toml", "src", "--fix", capsys=capsys)
    assert code == 1
    assert "fixed 0 in 0 files\n" in err
    assert "src/a.ts: not fixed: Permission denied\n" in err

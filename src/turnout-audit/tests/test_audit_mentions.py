"""Nothing that a plain search finds is silent: a finding, exempt for a reason, or unclassified."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turnout_audit.cli.app import run
from turnout_audit.engine import audit
from turnout_audit.load import load, parse
from turnout_audit.model import AuditReport
from turnout_audit.render import render
from turnout_audit.scan import Scanner

CORPUS = Path(__file__).parent / "corpus"
RULES = load("inngest")


def accounted(report: AuditReport) -> set[tuple[str, int]]:
    """List the lines that a report accounts for."""
    findings = {(f.path, n) for f in report.findings for n in range(f.line, f.end_line + 1)}
    listed = (*report.exempted, *report.unclassified)
    return findings | {(mention.path, mention.line) for mention in listed}


@pytest.mark.parametrize("ruleset", ["inngest", "triggerdev"])
@pytest.mark.parametrize("corpus", ["inngest", "triggerdev", "triggerdev-v4", "inngest-v4"])
def test_every_hit_of_grep_is_accounted_for(
    ruleset: str, corpus: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the files that git lists."""
    monkeypatch.chdir(CORPUS / corpus)
    rules = load(ruleset)
    words = [part for word in rules.mentions for part in ("-e", word)]
    command = ["git", "ls-files", "-z", "-c", "-o", "--exclude-standard"]
    files = subprocess.run(command, capture_output=True, check=True).stdout
    search = ["xargs", "-0", "grep", "--text", "-F", "-i", "-n", "-H", "-Z", *words]
    hits = subprocess.run(search, input=files, capture_output=True, check=False).stdout.decode()
    lines = {(m[1], int(m[2])) for m in re.finditer(r"^([^\0\n]+)\0(\d+):", hits, re.MULTILINE)}
    assert lines - accounted(audit(rules, ["."])) == set()


PIECES = st.sampled_from(
    [
        *(
            "inngest",
            "Inngest",
            "INNGEST_KEY",
            "@inngest/x",
            "inngest.com",
            "./inngest/a",
            "inngested",
        ),
        *('"', "'", "`", "\n", " ", "//", "#", "/*", "*/", "<!--", "-->", "{", "}", "(", ")", "= "),
        *(
            "import ",
            "from ",
            "```\n",
            "> ",
            "- ",
            "const a",
            "url: ",
            "\u043c\u0438",
            "\r\n",
            "\\",
            ";",
        ),
    ]
)


@given(
    st.lists(PIECES, max_size=30).map("".join),
    st.sampled_from(
        ["a.ts", "a.py", "a.md", "a.yaml", "a.json", "a.vue", "yarn.lock", "a.sql", ".env"]
    ),
)
@settings(max_examples=300, deadline=None)
def test_no_text_has_a_silent_mention(text: str, path: str) -> None:
    """Whatever stands around it."""
    scan = Scanner(RULES).scan(path, text)
    lines = {number for number, line in enumerate(text.split("\n"), 1) if "inngest" in line.lower()}
    report = AuditReport(
        ruleset="x", findings=scan.findings, exempted=scan.exempted, unclassified=scan.unclassified
    )
    assert {(path, line) for line in lines} - accounted(report) == set()


@pytest.mark.parametrize(
    ("path", "line", "reason"),
    [
        ("a.ts", "// runs on Inngest", "comment"),
        ("a.ts", "/** runs on Inngest */", "comment"),
        ("a.py", "x = 1  # runs on inngest", "comment"),
        ("a.sql", "-- inngest", "comment"),
        ("a.yaml", "a: 1 # inngest", "comment"),
        ("a.ts", "const inngest = make();", "own-name"),
        ("a.py", "def publish(inngest): ...", "own-name"),
        ("a.ts", 'import { client } from "./inngest/client";', "own-name"),
        ("a.ts", 'import { client } from "@/lib/inngest";', "own-name"),
        ("a.ts", 'const queue = "my-inngest-queue";', "own-name"),
        ("a.yaml", "name: inngested", "own-name"),
        ("a.ts", 'const more = "https://www.inngest.com/docs";', "address"),
        ("a.md", "See <https://github.com/inngest/inngest-js>.", "address"),
        ("package.json", '{ "bugs": "https://github.com/inngest/inngest-js/issues" }', "address"),
        ("a.ts", 'throw new Error("Inngest does not answer");', "text"),
        ("a.tsx", "const a = <p>Sent with Inngest</p>;", "text"),
        ("package.json", '{ "description": "Jobs on Inngest" }', "text"),
        ("CHANGELOG.md", "- leave Inngest", "changelog"),
        ("ci.yml", "- run: turnout-audit inngest . --baseline known.json", "audit"),
        ("a.md", "Run `turnout-audit history inngest .` first.", "audit"),
        (
            ".pre-commit-config.yaml",
            "- id: turnout-audit\n  args: [inngest, --baseline, known.json]",
            "audit",
        ),
        (".pre-commit-config.yaml", "- id: turnout-audit\n- id: b\n  args: [inngest]", None),
        ("LICENSE", "Copyright 2025 Inngest, Inc.", "text"),
        ("bun.lock", '"name": "inngest-rooms",', "own-name"),
        ("a.ts", "const url = `${INNGEST_ROOMS}/x`;", "own-name"),
        ("a.py", 'url = f"{INNGEST_ROOMS}/x"', "own-name"),
        ("a.ts", 'import { INNGEST_ROOMS } from "./rooms";', "own-name"),
        ("a.json", '"see inngest/client.ts"', "own-name"),
        ("a.md", "```ts\nimport { inngest } from './bus';\n```", "own-name"),
        ("a.md", "```ts\ndescribe('Inngest is called', run);\n```", "text"),
        ("a.md", "```ts\n@InngestFunction({ id: 'a' })\n```", "own-name"),
        ("a.md", "```yaml\n├── inngest/\n```", "own-name"),
        ("a.ts", 'const kind = "inngest";', None),
        ("a.ts", 'const kind = "@inngest/unheard-of";', None),
        ("a.ts", 'on("inngest/function.failed");', None),
        ("a.ts", 'const name = "INNGEST_ODD_KEY";', None),
        ("a.yaml", "hotel: inngest", None),
        ("a.ts", "const url = `INNGEST_ODD_KEY`;", None),
        ("a.md", "```ts\nconst kind = 'inngest';\n```", None),
        ("a.csv", "inngest;4", None),
    ],
)
def test_a_mention_has_its_reason(path: str, line: str, reason: str | None) -> None:
    """None: it is unclassified."""
    scan = Scanner(RULES).scan(path, f"{line}\n")
    assert scan.findings == ()
    assert [exempted.reason for exempted in scan.exempted] == ([reason] if reason else [])
    assert len(scan.unclassified) == (reason is None)


def test_the_rest_of_a_lock_file_follows_from_its_entries() -> None:
    """Where no entry is found, it is unclassified."""
    entry = (
        '{\n "node_modules/inngest": {\n  "resolved": "https://r.example.com/inngest-3.tgz"\n }\n}'
    )
    scan = Scanner(RULES).scan("package-lock.json", entry)
    assert ([f.line for f in scan.findings], [e.reason for e in scan.exempted]) == ([2], ["lock"])
    assert len(Scanner(RULES).scan("package-lock.json", '"inngest"').unclassified) == 1


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one unclassified mention."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.ts").write_text('const kind = "inngest";\n')
    return tmp_path


def exit_code(*words: str) -> object:
    """Run the command, and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        run(["inngest", ".", *words])
    return ended.value.code


def test_an_unclassified_mention_fails_until_it_is_known_or_allowed(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is listed by file and line."""
    assert exit_code("--json") == 1
    report = json.loads(capsys.readouterr().out)
    text = 'const kind = "inngest";'
    assert report["unclassified"] == [{"path": "a.ts", "line": 1, "text": text}]
    assert (report["findings"], report["summary"]["unclassified"]) == ([], 1)
    assert exit_code("--baseline", "known.json", "--update-baseline") == 0
    assert exit_code("--baseline", "known.json") == 0
    (tree / "a.ts").write_text(f"// turnout-audit: allow unclassified\n{text}\n")
    assert exit_code() == 0


@pytest.mark.parametrize("form", ["text", "markdown", "sarif"])
def test_every_form_of_the_report_lists_it(
    tree: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its file and its line."""
    assert tree
    assert exit_code("--format", form) == 1
    output = capsys.readouterr().out
    assert "a.ts" in output
    assert "nclassified" in output


def test_a_binary_file_that_holds_a_word_is_unclassified(tree: Path) -> None:
    """It is named as a whole."""
    (tree / "a.ts").write_bytes(bytes(range(9)) * 50 + b"Inngest")
    report = audit(RULES, ["."])
    assert [(mention.path, mention.line) for mention in report.unclassified] == [("a.ts", 0)]
    for form, place in (("text", "  a.ts\n             (a binary"), ("markdown", "| `a.ts` | `(a")):
        assert place in render(report, RULES, form)


def test_a_rule_set_without_mentions_accounts_for_nothing(tree: Path) -> None:
    """An upgrade between versions of a vendor leaves its name where it is."""
    assert tree
    assert audit(load("inngest-v4"), ["."]).unclassified == ()
    text = (
        'ruleset = "acme"\nversion = "1"\ntitle = "A"\nmarkers = ["acme"]\nmentions = ["kind"]\n'
        '[[rule]]\nid = "a"\nwhy = "w"\nlevel = "warn"\nscope = "code"\nmatch = { text = "acme" }\n'
    )
    assert len(audit(parse(text, source="x"), ["."]).exempted) == 1

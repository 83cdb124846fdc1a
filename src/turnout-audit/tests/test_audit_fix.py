"""Fixes of the corpus's projects: idempotent, safe or not, and modest."""

import json
import subprocess
from functools import cache
from pathlib import Path

import pytest
from turnout_audit import fix
from turnout_audit.load import load
from turnout_audit.patch import mended_text, plan
from turnout_audit.scan import Scanner
from turnout_audit.source import decode

ROOT = Path(__file__).resolve().parents[3]
CORPUS = ROOT / "src" / "turnout-audit" / "tests" / "corpus"
TREES = ("inngest", "triggerdev", "triggerdev-v4", "inngest-v4")


@cache
def scanner(ruleset: str) -> Scanner:
    """Prepare a rule set, once."""
    return Scanner(load(ruleset))


def texts(ruleset: str) -> dict[str, str]:
    """Read the corpus's tree of a rule set."""
    tree = CORPUS / ruleset
    return {
        path.relative_to(tree).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(tree.rglob("*"))
        if path.is_file() and path.name != "labels.toml"
    }


@pytest.mark.parametrize("unsafe", [False, True])
@pytest.mark.parametrize("ruleset", TREES)
def test_fixing_twice_changes_nothing_more(ruleset: str, unsafe: bool) -> None:
    """A fix proposes nothing on its own result."""
    for path, text in texts(ruleset).items():
        once = mended_text(scanner(ruleset), path, text, unsafe=unsafe)
        twice = mended_text(scanner(ruleset), path, once.text, unsafe=unsafe)
        assert twice.text == once.text, path


def test_safe_fixes_change_import_paths_only_in_code() -> None:
    """Without the unsafe fixes, a script's lines differ by the module's path alone."""
    for path, text in texts("triggerdev-v4").items():
        mended = mended_text(scanner("triggerdev-v4"), path, text, unsafe=False)
        undone = mended.text.replace("@trigger.dev/sdk", "@trigger.dev/sdk/v3")
        assert undone.replace("/v3/v3", "/v3").replace("/v3/ai", "/ai") == text.replace(
            '"@trigger.dev/sdk"', '"@trigger.dev/sdk/v3"'
        ).replace("`@trigger.dev/sdk`", "`@trigger.dev/sdk/v3`"), path


def test_what_is_not_understood_is_left_alone_and_named() -> None:
    """A hook defined elsewhere, one that takes its context whole, a queue named at run time."""
    path = "leftovers/trigger/hooks.ts"
    mended = mended_text(scanner("triggerdev-v4"), path, texts("triggerdev-v4")[path], unsafe=True)
    reasons = {left.reason for left in mended.unfixed}
    assert "takes its last parameter whole: destructure it first" in reasons
    assert "async (payload, error, params) => log(error, params)" in mended.text
    assert "onStartAttempt: log," in mended.text
    path = "leftovers/trigger/waits.ts"
    mended = mended_text(scanner("triggerdev-v4"), path, texts("triggerdev-v4")[path], unsafe=True)
    reasons = {left.reason for left in mended.unfixed}
    assert "its name or limit is only known at run time" in reasons
    assert "queue: { name: payload.user, concurrencyLimit: 1 }" in mended.text


def test_a_fix_in_a_document_s_code_is_by_words_only() -> None:
    """A fence is no file: what needs a syntax tree is named, the import path is fixed."""
    path = "leftovers/docs/tasks.md"
    mended = mended_text(scanner("triggerdev-v4"), path, texts("triggerdev-v4")[path], unsafe=True)
    assert mended.text.count("@trigger.dev/sdk/v3") == 1  # the changelog keeps its own
    assert "metadata.stream(" in mended.text
    assert any("part of a file" in left.reason for left in mended.unfixed)


def test_documents_are_mended_by_the_concept_table() -> None:
    """Concepts by the table are safe; the bare name needs a look; exempt parts stay."""
    path = "agent-service/docs/orchestration.md"
    text = texts("inngest")[path]
    safe = mended_text(scanner("inngest"), path, text, unsafe=False).text
    assert "The Trigger.dev task triggers carries" in safe
    assert "Trigger.dev task steps and Trigger.dev scheduled tasks" in safe
    assert "sends with `inngest.send()`" in safe
    assert "An Inngest run has at most" in safe
    unsafe = mended_text(scanner("inngest"), path, text, unsafe=True).text
    assert "An Orchestrator (Trigger.dev) run has at most" in unsafe
    assert "sends with Orchestrator Adapter" in unsafe
    assert "> **Deprecated:** Inngest is being replaced" in unsafe
    assert "Inngest ran our crons until 2024." in unsafe


def test_a_call_that_nobody_waits_for_is_rewritten() -> None:
    """A statement of its own has no promise to lose; one that is handed on is left alone."""
    first = 'import { metadata as md } from "@trigger.dev/sdk";\n'
    text = f'{first}md.stream("s", stream);\nuse(md.stream("t", stream));\n'
    mended = mended_text(scanner("triggerdev-v4"), "a.ts", text, unsafe=True)
    assert 'streams.pipe("s", stream);\nuse(md.stream("t", stream));' in mended.text
    assert [left.reason for left in mended.unfixed] == ["its promise is used as a value"]


def test_only_an_import_s_own_string_is_a_safe_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain string may mean anything, in code, in a document's code and in a configuration."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "package.json").write_text('{"dependencies": {"@trigger.dev/sdk": "4.4.3"}}')
    old, new = "@trigger.dev/sdk/v3", "@trigger.dev/sdk"
    imports = {
        "a.ts": 'import { task } from "OLD";\nexport * from "OLD";\nconst a = require("OLD");\n'
        'jest.mock("OLD", () => 1);\nconst b = await import("OLD");\nimport "OLD";\n'
        'import c = require("OLD");\nvi.mock(import("OLD"));\n',
        "a.md": '```ts\nimport {\n  a,\n} from "OLD";\nconst b = require("OLD");\n```\n',
        "a.vue": '<script>\nimport { a } from "OLD";\n</script>\n',
    }
    for path, text in imports.items():
        mended = mended_text(scanner("triggerdev-v4"), path, text.replace("OLD", old), unsafe=False)
        assert mended.text == text.replace("OLD", new)
    plain = {
        "b.ts": 'const s = "OLD";\nlog(`import "OLD"`);\n',
        "b.md": '```ts\nconst s = "OLD";\n```\n',
        "b.json": '{"types": ["OLD"]}\n',
    }
    for path, text in plain.items():
        before = text.replace("OLD", old)
        mended = mended_text(scanner("triggerdev-v4"), path, before, unsafe=False)
        assert mended.text == before
        assert {left.reason for left in mended.unfixed} == {fix.NEEDS_A_LOOK}
        mended = mended_text(scanner("triggerdev-v4"), path, before, unsafe=True)
        assert mended.text == text.replace("OLD", new)


@pytest.mark.parametrize(
    ("version", "fixed"),
    [("^3.3.17", False), ("4.4.3", True), ("^4", True), ("latest", False), (None, False)],
)
def test_a_path_of_the_sdk_is_changed_only_where_the_package_has_it(
    tmp_path: Path, version: str | None, *, fixed: bool
) -> None:
    """By the nearest manifest that lists the package; where none says so, it needs a look."""
    manifest = {"dependencies": {"@trigger.dev/sdk": version} if version else {}}
    (tmp_path / "package.json").write_text(json.dumps(manifest))
    text = 'import { task } from "@trigger.dev/sdk/v3";\n'
    scanner = Scanner(load("triggerdev-v4"))
    mended = mended_text(scanner, str(tmp_path / "src" / "a.ts"), text, unsafe=False)
    assert (mended.text != text) is fixed
    assert bool(mended.unfixed) is not fixed


@pytest.mark.parametrize(
    "text",
    [
        "1. Sign up for Inngest Cloud: https://app.inngest.com\n2. Register an Inngest endpoint\n",
        "| Inngest event bus | Trigger.dev task triggers |\n|---|---|\n| Inngest Cloud | x |\n",
    ],
)
def test_prose_that_is_true_of_one_vendor_is_left_alone(text: str) -> None:
    """Beside an address, and in a table of both."""
    mended = mended_text(Scanner(load("inngest")), "docs/a.md", text, unsafe=True)
    assert mended.text == text
    assert mended.unfixed


@pytest.mark.parametrize(
    "raw",
    [
        b"The Inngest event bus carries it.\n",
        b"\xef\xbb\xbfThe Inngest event bus carries it.\r\n\r\nEnd\r\n",
        b"The Inngest event bus \x0c carries it.\n\xe2\x80\xa8 and \xc2\x85 more",
        b"Before\n\n\n\nThe Inngest event bus carries it.",
    ],
)
def test_a_preview_is_a_patch_that_git_applies(tmp_path: Path, raw: bytes) -> None:
    """With a byte-order mark, odd separators, and without a last line's end."""
    file = tmp_path / "a b.md"
    file.write_bytes(raw)
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    findings = Scanner(load("inngest")).scan("a b.md", decode(raw)[0]).findings
    with pytest.MonkeyPatch.context() as patches:
        patches.chdir(tmp_path)
        planned = plan(scanner("inngest"), findings, unsafe=False)
    diff = "".join(change.diff() for change in planned.changes)
    subprocess.run([*git, "apply"], input=diff.encode("utf-8", "replace"), check=True)
    expected = planned.changes[0].after
    assert decode(file.read_bytes())[0] == expected

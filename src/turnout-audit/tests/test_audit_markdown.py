"""Documents: mentions that count, and mentions that are exempt, in four languages."""

from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from turnout_audit.load import parse
from turnout_audit.markdown import _blocks
from turnout_audit.scan import Scanner

RULES = """
ruleset = "acme"
version = "1"
title = "Acme"
markers = ["acme"]

[prose]
historical = ["souvenirs"]

[[rule]]
id = "prose"
why = "w"
level = "warn"
scope = "docs"
match = { prose = "acme" }

[[rule]]
id = "import"
why = "w"
level = "error"
scope = "code"
match = { import = "acme" }

[[rule]]
id = "env"
why = "w"
level = "error"
scope = "config"
match = { env = "ACME_*" }
"""


def scanned(
    text: str, path: str = "docs/page.md", rules: str = RULES
) -> tuple[list[str], list[tuple[int, str]]]:
    """The lines found, by rule, and the lines exempt with their reasons."""
    scan = Scanner(parse(rules, source="x")).scan(path, text)
    for finding in scan.findings:
        assert text[finding.start : finding.end] == finding.matched
    found = [f"{finding.rule}:{finding.line}" for finding in scan.findings]
    return found, [(each.line, each.reason) for each in scan.exempted]


def test_a_mention_counts() -> None:
    """In text, inline code, tables, lists, headings and file names; not in an address or a word."""
    text = (
        "# Acme\n\nAcme and `acme.send()` in MY_ACME_PLAN.md.\n\n"
        "| Acme | x |\n|---|---|\n\n- acme\n\n"
        "See https://acme.dev/docs and acmetology.\n"
    )
    found, exempt = scanned(text)
    assert found == ["prose:1", "prose:3", "prose:3", "prose:3", "prose:5", "prose:8"]
    assert exempt == []


@pytest.mark.parametrize(
    "banner",
    [
        "> ⚠️ DEPRECATED: we use another one.",
        "> **Deprecated.** Superseded by ours.",
        "> [!WARNING]\n> Deprecated: see the new page.",
        ":::warning Deprecated\nUse ours.\n:::",
        "!!! warning\n    This page is obsolete.",
        "<Warning>Deprecated, use ours.</Warning>",
        "**DEPRECATED** — use ours.",
        "⚠️ Застаріло: див. нову сторінку.",
        "> ⚠️ Замінено на NEW.md",
        "> ⚠️ 지원 중단: 새 문서를 보세요.",
        "> ⚠️ 非推奨: 新しい文書を参照。",
        "> 廃止されました。",
    ],
)
def test_below_a_banner_at_the_top_nothing_counts(banner: str) -> None:
    """The document is history, its fences too, in every language."""
    text = f'# Page\n\n{banner}\n\nAcme here.\n\n## Two\n\nAcme.\n\n```ts\nimport "acme";\n```\n'
    found, exempt = scanned(text)
    assert found == []
    assert {reason for _, reason in exempt} == {"banner"}
    assert len(exempt) == 3


def test_a_banner_in_a_section_ends_with_it() -> None:
    """What stands in the next section counts."""
    text = "# P\n\n## A\n\n> Deprecated: moved.\n\nAcme.\n\n## B\n\nAcme.\n"
    assert scanned(text) == (["prose:11"], [(7, "banner")])


def test_a_late_word_exempts_only_its_own_block() -> None:
    """A note that says, somewhere, that the vendor is deprecated does not excuse the page."""
    text = "# P\n\n> Note well: since spring our use of Acme is deprecated.\n\nAcme runs it.\n"
    assert scanned(text) == (["prose:5"], [(3, "banner")])


def test_a_banner_about_something_else_excuses_nothing() -> None:
    """The block must name the vendor, or open with the word."""
    text = "# P\n\n> Note that the old export to CSV is deprecated.\n\nAcme runs it.\n"
    assert scanned(text) == (["prose:5"], [])


@pytest.mark.parametrize(
    ("heading", "reason"),
    [
        ("Glossary", "glossary"),
        ("Глосарій", "glossary"),
        ("용어집", "glossary"),
        ("用語集", "glossary"),
        ("Changelog", "changelog"),
        ("Журнал змін", "changelog"),
        ("변경 이력", "changelog"),
        ("変更履歴", "changelog"),
        ("Historical notes", "historical"),
        ("Історична довідка", "historical"),
        ("이전 아키텍처", "historical"),
        ("旧アーキテクチャ", "historical"),
        ("Legacy", "historical"),
        ("3. History", "historical"),
        ("Souvenirs", "historical"),
    ],
)
def test_marked_sections_are_exempt_to_their_end(heading: str, reason: str) -> None:
    """Glossaries, changelogs, history, in four languages and by a team's own words."""
    text = (
        f"# P\n\nAcme.\n\n## {heading}\n\n- **Acme** — x\n\n### Sub\n\nAcme.\n\n## Live\n\nAcme.\n"
    )
    assert scanned(text) == (["prose:3", "prose:15"], [(7, reason), (11, reason)])


@pytest.mark.parametrize(
    "heading", ["Run history", "Історія запусків", "실행 이력 보기", "Changes to Acme"]
)
def test_headings_that_only_sound_marked_are_not(heading: str) -> None:
    """The history of runs is not the history of the project."""
    found, exempt = scanned(f"# P\n\n## {heading}\n\nAcme.\n")
    assert "prose:5" in found
    assert exempt == []


@pytest.mark.parametrize(
    ("path", "reason"),
    [("GLOSSARY.md", "glossary"), ("docs/ГЛОСАРІЙ.md", "glossary"), ("CHANGELOG.md", "changelog")],
)
def test_whole_documents_are_marked_by_their_names(path: str, reason: str) -> None:
    """A glossary is a glossary."""
    assert scanned("# X\n\n- Acme — x\n", path) == ([], [(3, reason)])


def test_a_glossary_entry_can_be_asked_to_be_marked() -> None:
    """`glossary = "marked"`: the entry must say deprecated."""
    rules = RULES.replace('{ prose = "acme" }', '{ prose = "acme", glossary = "marked" }')
    text = (
        "# Glossary\n\n- **Acme** — the queue.\n- **Acme 1** — deprecated → ours\n\n"
        "| Acme | застаріле |\n"
    )
    assert scanned(text, "GLOSSARY.md", rules) == (
        ["prose:3"],
        [(4, "glossary"), (6, "glossary")],
    )


def test_fences_are_read_in_their_language() -> None:
    """Also when indented, quoted or in a list; places are those of the document."""
    text = (
        '# P\n\n```ts\nimport "acme";\n```\n\n- item\n\n  ```python\n  import acme\n  ```\n\n'
        '> ```js\n> require("acme");\n> ```\n\n```bash\nexport X=1\n```\n'
        "\n```env\nACME_KEY=1\n```\n"
        "\n~~~yaml\nenv:\n  ACME_KEY: 1\n~~~\n"
    )
    assert scanned(text)[0] == ["import:4", "import:10", "import:14", "env:22", "env:27"]


def test_a_fence_of_no_language_is_prose() -> None:
    """A drawing that names the vendor is a mention; a comment in a known language is none."""
    assert scanned("```\nAcme -> worker\n```\n\n```ts\n// Acme\n```\n")[0] == ["prose:2"]


def test_modules_of_mdx_are_read() -> None:
    """MDX imports at the top are code."""
    assert scanned('import { X } from "acme";\n\n# P\n', "a.mdx")[0] == ["import:1"]


def test_a_fence_that_is_never_closed_ends_with_the_document() -> None:
    """Nothing is lost, nothing loops."""
    assert scanned('```ts\nimport "acme";\n')[0] == ["import:2"]


PAGES = sorted(Path(__file__).parents[3].glob("**/*.md"))


def test_markdown_is_read_as_a_library_reads_it() -> None:
    """The fences and headings of every page of this repository are those of CommonMark."""
    library = MarkdownIt("commonmark").enable("table")
    pages = [page for page in PAGES if not {".venv", "node_modules"} & set(page.parts)]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        if text.startswith("---\n"):  # front matter is no part of CommonMark
            continue
        tokens = library.parse(text)
        blocks = list(_blocks(text.split("\n"), mdx=False))
        fences = [(block.first, block.last) for block in blocks if block.kind == "fence"]
        assert fences == [tuple(t.map) for t in tokens if t.type == "fence" and t.map], page
        headings = [block.first for block in blocks if block.kind == "heading"]
        assert headings == [t.map[0] for t in tokens if t.type == "heading_open" and t.map], page
    assert len(pages) > 20

"""Fixes of prose leave names and code alone, and say so."""

from functools import cache

import pytest
from turnout_audit.load import load
from turnout_audit.patch import FixedText, mended_text
from turnout_audit.scan import Scanner

NEW = "Orchestrator (Trigger.dev)"


@cache
def scanner() -> Scanner:
    """Prepare the rule set, once."""
    return Scanner(load("inngest"))


def mended(text: str, path: str = "docs/a.md", *, unsafe: bool = True) -> FixedText:
    """Fix a document."""
    return mended_text(scanner(), path, text, unsafe=unsafe)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("docs/a.md", "The inngest_client in plain text.\n"),
        ("docs/a.md", "The _inngest of ours.\n"),
        ("docs/a.md", "The inngest_ of ours.\n"),
        ("docs/a.md", "See inngest.send, inngest-js, @inngest/x, inngest(x) and x.inngest.\n"),
        ("docs/a.md", "A <Inngest /> component, `an inngest one`, ``a ` inngest``.\n"),
        ("docs/a.md", "Run:\n\n```\ninngest dev\n```\n"),
        ("docs/a.md", "Run:\n\n~~~mermaid\nA --> Inngest\n~~~\n"),
        ("docs/a.md", "Run:\n\n    inngest dev\n    We use Inngest here\n\nDone.\n"),
        ("docs/a.md", "- Run:\n\n      inngest dev\n"),
        ("docs/a.md", "A span `over\nInngest lines` here.\n"),
        ("docs/a.md", "Then import inngest and $ npx inngest dev.\n"),
        ("docs/a.md", "$ inngest dev\n"),
        ("docs/a.md", "<pre>\nInngest calls\n</pre>\n"),
        ("docs/a.rst", "Run this::\n\n   import inngest\n\nDone.\n"),
        ("docs/a.rst", "A\n\n.. code-block:: text\n   :linenos:\n\n   Inngest here\n"),
        ("docs/a.rst", "Say ``the Inngest client`` here, or Inngest_.\n"),
        ("docs/a.adoc", "----\nInngest runs\n----\n"),
        ("docs/a.org", "#+BEGIN_SRC sh\nthe Inngest cli\n#+END_SRC\n"),
        ("docs/a.md", "```\nthe Inngest Cloud console\n```\n"),
        ("docs/a.md", "Use `await inngest.send()`.\n"),
        ("docs/a.md", "Open Inngest Cloud at app.inngest.com now.\n"),
        ("docs/a.md", "Mail help@inngest.com about Inngest Cloud.\n"),
        ("docs/a.md", "Sign up for Inngest Cloud:\n\n    https://example.org/in\n"),
        ("docs/a.md", "- Sign up for Inngest Cloud\n\n  Open https://example.org/in\n"),
        ("docs/a.md", "Sign up for Inngest Cloud:\r\n\r\nhttps://example.org/in\r\n"),
        ("docs/a.md", "Set INNGEST_EVENT_KEY from Inngest Cloud.\n"),
        ("docs/a.md", "The Inngest event bus, from the package @inngest/test.\n"),
        ("docs/a.md", "The Inngest event bus\nbecomes Trigger.dev task triggers.\n"),
        ("docs/a.md", "Part | Old | Trigger.dev\n---|---|---\nA | Inngest event bus | b\n"),
        ("docs/a.md", "See the [Inngest Cloud] page.\n"),
    ],
)
def test_names_and_code_are_left_alone_and_named(path: str, text: str) -> None:
    """Whatever the table says."""
    found = mended(text, path)
    assert found.text == text
    assert found.unfixed


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("docs/a.md", "We use Inngest.\n", f"We use {NEW}.\n"),
        ("docs/a.md", "We use Inngest. And Inngest, too; (Inngest)!", None),
        ("docs/a.md", "We use **Inngest**, _Inngest_ and *Inngest*.\r\nInngest runs.\r\n", None),
        ("docs/a.md", "| Inngest | yes |\n|Inngest|no|\n", None),
        ("docs/a.md", "- One:\n\n    Inngest runs it.\n  - Two:\n    Inngest\n", None),
        ("docs/a.md", "!!! note\n    Inngest runs it.\n", None),
        ("docs/a.md", "A paragraph\n    that goes on with Inngest.\n", None),
        ("docs/a.md", "```sh\nls\n```\n\nWe use Inngest: always.\n", None),
        ("docs/a.rst", "Note\n====\n\n.. note::\n\n   Inngest runs it.\n", None),
        ("docs/a.adoc", "----\nls\n----\n\nInngest runs.\n", None),
    ],
)
def test_a_word_of_its_own_is_replaced(path: str, old: str, new: str | None) -> None:
    """A full stop ends a sentence, not a name."""
    assert mended(old, path).text == (new or old.replace("Inngest", NEW))


def test_a_code_span_is_no_safe_fix() -> None:
    """The table names it whole, so it can be replaced, by somebody who looks."""
    text = "Use `inngest.send()`.\n"
    found = mended(text, unsafe=False)
    assert found.text == text
    assert "needs a look" in found.unfixed[0].reason
    assert mended(text).text == "Use Orchestrator Adapter.\n"

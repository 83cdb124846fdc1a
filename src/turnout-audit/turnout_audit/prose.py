"""Finders for mentions in documents."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from turnout_audit.markdown import Outline, prose_fence
from turnout_audit.markers import Markers
from turnout_audit.nodes import inside
from turnout_audit.ruleset import ProseMatch
from turnout_audit.source import Hit
from turnout_audit.text import compiled
from turnout_audit.view import groups, line_of

_ADDRESS = re.compile(r"(?:://|[wW]{3}\.)[^\s<>\"'`|\\^{}]+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}$")
_INLINE = re.compile(r"(`+)(?!`)(?:[^`\n]|\n(?!\n)){1,1000}?\1(?!`)")
ENTRY = 4000
"""Characters of a glossary entry that are read."""
_ENTRY = re.compile(r"^\s*(?:[-*+]|\d+[.)]|\|)\s*")


@dataclass(frozen=True)
class Page:
    """A document as prose: everything but fences in a known language."""

    document: Outline
    markers: Markers

    @property
    def text(self) -> str:
        """Return the whole text."""
        return self.document.source.text

    @cached_property
    def addresses(self) -> list[tuple[int, int]]:
        """List where web addresses stand."""
        places = [place.span() for place in _ADDRESS.finditer(self.text)]
        return [(self._scheme(start), end) for start, end in places]

    def _scheme(self, start: int) -> int:
        """Return the offset at which an address starts, from the offset behind its scheme."""
        before = max(0, start - 31)
        scheme = _SCHEME.search(self.text[before:start]) if self.text[start] == ":" else None
        return before + scheme.start() if scheme else start

    @cached_property
    def inline(self) -> list[tuple[int, int]]:
        """List where inline code stands."""
        return [code.span() for code in _INLINE.finditer(self.text)]


def find_prose(match: ProseMatch) -> Any:
    """Find mentions; the finder takes a Page and gives the reason why a mention is exempt."""
    joined = "|".join(f"(?:{word})" for word in match.prose)
    pattern = compiled(joined, ignore_case=True)
    marked = compiled(match.marked, ignore_case=True) if match.marked else None

    def find(page: Page) -> Iterator[tuple[Hit, str | None]]:
        """Find the rule's matches."""
        for mention in pattern.finditer(page.text):
            start, end = mention.span()
            if start < end and _counts(page, match, start, end):
                hit = Hit(start=start, end=end, captured=groups(mention))
                reason = _reason(page, match, start)
                if reason is None and marked and marked.search(_entry(page, start)):
                    reason = "marked"
                yield hit, reason

    return find


def _counts(page: Page, match: ProseMatch, start: int, end: int) -> bool:
    text = page.text
    if (start and _wordy(text[start - 1]) and _wordy(text[start])) or (
        end < len(text) and _wordy(text[end - 1]) and _wordy(text[end])
    ):
        return False
    block = page.document.block_at(start)
    if block is not None and block.kind == "fence" and not prose_fence(block):
        return False
    if block is not None and block.kind == "comment":
        return False
    if not match.urls and inside(page.addresses, start):
        return False
    if not match.only:
        return True
    part = (
        "fence"
        if block and block.kind == "fence"
        else "inline"
        if inside(page.inline, start)
        else "text"
    )
    return part in match.only


def _wordy(letter: str) -> bool:
    """Latin letters and digits make words; `_` does not, so ACME_PLAN.md mentions Acme."""
    return letter.isalnum() and (letter.isascii() or "\u0400" <= letter <= "\u052f")


def _reason(page: Page, match: ProseMatch, offset: int) -> str | None:
    document = page.document
    reason = document.exemption(offset)
    if reason != "glossary" or match.glossary == "exempt":
        return reason
    if page.markers.deprecated.search(_entry(page, offset)) is not None:
        return "glossary"
    return document.exemption(offset, glossary=False)


def _entry(page: Page, offset: int) -> str:
    """Return a glossary's entry: a table's row, a list's item, or the paragraph and its heading."""
    line, start = line_of(page.text, offset)
    if _ENTRY.match(line):
        after = start + len(line)
        following_lines = page.text[after : after + ENTRY].split("\n")[1:]
        continued = []
        for following in following_lines:
            if not following.startswith((" ", "\t")) or _ENTRY.match(following):
                break
            continued.append(following)
        return "\n".join([line, *continued])
    document = page.document
    at = document.index_at(offset)
    if at is None:
        return line
    block = document.blocks[at]
    before, later = document.blocks[max(0, at - 1)], document.blocks[at + 1 : at + 2]
    first = before if before.kind == "heading" else block
    last = later[0] if later and block.kind == "heading" else block
    start, end = document.offset(first.first), document.offset(last.last)
    return page.text[start : min(end, start + ENTRY)]

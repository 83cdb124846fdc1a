"""Documents: which parts are prose, which are fences in a language, and where mentions are exempt.

It reads the outline of Markdown, MDX and reStructuredText, line by line; it is no full parser.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from turnout_audit import kinds
from turnout_audit.markers import Markers
from turnout_audit.model import Reason
from turnout_audit.ruleset import Language
from turnout_audit.source import Segment, SourceText

LEAST_MARKS = 3
"""Of an underline that makes a heading."""
FAR = 400
"""Lines after which something that was opened counts as never closed."""
NEAR = 2000
"""Characters in which a comment that allows a finding is looked for."""
_FENCE = re.compile(
    r"^(?P<indent>[ \t]*(?:>[ \t]?)*(?:[-*+][ \t]+|\d+[.)][ \t]+)?[ \t]*)"
    r"(?P<mark>`{3,}|~{3,})(?P<tag>[^`]*)$"
)
_HEADING = re.compile(r"^[ \t]{0,3}(?P<level>#{1,6})[ \t]+(?P<title>.*?)[ \t#]*$")
_UNDERLINE = re.compile(r"^(?P<mark>=|-|~|\^|\"|\*)(?P=mark){2,}[ \t]*$")
_COMPONENT = re.compile(
    r"^\s*<(?P<tag>Warning|Note|Info|Tip|Callout|Caution|Danger|Admonition|Aside|Alert|Banner|Deprecated|details|div|blockquote)\b",
    re.IGNORECASE,
)
_ADMONITION = re.compile(r"^\s*(?P<mark>:::+|!!!|\?\?\?\+?)\s*\S|^\.\. [\w-]+::")
_BOLD = re.compile(
    r"^\s*(?:[^\w\s<>*_#|-]\ufe0f?\s*)*(?:\*\*|__|[^\w\s<>*_#|`\[\](){}\"'.,:;!?/+-])"
)
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s")
_CLEAN = re.compile(
    r"\[!\w+\]|^\s*>+|[*_`#<>!:]+|\b(?:warning|note|caution|danger|important|callout|type|title)\b",
    re.IGNORECASE | re.MULTILINE,
)
_MATTER = re.compile(
    r"^(deprecated:\s*true|status:\s*['\"]?(deprecated|archived|superseded|obsolete))",
    re.MULTILINE | re.IGNORECASE,
)
_STATUS = re.compile(
    r"^[-*\s|]*(?:status|статус|상태|ステータス|状態)\W{1,6}(?:superseded|deprecated|obsolete|archived|rejected"
    r"|withdrawn|замінено|застаріло|архів|대체|폐기|廃止|置換)",
    re.MULTILINE | re.IGNORECASE,
)
"""The status of a decision that no longer holds."""
_SHELVED = re.compile(
    r"(?:^|/)(?:_?archived?|attic|superseded|obsolete|old[-_]?docs)/", re.IGNORECASE
)
_DATED = re.compile(
    r"(?:^|/)(?:[^/]*post-?mortems?|incidents?|retros?)(?:/|[-_][^/]*)\S*\d{4}-?\d\d", re.IGNORECASE
)
_NO_CHANGELOG = re.compile(
    r"(?:changelog|release notes)s?[\s-]+(?:generat|agent|bot|writer|tool|app\b|service|template)",
    re.IGNORECASE,
)
"""Programs that write changelogs have documents, too."""
_BEFORE_A_MARK = "([{|:/\u2014\u2013-\uff08\uff1a\u3010\u300c"
_ALLOW = re.compile(r"turnout-audit:\s*allow\b(?P<rules>[^\n>*]*)")


@dataclass(slots=True)
class Block:
    """Lines that belong together: from `first` to before `last`, counted from 0."""

    kind: Literal["heading", "paragraph", "quote", "admonition", "comment", "matter", "fence"]
    first: int
    last: int
    level: int = 0
    title: str = ""
    tag: str = ""
    indent: str = ""


class Outline:
    """A document's blocks, and which of its lines are exempt."""

    def __init__(self, source: SourceText, blocks: list[Block]) -> None:
        self.source = source
        self.blocks = blocks
        self._firsts = [block.first for block in blocks]
        self._reasons: list[Reason | None] = [None] * (len(source.starts) + 1)
        self._glossary = bytearray(len(source.starts) + 1)

    def offset(self, line: int) -> int:
        """Return the offset at which a line starts, counted from 0; else the end of the text."""
        starts = self.source.starts
        return starts[line] if line < len(starts) else len(self.source.text)

    def index_at(self, offset: int) -> int | None:
        """Find the number of the block around an offset."""
        line = self.source.line(offset) - 1
        at = bisect_right(self._firsts, line) - 1
        return at if at >= 0 and line < self.blocks[at].last else None

    def block_at(self, offset: int) -> Block | None:
        """Find the block around an offset."""
        at = self.index_at(offset)
        return None if at is None else self.blocks[at]

    def banner(self) -> str:
        """Return the text of the first banner; empty where there is none."""
        starts = ((self.offset(block.first), self.offset(block.last)) for block in self.blocks)
        banners = (span for span in starts if self.exemption(span[0], glossary=False) == "banner")
        start, end = next(banners, (0, 0))
        return self.source.text[start:end]

    def exempt(self, first: int, last: int, reason: Reason) -> None:
        """Exempt lines, if their first one is not exempt for this reason already."""
        if reason == "glossary":
            if not self._glossary[first]:
                self._glossary[first:last] = b"\1" * (min(last, len(self._glossary)) - first)
        elif self._reasons[first] != reason:
            for line in range(first, min(last, len(self._reasons))):
                self._reasons[line] = self._reasons[line] or reason

    def exemption(self, offset: int, *, glossary: bool = True) -> Reason | None:
        """Say why a mention here does not count, or None."""
        line = self.source.line(offset) - 1
        return "glossary" if glossary and self._glossary[line] else self._reasons[line]


def read(source: SourceText, markers: Markers) -> Outline:
    """Read a document's outline and find its exempt parts."""
    lines = source.text.split("\n")
    blocks = list(_blocks(lines, mdx=source.path.endswith(".mdx")))
    document = Outline(source, blocks)
    _exempt(document, lines, markers)
    return document


def segments(document: Outline) -> Iterator[Segment]:
    """Return the fences that are in a known language."""
    path = document.source.path
    for block in document.blocks:
        language = kinds.of_fence(block.tag) if block.kind == "fence" else None
        if language is not None:
            yield _segment(document, block, language, path)


def fences(text: str, *, mdx: bool) -> Iterator[tuple[int, int]]:
    """Return the fences of any language by their lines, counted from 0, marks included."""
    for block in _blocks(text.split("\n"), mdx=mdx):
        if block.kind == "fence":
            yield block.first, block.last


def prose_fence(block: Block) -> bool:
    """Say whether a fence is of no known language, and so read as prose."""
    return block.kind == "fence" and kinds.of_fence(block.tag) is None


def _segment(document: Outline, block: Block, language: Language, path: str) -> Segment:
    """Cut a fence out, without the indent and the quote marks before its lines."""
    first, last = block.first + 1, max(block.first + 1, block.last - 1)
    if block.tag == "mdx-module":
        first, last = block.first, block.last
    text = document.source.text
    pieces, starts, origins, at = [], [], [], 0
    for number in range(first, last):
        start, end = document.offset(number), document.offset(number + 1)
        line = text[start:end]
        cut = _cut(line, block.indent)
        pieces.append(line[cut:])
        starts.append(at)
        origins.append(start + cut)
        at += len(line) - cut
    return Segment(path, "".join(pieces), language, starts or [0], origins or [0], fenced=True)


def _cut(line: str, indent: str) -> int:
    """Count the characters of a line that are the fence's own indent."""
    cut = 0
    for mark in indent:
        if cut < len(line) and (line[cut] == mark or (line[cut] == " " and mark in "\t ")):
            cut += 1
        elif mark == ">" or (mark in "-*+" and cut < len(line) and line[cut] == " "):
            cut += 1 if cut < len(line) and line[cut] in "> " else 0
        else:
            break
    return cut


# -- blocks ----------------------------------------------------------------------------------------


def _blocks(lines: Sequence[str], *, mdx: bool) -> Iterator[Block]:
    at = 0
    closers = _Closers(lines)
    if lines and lines[0].rstrip() == "---":
        end = next((n for n in range(1, min(len(lines), 500)) if lines[n].rstrip() == "---"), None)
        if end is not None:
            yield Block("matter", 0, end + 1)
            at = end + 1
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        block = _block(lines, at, closers, mdx=mdx)
        yield block
        at = max(block.last, at + 1)


class _Closers:
    """Where what was opened is closed, each kind looked for once."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = lines
        self.lowered: list[str] = []
        self.places: dict[str, list[int]] = {}

    def after(self, at: int, closing: str) -> int | None:
        """Return the line after the next closing one, if it is not far."""
        closing = closing.lower()
        if closing not in self.places:
            self.lowered = self.lowered or [line.lower() for line in self.lines]
            lines = enumerate(self.lowered)
            self.places[closing] = [number for number, line in lines if closing in line]
        places = self.places[closing]
        index = bisect_left(places, at)
        near = index < len(places) and places[index] < at + FAR
        return places[index] + 1 if near else None


def _block(  # noqa: PLR0911 -- one return a kind
    lines: Sequence[str], at: int, closers: _Closers, *, mdx: bool
) -> Block:
    line = lines[at]
    if fence := _FENCE.match(line):
        return _fence(lines, at, fence)
    if heading := _HEADING.match(line):
        return Block("heading", at, at + 1, len(heading["level"]), heading["title"])
    if line.lstrip().startswith("<!--"):
        return Block("comment", at, closers.after(at, "-->") or at + 1)
    if component := _COMPONENT.match(line):
        end = closers.after(at, f"</{component['tag']}>") or _paragraph(lines, at)
        return Block("admonition", at, end)
    if _ADMONITION.match(line):
        return Block("admonition", at, _admonition(lines, at))
    if line.lstrip().startswith(">"):
        return Block("quote", at, _while_quoted(lines, at))
    if mdx and line.startswith(("import ", "export ")):
        return Block("fence", at, _paragraph(lines, at), tag="mdx-module")
    following = lines[at + 1] if at + 1 < len(lines) else ""
    if (
        _UNDERLINE.match(following)
        and len(following.strip()) >= LEAST_MARKS
        and not line.startswith("|")
    ):
        return Block("heading", at, at + 2, 1 if following[0] == "=" else 2, line.strip())
    return Block("paragraph", at, _paragraph(lines, at))


def _fence(lines: Sequence[str], at: int, fence: re.Match[str]) -> Block:
    mark = fence["mark"]
    closing = re.compile(rf"^[ \t>]*{mark[0]}{{{len(mark)},}}[ \t]*$")
    end = next((n for n in range(at + 1, len(lines)) if closing.match(lines[n])), len(lines))
    tag = re.match(r"[\s{.]*([\w+#-]*)", fence["tag"])
    indent = re.sub(r"[-*+\d.)]", " ", fence["indent"])
    return Block(
        "fence", at, min(end + 1, len(lines) + 1), tag=tag[1] if tag else "", indent=indent
    )


def _admonition(lines: Sequence[str], at: int) -> int:
    if lines[at].lstrip().startswith(":::"):
        for number in range(at + 1, min(len(lines), at + 200)):
            if re.match(r"^\s*:::+\s*$", lines[number]):
                return number + 1
        return at + 1
    end = at + 1
    while end < len(lines) and (
        not lines[end].strip() or lines[end].startswith(("    ", "\t", "   "))
    ):
        end += 1
    return end


def _while_quoted(lines: Sequence[str], at: int) -> int:
    end = at + 1
    while end < len(lines) and lines[end].strip() and not _HEADING.match(lines[end]):
        if not lines[end].lstrip().startswith(">") and _FENCE.match(lines[end]):
            break
        if lines[end].lstrip().startswith(">") and _FENCE.match(lines[end]):
            break
        end += 1
    return end


def _paragraph(lines: Sequence[str], at: int) -> int:
    end = at + 1
    while end < len(lines) and lines[end].strip():
        line = lines[end]
        if _HEADING.match(line) or _FENCE.match(line) or line.lstrip().startswith((">", "<!--")):
            break
        end += 1
    return end


# -- what is exempt --------------------------------------------------------------------------------


def _exempt(document: Outline, lines: Sequence[str], markers: Markers) -> None:
    name = PurePosixPath(document.source.path).stem.encode(errors="replace").decode()
    stem = re.sub(r"[-_]+", " ", name)  # a name may be any bytes
    reason = _marked(stem, markers)
    if reason in ("glossary", "changelog"):
        document.exempt(0, len(lines), reason)
    if _SHELVED.search(document.source.path) or _DATED.search(document.source.path):
        document.exempt(0, len(lines), "historical")
    if re.search(r"(?:^|/)\.changeset/", document.source.path):
        document.exempt(0, len(lines), "changelog")
    ends = _ends(document.blocks, len(lines))
    marked = [document.source.line(at + 1) - 1 for at in markers.lines(document.source.text)]
    seconds, section, live = 0, len(lines), False
    for index, block in enumerate(document.blocks):
        if block.kind == "heading":
            seconds += block.level > 1
            section = ends[index]
            reason = _marked(block.title, markers) if _has_marker(marked, block) else None
            if reason is not None:
                document.exempt(block.first, section, reason)
        elif block.kind == "matter" or (block.kind != "fence" and _has_marker(marked, block)):
            end = section if seconds else block.last if live else len(lines)
            _banner(document, block, lines, markers, end)
        if block.kind == "paragraph" and seconds < 2 and _STATUS.search(_text(block, lines)):  # noqa: PLR2004
            document.exempt(0, len(lines), "historical")
        if block.kind in ("paragraph", "fence"):
            # a document that first speaks of the vendor as of something alive is not all history
            live = live or _speaks_of_it(block, lines, markers, document)


def _text(block: Block, lines: Sequence[str]) -> str:
    return "\n".join(lines[block.first : min(block.last, block.first + 200)])


def _speaks_of_it(block: Block, lines: Sequence[str], markers: Markers, document: Outline) -> bool:
    text = _text(block, lines)
    exempt = document.exemption(document.offset(block.first)) is not None
    return not exempt and markers.vendor.search(text) is not None


def _has_marker(marked: Sequence[int], block: Block) -> bool:
    """Say whether a marker stands in the block; a word's match may start at the letter before."""
    at = bisect_left(marked, block.first)
    return at < len(marked) and marked[at] < block.last


def _ends(blocks: Sequence[Block], last: int) -> dict[int, int]:
    """Return the line at which each heading's section ends: the next heading of its level."""
    ends: dict[int, int] = {}
    open_: list[int] = []
    for index, block in enumerate(blocks):
        if block.kind == "heading":
            while open_ and blocks[open_[-1]].level >= block.level:
                ends[open_.pop()] = block.first
            open_.append(index)
    return ends | dict.fromkeys(open_, last)


def _marked(title: str, markers: Markers) -> Reason | None:
    if markers.glossary.marks(title):
        return "glossary"
    if markers.changelog.marks(title) and not _NO_CHANGELOG.search(title):
        return "changelog"
    if markers.historical.marks(title) or _says_deprecated(title, markers):
        return "historical"
    return None


def _says_deprecated(title: str, markers: Markers) -> bool:
    """Tell "Deprecated: x" and "x (deprecated)" from "How to mark what is deprecated"."""
    at = markers.deprecated.search(title)
    if at is None:
        return False
    before = title[:at].rstrip()
    return not re.search(r"\w", before) or before[-1] in _BEFORE_A_MARK


def _banner(
    document: Outline, block: Block, lines: Sequence[str], markers: Markers, end: int
) -> None:
    """Exempt what a banner speaks of: to the section's `end`, or only itself."""
    text = _text(block, lines)
    if block.kind == "matter":
        if _MATTER.search(text):
            document.exempt(0, len(lines), "banner")
        return
    if block.kind == "paragraph" and (not _BOLD.match(text) or _ITEM.match(text)):
        return
    plain = _CLEAN.sub(" ", text)
    if markers.opens(plain):
        document.exempt(block.first, end, "banner")
    elif markers.deprecated.search(plain) is not None and markers.vendor.search(plain) is not None:
        document.exempt(block.first, block.last, "banner")


def allowed(source: SourceText, offset: int, rule: str) -> bool:
    """Say whether a comment on the line, or on the line above, allows a finding."""
    if not source.allows:
        return False
    text = source.text
    first = max(0, offset - NEAR)
    line_start = text.rfind("\n", first, offset)
    above = max(first, text.rfind("\n", first, max(first, line_start)) + 1)
    end = text.find("\n", offset, offset + NEAR)
    for comment in _ALLOW.finditer(text[above : end if end >= 0 else offset + NEAR]):
        rules = re.findall(r"[a-z0-9][a-z0-9._-]*", comment["rules"].replace("--", " "))
        if not rules or rule in rules:
            return True
    return False

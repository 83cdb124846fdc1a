"""Fixes of prose: banners, glossary entries, and concepts by table."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from turnout_audit.fix.case import Case, FixResult
from turnout_audit.fix.places import is_code, is_word

_FRONT_MATTER = re.compile(r"\A---\r?\n.*?\r?\n---[ \t]*\r?\n", re.DOTALL)
_TITLE = re.compile(r"\s*(?:\#[^\n]*|[^\n]+\r?\n=+[ \t]*)(?:\r?\n|\Z)")
_SCRIPTS = {
    "ja": re.compile(r"[぀-ヿ]"),
    "ko": re.compile(r"[가-힣]"),
    "uk": re.compile(r"[Ѐ-ӿ]"),
}
_ENOUGH = 10
"""So many letters of a script make a document one of that language."""
_CLOSING = "*_`\"'»”\u2019)」』"
_LINK_TEXT = re.compile(r"\[[^\[\]]*$")
_LINK_END = re.compile(r"^[^\[\]]*\]")
_DOMAIN = re.compile(
    r"https?://\S+|\bwww\.\S+"
    r"|(?<![\w.-])(?:[\w-]+\.)+(?:com|io|dev|net|org|gs|sh|ai|app|cloud|run)\b(?!\()",
    re.IGNORECASE,
)
_SUCCESSOR = re.compile(r"\(([^()]+)\)")
"""The successor's name in `to`: `Orchestrator (Acme)`."""
_ROW = re.compile(r"\s*\||.*\s\|\s")
_TOKEN = re.compile(r"[^\s\"'`<>(){},;|\\=*\[\]\u2018-\u201d]+")
_FAR = 4000
"""Characters around a mention that are read."""
_GAP = re.compile(r"\n[ \t]*\n")
_PARTICLE = re.compile(r"[\W]*|(?:'|\u2019)s|[^\x00-\x7f]+")
_SENTENCE = re.compile(r"(?<=[.!?])\s|[\u3002\uff01\uff1f]|\n\s*(?:[-*+]|\d+[.)])\s")
_SIGN = re.compile(r"[`()]").search
CODE = "stands in code: say what is meant"
_ENTRY = re.compile(r"^\s*(?:[-*+]\s+|\d+[.)]\s+|\|\s*|#{1,6}\s+)?[*_`\"'«“\u2018「『]*$")


def banner(case: Case) -> FixResult:
    """Put the banner `to` under the document's title, in the document's language.

    `options.uk`, `options.ko`, `options.ja` are the banner in those languages.
    """
    text = case.text
    notice = str(case.option(_language(text)) or case.fix.to or "")
    if not notice:
        return "the rule gives no banner"
    if notice in text:
        return "the banner is already there"
    front = _FRONT_MATTER.match(text)
    at = front.end() if front else 0
    title = _TITLE.match(text, at)
    if title:
        at = title.end()
    before = "" if at == 0 or text[at - 1] == "\n" else "\n"
    return [case.edit(at, at, f"{before}{'' if at == 0 else chr(10)}{notice}\n{_gap(text, at)}")]


def _gap(text: str, at: int) -> str:
    """One empty line between the banner and what follows it."""
    return "" if text.startswith(("\n", "\r\n"), at) or at >= len(text) else "\n"


def _language(text: str) -> str:
    return next(
        (name for name, script in _SCRIPTS.items() if len(script.findall(text)) >= _ENOUGH), "en"
    )


def glossary(case: Case) -> FixResult:
    """Mark a glossary's entry with `to`, behind the term at which the match ends."""
    text, finding = case.text, case.finding
    line_start = text.rfind("\n", 0, finding.end) + 1
    term = finding.captured.get("term", finding.matched)
    if not _ENTRY.match(text[line_start : finding.end - len(term)]):
        return "mentioned in another entry: say there what is meant"
    at = finding.end
    while at < len(text) and text[at] in _CLOSING:
        at += 1
    line_end = text.find("\n", at)
    mark = case.fix.to or ""
    if mark in text[at : None if line_end < 0 else line_end]:
        return "the entry is already marked"
    return [case.edit(at, at, f" ({mark})")]


def _is_certain(case: Case, concept: str) -> bool:
    """Whether a phrase may be replaced unseen: it is no code, no product of the vendor's own."""
    to_look_at = {str(phrase).lower() for phrase in case.option("look") or ()}
    plain = " ".join(concept.lower().split())
    return case.fix.safe and not _SIGN(concept) and plain not in to_look_at


def mark(case: Case) -> FixResult:
    """Say `to` in brackets behind the first mention of a paragraph, where it is a word alone."""
    line, line_start = _line(case)
    start, end = case.finding.start - line_start, case.finding.end - line_start
    obstacle = _obstacle(case, line, start, end)
    if obstacle:
        return obstacle
    if case.finding.matched.lower() in line[:start].lower():
        return "an earlier mention of the line is to be marked"
    while end < len(line) and line[end] in _CLOSING:
        end += 1
    return [case.edit(line_start + end, line_start + end, f" ({case.fix.to})")]


def _line(case: Case) -> tuple[str, int]:
    """Return the line of a mention, and the offset at which it starts."""
    start = case.text.rfind("\n", 0, case.finding.start) + 1
    end = case.text.find("\n", case.finding.end)
    return case.text[start : len(case.text) if end < 0 else end], start


def prose(case: Case) -> FixResult:
    """Replace a concept by `table`; the bare name by `to`, which needs a look.

    Code is left alone, but for a span that the table names with its marks: that needs a look, and
    so do the phrases of `options.look`.
    Left alone is what stands beside an address, beside another name of the vendor's own, and beside
    the successor's name: that is true of the one vendor, not of the other.
    """
    aside = _aside(case)
    if aside:
        return aside
    line, start = _line(case)
    at, end = case.finding.start - start, case.finding.end - start
    for concept, new in _concepts(line, case.fix.table):
        if concept.start() <= at and end <= concept.end():
            if _LINK_TEXT.search(line[: concept.start()]) and _LINK_END.search(
                line[concept.end() :]
            ):
                return "the text of a link: say where it leads"
            place = start + concept.start(), start + concept.end()
            if "`" not in concept[0] and is_code(case.finding.path, case.text, *place):
                return CODE
            return [replace(case.edit(*place, new), safe=_is_certain(case, concept[0]))]
    return _bare(case, line, at, end)


def _aside(case: Case) -> str:
    """Say why a mention is left alone for what stands beside it; empty where it is not."""
    block = _around(case)
    names = {case.finding.matched.lower(), (_successor(case) or case.finding.matched).lower()}
    if any(address[0].lower() not in names for address in _DOMAIN.finditer(block)):
        return "stands beside an address: say what is meant"
    if _names_more(case, block):
        return "stands beside a name of the vendor's own: say what is meant"
    if _successor(case) and _speaks_of_both(case, block):
        return "stands beside the successor's name: say what is meant"
    return ""


def _around(case: Case) -> str:
    """Return a mention's paragraph, item or table, and what a colon or an indent adds to it."""
    text, start, end = case.text, case.finding.start, case.finding.end
    before = text[max(0, start - _FAR) : start].replace("\r\n", "\n")
    paragraph, *following = _GAP.split(text[start : end + _FAR].replace("\r\n", "\n"))
    block = _GAP.split(before)[-1] + paragraph
    for paragraph in following:
        if not (paragraph.startswith((" ", "\t")) or block.rstrip().endswith(":")):
            break
        block += f"\n\n{paragraph}"
    return block


def _names_more(case: Case, block: str) -> bool:
    """Whether a name that holds the vendor's word, and is more than it, stands in the block."""
    word = case.finding.matched.lower()
    for old in case.fix.table:
        block = re.sub(re.escape(old), " ", block, flags=re.IGNORECASE)
    tokens = (token.strip("*_.,:;!?~").lower() for token in _TOKEN.findall(block))
    remainders = (token.replace(word, "", 1) for token in tokens if word in token)
    return any(
        re.search(r"[\w/@.-]", remainder) and not _PARTICLE.fullmatch(remainder)
        for remainder in remainders
    )


def _speaks_of_both(case: Case, block: str) -> bool:
    successor = _successor(case).lower()
    if _ROW.match(block):
        return successor in block.lower()
    return any(
        successor in sentence.lower() and case.finding.matched.lower() in sentence.lower()
        for sentence in _SENTENCE.split(block)
    )


def _successor(case: Case) -> str:
    name = _SUCCESSOR.search(case.fix.to or "")
    return name[1] if name else ""


def _bare(case: Case, line: str, at: int, end: int) -> FixResult:
    if case.fix.to is None:
        return "not a concept of the table: say what is meant"
    obstacle = _obstacle(case, line, at, end)
    if obstacle:
        return obstacle
    edit = case.edit(case.finding.start, case.finding.end, case.fix.to)
    return [replace(edit, safe=False)]


def _obstacle(case: Case, line: str, start: int, end: int) -> str:
    """Say why a mention is no word of a sentence; empty where it is one."""
    if is_code(case.finding.path, case.text, case.finding.start, case.finding.end):
        return CODE
    if not is_word(line.rstrip("\r"), start, end):
        return "part of a name, an address or code: say what is meant"
    return ""


def _concepts(line: str, table: Mapping[str, str]) -> Iterator[tuple[re.Match[str], str]]:
    for old, new in table.items():
        words = r"\s+".join(re.escape(word) for word in old.split())
        for concept in re.finditer(
            rf"(?<![A-Za-z0-9_]){words}(?![A-Za-z0-9_])", line, re.IGNORECASE
        ):
            yield concept, new

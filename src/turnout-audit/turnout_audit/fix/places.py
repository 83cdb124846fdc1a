"""Which places of a document are code or part of a name, so that no fix may change them."""

import re
from functools import lru_cache

from turnout_audit.markdown import fences

_SPAN = re.compile(r"(?<!`)(`+)(?!`)(?:[^`\n]|\n(?!\s*\n)|(?!\1(?!`))`){1,1000}?(?<!`)\1(?!`)")
_TAGGED = re.compile(r"(?is)<(code|pre|kbd|samp|tt)\b[^<>]{0,200}>.{0,5000}?</\1>")
_DELIMITED = re.compile(r"^(?:-{4,}|\.{4,}|#\+(?:begin|end)_(?:src|example)\b.*)$", re.IGNORECASE)
_CONTENT = re.compile(r"\s*(?:(?:[-*+•]|\d+[.)]|\(?[a-z#][.)])\s+|\[\^[^\]]+\]:\s*)")
_ASIDE = re.compile(r"\s*(?:!!!|\?\?\?\+?|:::+)")
_PROMPT = re.compile(r"\s*(?:>\s*)*(?:\$|%|>>>|\.\.\.|PS>)\s")
_DIRECTIVE = re.compile(
    r"\s*\.\. (?:code|code-block|sourcecode|parsed-literal|prompt|ipython|doctest|testcode|console"
    r"|highlight|literalinclude)::"
)
_COMMAND = re.compile(
    r"(?:^|[\s(])(?:import|from|require|npx|bunx|uvx|pnpm|yarn|npm|bun|pip|uv|brew|install|add|exec"
    r"|dlx|docker)\s+$"
)
_BEFORE = re.compile(r"(?:^|[\s|>])[(\[]?[*_]{0,3}[(]?$")
_AFTER = re.compile(r"[.,;:!?)]{0,4}[*_]{0,3}[.,;:!?)]{0,4}(?=\s|\||$)")
_UNDERSCORED = re.compile(r"(?<![\w_])(_{1,3})(?=[^\s_])[^\n_]*[^\s_]\1(?!\w)")
TAB = 4


def is_code(path: str, text: str, start: int, end: int) -> bool:
    """Whether a place is in a code block, a code span or a shell command."""
    first = max(text.rfind("\n\n", 0, start), 0)
    last = text.find("\n\n", end)
    paragraph = text[first : len(text) if last < 0 else last]
    if _covered(_SPAN, paragraph, start - first, end - first) or any(
        first <= start < last for first, last in _tagged(text)
    ):
        return True
    number = text.count("\n", 0, start)
    lines = _lines(text)
    if _PROMPT.match(lines[number]) or _COMMAND.search(_before(text, start)):
        return True
    if any(first <= number < last for first, last in _fences(text, mdx=path.endswith(".mdx"))):
        return True
    if path.endswith((".adoc", ".asciidoc", ".org")):
        delimiters = sum(1 for line in lines[:number] if _DELIMITED.match(line.rstrip()))
        return delimiters % 2 == 1 or lines[number].lstrip().startswith(": ")
    return _is_indented(lines, number, rst=path.endswith(".rst"))


def is_word(line: str, start: int, end: int) -> bool:
    """Whether a place is a word of its own, and no part of a name, an address or a quotation."""
    if _BEFORE.search(line[:start]) is None or _AFTER.match(line, end) is None:
        return False
    if "_" not in (line[start - 1 : start], line[end : end + 1]):
        return True
    return _covered(_UNDERSCORED, line, start, end)  # emphasis, not an identifier


def _before(text: str, start: int) -> str:
    return text[max(text.rfind("\n", 0, start) + 1, start - 40) : start]


def _covered(pattern: re.Pattern[str], text: str, start: int, end: int) -> bool:
    matches = pattern.finditer(text)
    return any(match.start() <= start and end <= match.end() for match in matches)


@lru_cache(maxsize=2)
def _lines(text: str) -> list[str]:
    return text.split("\n")


@lru_cache(maxsize=2)
def _tagged(text: str) -> list[tuple[int, int]]:
    return [tag.span() for tag in _TAGGED.finditer(text)]


@lru_cache(maxsize=2)
def _fences(text: str, *, mdx: bool) -> tuple[tuple[int, int], ...]:
    return tuple(fences(text, mdx=mdx))


def _is_indented(lines: list[str], number: int, *, rst: bool) -> bool:
    """Whether a line belongs to an indented block, by the lines above it that are indented less."""
    indent = _indent(lines[number])
    while not rst and number and lines[number - 1].strip() and _indent(lines[number - 1]) >= indent:
        number -= 1
    if not rst and number and lines[number - 1].strip():
        return False  # a paragraph goes on
    while indent:
        holder = _holder(lines, number, indent)
        if holder is None:
            return not rst and indent >= TAB
        line = lines[holder]
        if rst and (_DIRECTIVE.match(line) or (line.rstrip().endswith("::") and not _rst(line))):
            return True
        if not rst and (content_column := _content_column(line)):
            return indent >= content_column + TAB
        if not rst and _indent(line) == 0:
            return indent >= TAB
        number, indent = holder, _indent(line)
    return False


def _rst(line: str) -> bool:
    return line.lstrip().startswith(".. ")


def _content_column(line: str) -> int:
    """Return the column at which the text of a list item or an admonition starts; else 0."""
    if _ASIDE.match(line):
        return _indent(line) + TAB
    content = _CONTENT.match(line.expandtabs(TAB))
    return content.end() if content else 0


def _holder(lines: list[str], number: int, indent: int) -> int | None:
    """Find the nearest line above that is indented less."""
    above = range(number - 1, -1, -1)
    return next((n for n in above if lines[n].strip() and _indent(lines[n]) < indent), None)


def _indent(line: str) -> int:
    line = line.expandtabs(TAB)
    return len(line) - len(line.lstrip())

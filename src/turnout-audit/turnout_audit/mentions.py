"""Accounts for every mention of the vendor: found, exempt for a reason, or unclassified.

Whatever a plain search for the words of `mentions` finds is in one of the three lists. Reasons are
judged by the text around a mention, without a syntax tree.
"""

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from turnout_audit import kinds, markdown
from turnout_audit.model import Reason
from turnout_audit.results import UNCLASSIFIED, Results, is_call
from turnout_audit.ruleset import Language
from turnout_audit.source import SourceText
from turnout_audit.view import line_of, unquoted_hash

MENTION = "mention"
"""What a mention that is exempt is called where others have a rule."""
_STRINGS = r"""'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*\""""
_LEXERS: Mapping[str, re.Pattern[str]] = {
    "script": re.compile(
        rf"//[^\n]*|/\*[\s\S]*?(?:\*/|\Z)|<!--[\s\S]*?-->|{_STRINGS}|`(?:\\.|[^`\\])*`"
    ),
    "python": re.compile(rf"#[^\n]*|'''[\s\S]*?(?:'''|\Z)|\"\"\"[\s\S]*?(?:\"\"\"|\Z)|{_STRINGS}"),
}
"""Comments and strings. No groups: alternatives that begin with a letter are found quickly."""
_COMMENTS = frozenset("/<#")
"""What comments begin with."""
_LEXER_OF: Mapping[Language, str] = {
    "python": "python",
    **dict.fromkeys(("typescript", "tsx", "javascript"), "script"),
}
_COMMENT_LINE = re.compile(
    r"\s*(?://|#(?!\[)|--|/?\*|<!--|;|%|\"\"\"|\{#|\{/\*|rem\b)", re.IGNORECASE
)
_COMMENTED_LINE = re.compile(r"\s*(?://|\* |/\*)")
_BREAK = re.compile(r"[\s\"'`<>()\[\]{},;|\\=]")
_ADDRESS = re.compile(
    r"://|^www\.|(?<![\w.+-])[\w.+-]++@[\w-]++\.|^git@|[\w-]\.(?:com|dev|io|org|net|sh|gs|ai|app|so)(?:[/:?#]|$)"
)
_NAME = re.compile(r"[\w$.:*+~^-]+")
_DECORATOR = re.compile(r"@\w+")
_PATH = re.compile(r"[\w$.*+~^@#%:()\[\]&?!-]*(?:/[\w$.*+~^@#%:()\[\]&?!-]*)+")
_SOURCE_FILE = re.compile(r"[^.]*\.(?:[cm]?tsx?|py|mdx?|sql)")
"""A path that ends like a file of somebody's source: packages are named without such an ending."""
_FOLDER_BEFORE = re.compile(r"[\s│├└─|+`*-]*")
"""What stands before a folder where a document draws a tree."""
_CAPITALS = re.compile(r"[A-Z0-9]+(?:_[A-Z0-9]+)+")
_WORDS_BEFORE = re.compile(r"(?:([A-Za-z]+|\d{4}|[^\x00-\x7f])[,.!]?[ \t]+|>[ \t]*)$")
_WORDS_AFTER = re.compile(
    r"['\u2019]?s?[,.:!?]?[ \t]+[A-Za-z]{2,}|[ \t]*</|[ \t]*[.!?]?$|[ \t]*[^\x00-\x7f]"
)
_KEYWORDS = frozenset(
    "const let var function class type interface new await return typeof import export from async "  # noqa: SIM905 -- a table
    "yield in of as extends implements default case def if not and or is enum namespace static "
    "public private protected readonly declare module void delete throw elif else lambda for while "
    "assert raise del global nonlocal print func package struct use mod pub fn end do".split()
)
_LONG = 400


@dataclass(frozen=True, slots=True)
class _Mention:
    """A mention, and the text around it that counts."""

    start: int
    end: int
    line: str
    at: int
    """Where the mention starts in the line."""


class Accountant:
    """Accounts for the mentions of some words."""

    def __init__(self, words: tuple[str, ...]) -> None:
        import re2

        options = re2.Options()
        options.case_sensitive = False
        self.words = frozenset(word.lower() for word in words)
        self.pattern: Any = re2.compile("|".join(map(re2.escape, words)), options)

    def account(self, results: Results, outline: markdown.Outline | None) -> None:
        """Add an exempt or an unclassified mention for every line that no finding accounts for."""
        page = _Page(self, results, outline)
        lines = results.accounted_lines()
        reasons: dict[int, tuple[int, Reason | None]] = {}
        for occurrence in self.pattern.finditer(results.source.text):
            start, end = occurrence.span()
            line = results.source.line(start)
            if line in lines or reasons.get(line, (0, "text"))[1] is None:
                continue
            reason = page.reason(start, end)
            if line not in reasons or reason is None:
                reasons[line] = start, reason
        for line, (start, reason) in reasons.items():
            if reason is not None:
                results.exempt(MENTION, line, reason)
            elif markdown.allowed(results.source, start, UNCLASSIFIED):
                results.exempt(UNCLASSIFIED, line, "allowed")
            else:
                results.add_unclassified(start, line)

    def list_all(self, results: Results) -> None:
        """Add every line with a mention as unclassified, in a text that is not judged."""
        text, offset = results.source.text, 0
        while self.words and (occurrence := self.plain.search(text, offset)):
            start = occurrence.start()
            results.add_unclassified(start, results.source.line(start))
            offset = text.find("\n", start) + 1 or len(text)

    @cached_property
    def plain(self) -> "re.Pattern[str]":
        """Compile the words so that a search may start anywhere at no cost."""
        return re.compile("|".join(map(re.escape, sorted(self.words))), re.IGNORECASE)


class _Page:
    """A file whose mentions are judged."""

    def __init__(
        self, accountant: Accountant, results: Results, outline: markdown.Outline | None
    ) -> None:
        self.words = accountant.words
        self.source: SourceText = results.source
        self.text = results.source.text
        self.outline = outline
        self.locked = bool(results.findings)
        self.scope, self.language = kinds.of_text(self.source.path, self.text)
        component = kinds.is_component(self.source.path)
        lexer = "script" if component else _LEXER_OF.get(self.language)
        self.pieces = None if lexer is None else _Pieces(lexer, self.text, 0, len(self.text))
        self._fences: dict[int, _Pieces] = {}

    def reason(self, start: int, end: int) -> Reason | None:
        """Say why a mention does not count; None where that cannot be said."""
        if is_call(self.text, start) or self._in_hook(start):
            return "audit"
        line, line_start = line_of(self.text, start)
        mention = _Mention(start, end, line, start - line_start)
        if self.outline is not None:
            return self._in_document(mention, self.outline)
        if self.language == "lock" and self.locked:
            return "lock"
        if self.pieces is not None:
            return self._in_script(mention, self.pieces)
        return self._in_text(mention)

    def _in_hook(self, start: int) -> bool:
        """Say whether a mention is an argument of this program's hook for commits."""
        if not self.source.path.endswith(".pre-commit-config.yaml"):
            return False
        before = self.text[max(0, start - _LONG) : start]
        hook = before.rfind("id: turnout-audit")
        return hook >= 0 and before.rfind("id: ") == hook

    def _in_document(self, mention: _Mention, outline: markdown.Outline) -> Reason | None:
        exempt = outline.exemption(mention.start)
        block = outline.block_at(mention.start)
        if exempt is not None:
            return exempt
        if block is not None and block.kind == "comment":
            return "comment"
        if block is not None and block.kind == "fence":
            return self._in_fence(mention, block, outline)
        token, _ = self._token(mention)
        if _is_address(token, self.words):
            return "address"
        return _of_token(token, self.words)

    def _in_fence(
        self, mention: _Mention, block: markdown.Block, outline: markdown.Outline
    ) -> Reason | None:
        lexer = _LEXER_OF.get(kinds.of_fence(block.tag) or "text")
        if lexer is None:
            return self._in_text(mention)
        if block.first not in self._fences:
            start, end = outline.offset(block.first + 1), outline.offset(block.last)
            self._fences[block.first] = _Pieces(lexer, self.text, start, end)
        return self._in_script(mention, self._fences[block.first])

    def _in_script(self, mention: _Mention, pieces: "_Pieces") -> Reason | None:
        if _COMMENTED_LINE.match(mention.line):
            return "comment"
        piece = pieces.at(mention.start)
        if piece is None or self._is_interpolated(mention, piece.start()):
            return self._in_code(mention)
        if self.text[piece.start()] in _COMMENTS:
            return "comment"
        content = self.text[piece.start() + 1 : min(piece.end() - 1, piece.start() + _LONG)]
        return self._in_string(mention, content)

    def _is_interpolated(self, mention: _Mention, start: int) -> bool:
        """Say whether a mention in a string is code, between `${` or `{` and `}`."""
        formatted = self.language == "python" and self.text[max(0, start - 1)] in "fF"
        if self.text[start] != "`" and not formatted:
            return False
        before = self.text[max(start, mention.start - _LONG) : mention.start]
        return before.rfind("{" if formatted else "${") > before.rfind("}")

    def _in_string(self, mention: _Mention, content: str) -> Reason | None:
        token, _ = self._token(mention)
        if _is_address(token, self.words):
            return "address"
        if len(content.split()) > 1:
            return None if _CAPITALS.fullmatch(token) else "text"
        return _of_token(token, self.words)

    def _in_code(self, mention: _Mention) -> Reason | None:
        """Tell names from the words of a page, which JSX writes between tags."""
        around = _words_around(mention)
        if around is None:
            return "own-name"
        before, after = around
        tagged = after[0].endswith("</")
        return "text" if tagged or (before[1] or "").lower() not in _KEYWORDS else "own-name"

    def _in_text(self, mention: _Mention) -> Reason | None:
        """Judge a mention in configuration, in a fence, or in a language that is not read."""
        if _COMMENT_LINE.match(mention.line) or self._behind_comment(mention):
            return "comment"
        token, exact = self._token(mention)
        if _is_address(token, self.words):
            return "address"
        if token[-1:] == "/" and _FOLDER_BEFORE.fullmatch(mention.line, 0, mention.at):
            return "own-name"
        if exact and (_words_around(mention) or " " in _quoted(mention)):
            return "text"
        return _of_token(token, self.words)

    def _behind_comment(self, mention: _Mention) -> bool:
        slashes = re.search(r"(?:^|\s)//", mention.line[: mention.at])
        return slashes is not None or unquoted_hash(mention.line) < mention.at

    def _token(self, mention: _Mention) -> tuple[str, bool]:
        """Return the word around a mention, and whether it is nothing more than the mention."""
        line, at = mention.line, mention.at
        length = mention.end - mention.start
        start = at - len(_BREAK.split(line[max(0, at - _LONG) : at])[-1])
        end = _BREAK.search(line, at + length, at + length + _LONG)
        token = line[start : end.start() if end else at + length + _LONG].rstrip(".,:;!?*_")
        return token, token.strip("*_.,:;!?-").lower() in self.words


class _Pieces:
    """The comments and strings of a script, or of a script's part of a document."""

    def __init__(self, lexer: str, text: str, start: int, end: int) -> None:
        self._lexer = _LEXERS[lexer]
        self._text = text
        self._span = start, end

    def at(self, offset: int) -> "re.Match[str] | None":
        """Return the comment or string around an offset."""
        number = bisect_right(self._starts, offset) - 1
        if number < 0 or offset >= self._pieces[number].end():
            return None
        return self._pieces[number]

    @cached_property
    def _pieces(self) -> list["re.Match[str]"]:
        return list(self._lexer.finditer(self._text, *self._span))

    @cached_property
    def _starts(self) -> list[int]:
        return [piece.start() for piece in self._pieces]


def _is_address(token: str, words: frozenset[str]) -> bool:
    bare = token.strip("*_.,:;!?-/").lower() in words
    return not bare and not token.startswith("@") and _ADDRESS.search(token) is not None


def _quoted(mention: _Mention) -> str:
    """Return what stands between the double quotes around a mention."""
    before, after = mention.line[: mention.at], mention.line[mention.at :]
    inside = before.count('"') % 2 == 1 and '"' in after
    return (before.rpartition('"')[2] + after.partition('"')[0]).strip() if inside else ""


def _words_around(mention: _Mention) -> "tuple[re.Match[str], re.Match[str]] | None":
    """Return the words before and after a mention in a sentence; None where there are none."""
    before = _WORDS_BEFORE.search(mention.line, max(0, mention.at - 80), mention.at)
    after = _WORDS_AFTER.match(mention.line, mention.at + mention.end - mention.start)
    return None if before is None or after is None else (before, after)


def _of_token(token: str, words: frozenset[str]) -> Reason | None:
    """Judge a name or a path: the vendor's own begin with its word, a variable is in capitals."""
    lowered = token.strip("*_.,:;!?-").lower()
    if lowered.removeprefix("@") in words or _CAPITALS.fullmatch(token):
        return None
    if _SOURCE_FILE.fullmatch(lowered) or _DECORATOR.fullmatch(token):
        return "own-name"
    if any(lowered.startswith((f"{word}/", f"@{word}/", f"{word}@")) for word in words):
        return None
    return "own-name" if _NAME.fullmatch(token) or _PATH.fullmatch(token) else None

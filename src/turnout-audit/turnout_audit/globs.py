"""Patterns of paths, as in .gitignore: the last one that fits decides, and `!` takes back."""

import re
from collections.abc import Iterable
from functools import lru_cache

_PIECE = re.compile(r"\\(?P<escaped>.)|(?P<set>\[[!^]?\]?[^\]]*\])|(?P<any>\*+)|(?P<one>\?)")
_SPECIAL = re.compile(r"[*?\[\\]")
_DEEP = re.compile(r"(?P<letters>[^*?\[\\]*)\*\*+")
_BLANK_END = re.compile(r"(?<!\\)[ \t\r\n]+$")


class Globs:
    """Patterns, compiled."""

    def __init__(self, patterns: Iterable[str]) -> None:
        pairs = [_compiled(pattern) for pattern in patterns]
        self._pairs = [pair for pair in reversed(pairs) if pair is not None]

    def match(self, path: str) -> bool:
        """Say whether the patterns take a file; what is in a folder that fits, fits."""
        name = path.removeprefix("./").lstrip("/")
        return next((takes for takes, pattern in self._pairs if pattern.fullmatch(name)), False)


@lru_cache(4096)
def _compiled(line: str) -> "tuple[bool, re.Pattern[str]] | None":
    line = _BLANK_END.sub("", line)
    takes = not line.startswith("!")
    pattern = line.removeprefix("!")
    if not pattern.strip("/") or line.startswith("#"):
        return None
    anywhere = "" if "/" in pattern.rstrip("/") else "(?:.*/)?"
    inside = "/.*" if pattern.endswith("/") else "(?:/.*)?"
    return takes, re.compile(f"{anywhere}{_expression(pattern)}{inside}", re.DOTALL)


def _expression(pattern: str) -> str:
    *folders, last = pattern.strip("/").split("/")
    pieces, plain = [], True
    for name in folders:
        pieces.append(_any_depth(name, plain=plain, inner="(?:.*/)?") or f"{_segment(name)}/")
        plain = plain and not _SPECIAL.search(name)
    deep = _any_depth(last, plain=plain, inner=".*") if folders else None
    return "".join([*pieces, deep or _segment(last)])


def _any_depth(name: str, *, plain: bool, inner: str) -> str | None:
    """Turn a name that ends in `**` into an expression of any depth; None where it is none.

    `**` after letters is of any depth, too, where nothing before is special: git compares such a
    beginning as text, and the rest as a pattern of its own (`match_pathname` in its dir.c).
    """
    match = _DEEP.fullmatch(name)
    if match is None or (match["letters"] and not plain):
        return None
    return re.escape(match["letters"]) + inner


def _segment(name: str) -> str:
    """Turn the name of one file or folder into an expression."""
    pieces, at = [], 0
    for piece in _PIECE.finditer(name):
        pieces += [re.escape(name[at : piece.start()]), _of_piece(piece)]
        at = piece.end()
    return "".join([*pieces, re.escape(name[at:])])


def _of_piece(piece: "re.Match[str]") -> str:
    if piece["escaped"]:
        return re.escape(piece["escaped"])
    if piece["set"]:
        content = piece["set"][1:-1].replace("\\", r"\\").replace("[", r"\[")
        return f"[^/{content[1:]}]" if content[0] in "!^" else f"[{content}]"
    return "[^/]*" if piece["any"] else "[^/]"

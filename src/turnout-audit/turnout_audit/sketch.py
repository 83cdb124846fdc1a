"""What a script's text must hold for a match to be found in it; cheaper than its syntax tree.

A sketch is a list of expressions. Every script in which the match finds anything holds all of them;
a script that holds all of them may still hold no finding.
"""

import re
from collections.abc import Iterable
from typing import Any

from turnout_audit.literals import first_letter
from turnout_audit.names import expression_of
from turnout_audit.ruleset import CallMatch, DecoratorMatch, ImportMatch, Match, MemberMatch

_COMMENT = r"//[^\n]*|/\*[\s\S]*?\*/|#[^\n]*"
_GAP = rf"(?:\W|{_COMMENT})*"
_BETWEEN = rf"(?:(?:\W|{_COMMENT})+|\s+(?:as|satisfies)\b[\s\S]*?\W)"
"""What may stand between two parts of a dotted name: `!`, `?.`, comments, `as T)`, `["`."""


_ADDRESS = r"(?:(?:npm|jsr):/?|https?://[^\"'`\s]*[/:])?"
"""What may stand before a package's name: Deno's specifiers, servers of packages."""


class ExpressionMatches:
    """Which expressions a text matches; each is searched for once."""

    def __init__(self, text: str) -> None:
        self.raw = text.encode("utf-8", "surrogatepass")
        self.results: dict[int, bool] = {}

    def all_in(self, sketch: Iterable[Any]) -> bool:
        """Say whether every expression of a compiled sketch is there."""
        return all(map(self._holds, sketch))

    def _holds(self, expression: Any) -> bool:
        key = id(expression)
        if key not in self.results:
            self.results[key] = expression.search(self.raw) is not None
        return self.results[key]


def compiled(expressions: Iterable[str], shared: dict[str, Any]) -> tuple[Any, ...]:
    """Compile for bytes; those that are `shared` already are shared."""
    import re2

    options = re2.Options()
    options.log_errors = False
    for expression in (expressions := tuple(expressions)):
        if expression not in shared:
            shared[expression] = re2.compile(f"(?m){expression}".encode(), options)
    return tuple(shared[expression] for expression in expressions)


def sketch(match: Match, *, quoted: bool) -> tuple[str, ...]:
    """Sketch a match that reads syntax trees; `quoted` where modules are named in quotes."""
    modules = [match.when_imports]
    expressions: list[str] = []
    if isinstance(match, ImportMatch):
        modules.append(match.import_)
        expressions.append(_one_of(_words(glob) for glob in match.names))
    if isinstance(match, CallMatch | MemberMatch | DecoratorMatch):
        modules.append(match.from_)
        expressions += _named(_globs(match), exported=bool(match.from_))
    if isinstance(match, MemberMatch) and match.from_:
        expressions.append(_one_of(map(_read, match.member)))
    if isinstance(match, CallMatch):
        expressions += [_one_of(_option(glob, match.value) for glob in match.key)]
    if isinstance(match, CallMatch | MemberMatch):
        expressions += [
            _one_of("" if glob == "loop" else _name_expression(glob) for glob in match.within)
        ]
    if quoted:
        expressions += [_one_of(map(_module, globs)) for globs in modules]
    return tuple(expression for expression in expressions if expression)


def _globs(match: CallMatch | MemberMatch | DecoratorMatch) -> tuple[str, ...]:
    if isinstance(match, CallMatch):
        return match.call
    return match.member if isinstance(match, MemberMatch) else match.decorator


def _one_of(alternatives: Iterable[str]) -> str:
    """Join alternatives; if one of them is empty, so is the result."""
    distinct = list(dict.fromkeys(alternatives))
    return (
        "|".join(f"(?:{expression})" for expression in distinct)
        if distinct and all(distinct)
        else ""
    )


def _module(glob: str) -> str:
    """Ask for the quote before a module's name, and for its first words or its longest ones."""
    first, *pieces = re.split(r"[*?]+", glob)
    if first:
        return f"[\"'`]{_ADDRESS}{re.escape(first)}"
    return re.escape(max(pieces, key=len, default=""))


def _named(globs: tuple[str, ...], *, exported: bool) -> list[str]:
    """Names as written stand together; what a module exports is only named somewhere."""
    if not exported:
        return [_one_of(map(_name_expression, globs))]
    parts = [[part.removesuffix("()") for part in glob.split(".")] for glob in globs]
    ends = (_one_of(_exported(name_parts[end]) for name_parts in parts) for end in (0, -1))
    return list(dict.fromkeys(ends))


def _read(glob: str) -> str:
    """Require the last name behind a dot or a bracket, since it is read from an object."""
    first, dot, last = glob.rpartition(".")
    word = "" if "()" in last else _words(last)
    return rf"[.\[]{_GAP}{word}" if first and dot and word else ""


def _exported(part: str) -> str:
    """The default export is imported under any name."""
    return "" if part == "default" else _words(part)


def _name_expression(glob: str) -> str:
    """Take the longest piece of a dotted name between calls, whose arguments may be anything."""
    pieces = [piece.strip(".") for piece in re.split(r"\(\)", glob)]
    expressions = [_piece_expression(piece) for piece in pieces]
    return max(expressions, key=lambda expression: (bool(expression), len(expression)), default="")


def _piece_expression(piece: str) -> str:
    parts = piece.removeprefix("*.").split(".")
    if any(set("*?") & set(part) for part in parts):
        return _words(max(parts, key=len))
    before = rf"[.\[]{_GAP}" if piece.startswith("*.") else r"\b"
    return before + _BETWEEN.join(rf"{re.escape(part)}\b" for part in parts)


def _words(glob: str) -> str:
    """Ask for the longest literal piece of a name, whole where the glob has it whole."""
    if glob.strip("*?") == "":
        return ""
    if not set("*?") & set(glob):
        return rf"\b{re.escape(glob)}\b" if glob.isidentifier() else re.escape(glob)
    longest = max(re.split(r"[*?]+", glob), key=len)
    return re.escape(max(re.split(r"[.()\[\]]+", longest), key=len))


def _option(glob: str, value: str | None) -> str:
    """Ask for an option's key, and right behind it for how its value begins."""
    key = re.split(r"[.\[\]]+", glob)[-1]
    word = _words(key)
    behind = f"(?:\\s|{_COMMENT})*"
    if not word or value is None or not _starts(value):
        return f"{word}[\"'`\\]]*{behind}[:=(,}}<]" if key.isidentifier() else word
    name = expression_of(key, wildcard="[^\\n]*")
    return f"(?:{name}[\"'`\\]]*{behind}[:=]{behind}|^){value[1:]}"


def _starts(value: str) -> bool:
    """Say whether an expression requires a mark, so no name, at the start of a value."""
    marks = value.startswith(("^\\{", "^`", '^"', "^'"))
    ends = re.search(r"(?<!\\)\$", value)
    return marks and ends is None and first_letter(value[1:]) != ""

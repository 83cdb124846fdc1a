"""Reads the vendor's expressions as far as Turnout can hold them: equalities, joined by `&&`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from turnout.errors import InvalidDefinition

Root = Literal["event", "async"]

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<number>-?\d+(?:\.\d+)?)
      | (?P<path>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\[(?:'[^']*'|"[^"]*")\])*)
      | (?P<sign>==|&&|\(|\))
    )""",
    re.VERBOSE,
)
_WORDS: Final = {"true": True, "false": False, "null": None}
_MEMBER: Final = re.compile(r"\.?([A-Za-z_]\w*)|\[(?:'([^']*)'|\"([^\"]*)\")\]")
_ESCAPE: Final = re.compile(r"\\(.)")
LONGEST: Final = 2_000


@dataclass(frozen=True, kw_only=True)
class Path:
    """A value in an event's data. at: like `payload.order_id`."""

    root: Root
    at: str


@dataclass(frozen=True, kw_only=True)
class Value:
    """A literal."""

    value: Any


@dataclass(frozen=True, kw_only=True)
class Equal:
    """Two sides that must be the same."""

    left: Path | Value
    right: Path | Value


def equalities(expression: str) -> tuple[Equal, ...]:
    """Read an expression; InvalidDefinition says what of it goes beyond equality."""
    if len(expression) > LONGEST:
        raise InvalidDefinition(f"the expression is longer than {LONGEST:,} characters")
    tokens = list(_tokens(expression))
    found, depth = [], 0
    while True:
        depth += _skip(tokens, "(")
        found.append(_equality(tokens, expression))
        depth -= _skip(tokens, ")")
        if not tokens and not depth:
            return tuple(found)
        if depth < 0 or not tokens or tokens.pop(0) != ("sign", "&&"):
            raise _beyond(expression)


def literal(expression: str) -> bool:
    """Whether an expression is a constant, the same for every event."""
    try:
        tokens = list(_tokens(expression))
    except InvalidDefinition:
        return False
    return len(tokens) == 1 and (tokens[0][0] in {"text", "number"} or tokens[0][1] in _WORDS)


def path_of(expression: str) -> str:
    """Read an expression that is one path into the event, as `payload.…`."""
    tokens = list(_tokens(expression))
    side = _side(tokens[0], expression) if len(tokens) == 1 else None
    if not isinstance(side, Path) or side.root != "event":
        raise InvalidDefinition(f"{expression!r} is more than one path like event.data.id")
    return side.at


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    at = 0
    text = expression.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise _beyond(expression)
        yield found.lastgroup, found[found.lastgroup]
        at = found.end()


def _skip(tokens: list[tuple[str, str]], sign: str) -> int:
    """Take parentheses that only group whole equalities."""
    count = 0
    while tokens[:1] == [("sign", sign)]:
        del tokens[0]
        count += 1
    return count


def _equality(tokens: list[tuple[str, str]], expression: str) -> Equal:
    if len(tokens) < 3 or tokens[1] != ("sign", "=="):  # noqa: PLR2004 - two sides and a sign
        raise _beyond(expression)
    left, right = _side(tokens[0], expression), _side(tokens[2], expression)
    del tokens[:3]
    return Equal(left=left, right=right)


def _side(token: tuple[str, str], expression: str) -> Path | Value:
    kind, text = token
    if kind == "text":
        return Value(value=_ESCAPE.sub(r"\1", text[1:-1]))
    if kind == "number":
        return Value(value=float(text) if "." in text else int(text))
    if kind == "path" and text in _WORDS:
        return Value(value=_WORDS[text])
    if kind == "path":
        return _path(text, expression)
    raise _beyond(expression)


def _path(text: str, expression: str) -> Path:
    names = [next(filter(None, found)) for found in _MEMBER.findall(text)]
    root, *rest = names
    if root not in {"event", "async"} or rest[:1] != ["data"] or len(rest) < 2:  # noqa: PLR2004
        raise InvalidDefinition(
            f"{text!r} in {expression!r} is no path into an event's data, like event.data.id"
        )
    if any("." in name for name in rest):
        raise InvalidDefinition(f"{text!r} in {expression!r}: a name with a dot in it")
    return Path(root="event" if root == "event" else "async", at=".".join(["payload", *rest[1:]]))


def _beyond(expression: str) -> InvalidDefinition:
    return InvalidDefinition(f"{expression!r} goes beyond equalities joined by &&")

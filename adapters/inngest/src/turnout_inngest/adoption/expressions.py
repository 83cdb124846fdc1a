"""Reads the vendor's expressions as far as Turnout can hold them: equalities, joined by `&&`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from turnout.errors import InvalidDefinition
from turnout_inngest.cel import InvalidExpression, Node, parse

Root = Literal["event", "async"]


@dataclass(frozen=True, kw_only=True)
class Path:
    """A value in an event's data."""

    root: Root
    at: str
    """Where it is, like `payload.order_id`."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """A literal."""

    value: Any


@dataclass(frozen=True, kw_only=True)
class Equal:
    """Two sides that must be the same."""

    first: Path | Value
    second: Path | Value


def equalities(expression: str) -> tuple[Equal, ...]:
    """Read an expression; InvalidDefinition says what of it goes beyond equality."""
    return tuple(
        Equal(first=_side(first, expression), second=_side(second, expression))
        for first, second in _equations(_parsed(expression), expression)
    )


def literal(expression: str) -> bool:
    """Whether an expression is a constant, the same for every event."""
    try:
        return isinstance(_side(_parsed(expression), expression), Value)
    except InvalidDefinition:
        return False


def path_of(expression: str) -> str:
    """Read an expression that is one path into the event, as `payload.…`."""
    side = _side(_parsed(expression), expression)
    if not isinstance(side, Path) or side.root != "event":
        raise InvalidDefinition(f"{expression!r} is more than one path like event.data.id")
    return side.at


def _parsed(expression: str) -> Node:
    try:
        return parse(expression)
    except InvalidExpression:
        raise _beyond(expression) from None


def _equations(node: Node, expression: str) -> Iterator[tuple[Node, Node]]:
    match node:
        case ("binary", "&&", first, second):
            yield from _equations(first, expression)
            yield from _equations(second, expression)
        case ("binary", "==", first, second):
            yield first, second
        case _:
            raise _beyond(expression)


def _side(node: Node, expression: str) -> Path | Value:
    match node:
        case ("literal", value):
            return Value(value=value)
        case ("negative", ("literal", int() | float() as number)):
            return Value(value=-number)
        case ("root", _) | ("index", _, ("literal", str())):
            return _path(node, expression)
        case _:
            raise _beyond(expression)


def _path(node: Node, expression: str) -> Path:
    root, *names = _names(node, expression)
    if names[:1] != ["data"] or len(names) == 1:
        raise InvalidDefinition(
            f"{'.'.join([root, *names])!r} in {expression!r} is no path into an event's data, like"
            " event.data.id"
        )
    if any("." in name for name in names):
        raise InvalidDefinition(f"{names!r} in {expression!r}: a name with a dot in it")
    return Path(root="event" if root == "event" else "async", at=".".join(["payload", *names[1:]]))


def _names(node: Node, expression: str) -> Iterator[str]:
    match node:
        case ("root", name):
            yield name
        case ("index", holder, ("literal", str() as name)):
            yield from _names(holder, expression)
            yield name
        case _:
            raise _beyond(expression)


def _beyond(expression: str) -> InvalidDefinition:
    return InvalidDefinition(f"{expression[:200]!r} goes beyond equalities joined by &&")

"""Expressions of triggers, keys and matches: a subset of CEL, evaluated.

A member that is absent equals null and nothing else: two absent members do not match each other,
so that a cancellation or a wait never hits a neighbour through a misspelt key.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import orjson
from turnout_inngest.cel import Node, parse

Roots = Mapping[str, Any]


class _Absent:
    """A member that is not there."""


ABSENT = _Absent()


class _NoValue(Exception):
    """The operands do not fit the operator, which makes a condition false."""


@lru_cache(maxsize=4_096)
def compiled(text: str) -> Node:
    """The tree of an expression; InvalidExpression when it is not of the subset."""
    return parse(text)


def check(text: str) -> None:
    """Raise InvalidExpression unless the expression is of the subset."""
    compiled(text)


def matches(text: str | None, roots: Roots) -> bool:
    """Whether the condition holds; no condition holds always, a mistyped operand never."""
    if not text:
        return True
    return _holds(compiled(text), roots)


def key_of(text: str | None, roots: Roots) -> str:
    """The value of a key expression as text; the empty text without an expression."""
    if not text:
        return ""
    try:
        value = _value(compiled(text), roots)
    except _NoValue:
        value = None
    if isinstance(value, str):
        return value
    return orjson.dumps(None if value is ABSENT else value, option=orjson.OPT_SORT_KEYS).decode()


def number_of(text: str, roots: Roots) -> float:
    """The number that an expression yields; zero when it yields none."""
    try:
        value = _value(compiled(text), roots)
    except _NoValue:
        return 0
    return value if _is_number(value) else 0


def _value(node: Node, roots: Roots) -> Any:
    return _EVALUATORS[node[0]](node, roots)


def _member(node: Node, roots: Roots) -> Any:
    holder, key = _value(node[1], roots), _value(node[2], roots)
    if isinstance(holder, dict) and isinstance(key, str):
        return holder.get(key, ABSENT)
    if isinstance(holder, list) and type(key) is int and 0 <= key < len(holder):
        return holder[key]
    return ABSENT


def _choose(node: Node, roots: Roots) -> Any:
    return _value(node[2] if _value(node[1], roots) is True else node[3], roots)


def _not(node: Node, roots: Roots) -> Any:
    value = _value(node[1], roots)
    if isinstance(value, bool):
        return not value
    if value is ABSENT or value is None:
        return True
    raise _NoValue


def _negative(node: Node, roots: Roots) -> Any:
    value = _value(node[1], roots)
    if not _is_number(value):
        raise _NoValue
    return -value


def _binary(node: Node, roots: Roots) -> Any:
    _, operator, first, second = node
    if operator in {"&&", "||"}:
        return _logic(operator, first, second, roots)
    return _OPERATORS[operator](_value(first, roots), _value(second, roots))


def _logic(operator: str, first: Node, second: Node, roots: Roots) -> bool:
    if operator == "||":
        return _holds(first, roots) or _holds(second, roots)
    return _holds(first, roots) and _holds(second, roots)


def _holds(node: Node, roots: Roots) -> bool:
    try:
        return _value(node, roots) is True
    except _NoValue:
        return False


def _equal(first: Any, second: Any) -> bool:
    if first is ABSENT or second is ABSENT:
        return (first is ABSENT and second is None) or (second is ABSENT and first is None)
    if isinstance(first, bool) != isinstance(second, bool):
        return False
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_equal, first, second))
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_equal(first[k], second[k]) for k in first)
    return bool(first == second)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def ordered(first: Any, second: Any) -> bool:
        are_texts = isinstance(first, str) and isinstance(second, str)
        if not are_texts and not (_is_number(first) and _is_number(second)):
            raise _NoValue
        return compare(first, second)

    return ordered


def _numeric(compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def numeric(first: Any, second: Any) -> Any:
        if not (_is_number(first) and _is_number(second)):
            raise _NoValue
        try:
            return compute(first, second)
        except (ZeroDivisionError, OverflowError):
            raise _NoValue from None

    return numeric


def _add(first: Any, second: Any) -> Any:
    for kind in (str, list):
        if isinstance(first, kind) and isinstance(second, kind):
            return first + second  # type: ignore[operator]
    return _numeric(lambda a, b: a + b)(first, second)


def _divide(first: Any, second: Any) -> Any:
    if type(first) is int and type(second) is int:
        quotient = abs(first) // abs(second)
        return quotient if (first < 0) == (second < 0) else -quotient
    return first / second


def _contained(member: Any, container: Any) -> bool:
    if isinstance(container, list):
        return any(_equal(member, item) for item in container)
    if isinstance(container, dict):
        return member in container
    raise _NoValue


def _call(node: Node, roots: Roots) -> Any:
    _, name, argument = node
    value = _value(argument, roots)
    if name == "has":
        return value is not ABSENT
    if name == "size":
        return _size(value)
    if value is ABSENT or value is None:
        raise _NoValue
    try:
        if name == "string":
            return value if isinstance(value, str) else orjson.dumps(value).decode()
        return int(value) if name == "int" else float(value)
    except (OverflowError, TypeError, ValueError):
        raise _NoValue from None


def _size(value: Any) -> int:
    if not isinstance(value, str | list | dict):
        raise _NoValue
    return len(value)


def _method(node: Node, roots: Roots) -> Any:
    _, name, subject, argument_nodes = node
    value = _value(subject, roots)
    arguments = [_value(argument, roots) for argument in argument_nodes]
    if name == "size" and not arguments:
        return _size(value)
    if name == "contains" and isinstance(value, list) and len(arguments) == 1:
        return _contained(arguments[0], value)
    if not isinstance(value, str) or not all(isinstance(a, str) for a in arguments):
        raise _NoValue
    text_method = _TEXT_METHODS.get((name, len(arguments)))
    if text_method is None:
        raise _NoValue
    return text_method(value, *arguments)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TEXT_METHODS: dict[tuple[str, int], Callable[..., Any]] = {
    ("contains", 1): str.__contains__,
    ("startsWith", 1): str.startswith,
    ("endsWith", 1): str.endswith,
    ("lowerAscii", 0): str.lower,
    ("upperAscii", 0): str.upper,
}
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": _equal,
    "!=": lambda first, second: not _equal(first, second),
    "<": _ordered(lambda a, b: bool(a < b)),
    "<=": _ordered(lambda a, b: bool(a <= b)),
    ">": _ordered(lambda a, b: bool(a > b)),
    ">=": _ordered(lambda a, b: bool(a >= b)),
    "in": _contained,
    "+": _add,
    "-": _numeric(lambda a, b: a - b),
    "*": _numeric(lambda a, b: a * b),
    "/": _numeric(_divide),
    "%": _numeric(lambda a, b: a % b),
}
_EVALUATORS: dict[str, Callable[[Node, Roots], Any]] = {
    "literal": lambda node, _: node[1],
    "root": lambda node, roots: roots.get(node[1], ABSENT),
    "list": lambda node, roots: [_value(item, roots) for item in node[1]],
    "index": _member,
    "if": _choose,
    "not": _not,
    "negative": _negative,
    "binary": _binary,
    "call": _call,
    "method": _method,
}

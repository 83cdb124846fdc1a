"""The vendor's expressions, a subset of CEL: text to tree. The adapter's double evaluates them.

Supported: `event…`, `async…`, members and indexes, literals, lists, `! - + - * / %`,
comparisons, `in`, `&& ||`, `? :`, `has(…)`, `size(…)`, `string(…)`, `int(…)`, `double(…)`,
`.contains(…)`, `.startsWith(…)`, `.endsWith(…)`, `.size()`, `.lowerAscii()`, `.upperAscii()`.
Everything else (macros, `matches`, timestamps, durations, maps, bytes) is refused by name.
"""

import json
import re
from typing import Any

from turnout.errors import InvalidDefinition

MAX_LENGTH = 2_000
MAX_INTEGER_DIGITS = 19
"""Digits of the largest 64-bit integer."""
MAX_DEPTH = 40

Node = tuple[Any, ...]
"""One of:

    ("literal", value)          ("root", name)              ("list", items)
    ("index", holder, key)      ("if", condition, yes, no)  ("not", operand)
    ("negative", operand)       ("binary", operator, left, right)
    ("call", name, argument)    ("method", name, subject, arguments)
"""


class InvalidExpression(InvalidDefinition):
    """Not an expression of the supported subset of CEL."""

    code = "invalid_expression"


_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>\d+\.\d+(?:[eE][+-]?\d+)?|\d+)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<op>\|\||&&|==|!=|<=|>=|[-+*/%!<>()\[\].,?:])
    )""",
    re.VERBOSE,
)
_LEVELS: tuple[frozenset[str], ...] = (
    frozenset({"||"}),
    frozenset({"&&"}),
    frozenset({"==", "!=", "<", "<=", ">", ">=", "in"}),
    frozenset({"+", "-"}),
    frozenset({"*", "/", "%"}),
)
FUNCTIONS = frozenset({"has", "size", "string", "int", "double"})
METHODS = frozenset({"contains", "startsWith", "endsWith", "size", "lowerAscii", "upperAscii"})
ROOTS = frozenset({"event", "async"})
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}


def parse(text: str) -> Node:
    """The expression's tree; InvalidExpression names what is wrong or not supported."""
    if len(text) > MAX_LENGTH:
        raise InvalidExpression(f"an expression has at most {MAX_LENGTH} characters")
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._kind = ""
        self._value = ""
        self._advance()

    def parse(self) -> Node:
        """Read the whole text."""
        tree = self._ternary(0)
        if self._kind != "end":
            raise self._fault(f"unexpected {self._value!r}")
        return tree

    def _fault(self, problem: str) -> InvalidExpression:
        return InvalidExpression(f"{problem} in the expression {self._text!r}")

    def _advance(self) -> None:
        if not self._text[self._position :].strip():
            self._kind, self._value = "end", "the end"
            return
        match = _TOKEN.match(self._text, self._position)
        if match is None:
            raise self._fault(f"cannot read {self._text[self._position :].strip()[:12]!r}")
        self._position = match.end()
        self._kind = match.lastgroup or ""
        self._value = match.group(self._kind)

    def _takes(self, value: str) -> bool:
        if self._kind in {"op", "name"} and self._value == value:
            self._advance()
            return True
        return False

    def _expects(self, value: str) -> None:
        if not self._takes(value):
            raise self._fault(f"expected {value!r}, found {self._value!r},")

    def _ternary(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self._fault("too deeply nested")
        condition = self._binary(0, depth)
        if not self._takes("?"):
            return condition
        consequence = self._ternary(depth + 1)
        self._expects(":")
        return ("if", condition, consequence, self._ternary(depth + 1))

    def _binary(self, level: int, depth: int) -> Node:
        if level == len(_LEVELS):
            return self._unary(depth)
        tree = self._binary(level + 1, depth)
        while self._kind in {"op", "name"} and self._value in _LEVELS[level]:
            operator = self._value
            self._advance()
            tree = ("binary", operator, tree, self._binary(level + 1, depth))
        return tree

    def _unary(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self._fault("too deeply nested")
        if self._takes("!"):
            return ("not", self._unary(depth + 1))
        if self._takes("-"):
            return ("negative", self._unary(depth + 1))
        return self._members(self._primary(depth), depth)

    def _members(self, node: Node, depth: int) -> Node:
        while True:
            if self._takes("."):
                node = self._member(node, depth)
            elif self._takes("["):
                node = ("index", node, self._ternary(depth + 1))
                self._expects("]")
            else:
                return node

    def _member(self, node: Node, depth: int) -> Node:
        if self._kind != "name":
            raise self._fault(f"expected a member's name, found {self._value!r},")
        name = self._value
        self._advance()
        if not self._takes("("):
            return ("index", node, ("literal", name))
        if name not in METHODS:
            raise self._fault(f"Turnout does not support .{name}(…)")
        return ("method", name, node, self._arguments(depth))

    def _arguments(self, depth: int) -> tuple[Node, ...]:
        arguments: list[Node] = []
        while not self._takes(")"):
            if arguments:
                self._expects(",")
            arguments.append(self._ternary(depth + 1))
        return tuple(arguments)

    def _integer(self, digits: str) -> int:
        """Read an integer: CEL's have 64 bits, sign included."""
        if len(digits) > MAX_INTEGER_DIGITS or int(digits) >= 2**63:
            raise self._fault(f"the integer {digits[:24]} has more than 64 bits")
        return int(digits)

    def _primary(self, depth: int) -> Node:
        kind, value = self._kind, self._value
        if kind == "number":
            self._advance()
            return ("literal", float(value) if "." in value else self._integer(value))
        if kind == "string":
            self._advance()
            return ("literal", self._string(value))
        if kind == "name":
            self._advance()
            return self._named(value, depth)
        if self._takes("("):
            inner = self._ternary(depth + 1)
            self._expects(")")
            return inner
        if self._takes("["):
            return ("list", self._items(depth))
        raise self._fault(f"unexpected {value!r}")

    def _items(self, depth: int) -> tuple[Node, ...]:
        items: list[Node] = []
        while not self._takes("]"):
            if items:
                self._expects(",")
            items.append(self._ternary(depth + 1))
        return tuple(items)

    def _named(self, name: str, depth: int) -> Node:
        if name in _WORDS:
            return ("literal", _WORDS[name])
        if self._takes("("):
            if name not in FUNCTIONS:
                raise self._fault(f"Turnout does not support {name}(…)")
            arguments = self._arguments(depth)
            if len(arguments) != 1:
                raise self._fault(f"{name}(…) takes one argument")
            return ("call", name, arguments[0])
        if name not in ROOTS:
            raise self._fault(f"unknown name {name!r} (there are: event, async)")
        return ("root", name)

    def _string(self, quoted: str) -> str:
        body = quoted[1:-1]
        if quoted[0] == "'":
            body = body.replace("\\'", "'").replace('"', '\\"')
        try:
            return str(json.loads(f'"{body}"'))
        except ValueError:
            raise self._fault(f"cannot read the string {quoted}") from None

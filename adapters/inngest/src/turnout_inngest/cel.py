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
    parser = _Parser(text)
    tree = parser.ternary(0)
    if parser.kind != "end":
        raise parser.fault(f"unexpected {parser.value!r}")
    return tree


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.kind = ""
        self.value = ""
        self.advance()

    def fault(self, problem: str) -> InvalidExpression:
        return InvalidExpression(f"{problem} in the expression {self.text!r}")

    def advance(self) -> None:
        if not self.text[self.position :].strip():
            self.kind, self.value = "end", "the end"
            return
        match = _TOKEN.match(self.text, self.position)
        if match is None:
            raise self.fault(f"cannot read {self.text[self.position :].strip()[:12]!r}")
        self.position = match.end()
        self.kind = match.lastgroup or ""
        self.value = match.group(self.kind)

    def takes(self, value: str) -> bool:
        if self.kind in {"op", "name"} and self.value == value:
            self.advance()
            return True
        return False

    def expects(self, value: str) -> None:
        if not self.takes(value):
            raise self.fault(f"expected {value!r}, found {self.value!r},")

    def ternary(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self.fault("too deeply nested")
        condition = self.binary(0, depth)
        if not self.takes("?"):
            return condition
        chosen = self.ternary(depth + 1)
        self.expects(":")
        return ("if", condition, chosen, self.ternary(depth + 1))

    def binary(self, level: int, depth: int) -> Node:
        if level == len(_LEVELS):
            return self.unary(depth)
        tree = self.binary(level + 1, depth)
        while self.kind in {"op", "name"} and self.value in _LEVELS[level]:
            operator = self.value
            self.advance()
            tree = ("binary", operator, tree, self.binary(level + 1, depth))
        return tree

    def unary(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self.fault("too deeply nested")
        if self.takes("!"):
            return ("not", self.unary(depth + 1))
        if self.takes("-"):
            return ("negative", self.unary(depth + 1))
        return self.members(self.primary(depth), depth)

    def members(self, node: Node, depth: int) -> Node:
        while True:
            if self.takes("."):
                node = self.member(node, depth)
            elif self.takes("["):
                node = ("index", node, self.ternary(depth + 1))
                self.expects("]")
            else:
                return node

    def member(self, node: Node, depth: int) -> Node:
        if self.kind != "name":
            raise self.fault(f"expected a member's name, found {self.value!r},")
        name = self.value
        self.advance()
        if not self.takes("("):
            return ("index", node, ("literal", name))
        if name not in METHODS:
            raise self.fault(f"Turnout does not support .{name}(…)")
        return ("method", name, node, self.arguments(depth))

    def arguments(self, depth: int) -> tuple[Node, ...]:
        arguments: list[Node] = []
        while not self.takes(")"):
            if arguments:
                self.expects(",")
            arguments.append(self.ternary(depth + 1))
        return tuple(arguments)

    def integer(self, digits: str) -> int:
        """Read an integer: CEL's have 64 bits, sign included."""
        if len(digits) > MAX_INTEGER_DIGITS or int(digits) >= 2**63:
            raise self.fault(f"the integer {digits[:24]} has more than 64 bits")
        return int(digits)

    def primary(self, depth: int) -> Node:
        kind, value = self.kind, self.value
        if kind == "number":
            self.advance()
            return ("literal", float(value) if "." in value else self.integer(value))
        if kind == "string":
            self.advance()
            return ("literal", self.string(value))
        if kind == "name":
            self.advance()
            return self.named(value, depth)
        if self.takes("("):
            inner = self.ternary(depth + 1)
            self.expects(")")
            return inner
        if self.takes("["):
            return ("list", self.items(depth))
        raise self.fault(f"unexpected {value!r}")

    def items(self, depth: int) -> tuple[Node, ...]:
        items: list[Node] = []
        while not self.takes("]"):
            if items:
                self.expects(",")
            items.append(self.ternary(depth + 1))
        return tuple(items)

    def named(self, name: str, depth: int) -> Node:
        if name in _WORDS:
            return ("literal", _WORDS[name])
        if self.takes("("):
            if name not in FUNCTIONS:
                raise self.fault(f"Turnout does not support {name}(…)")
            arguments = self.arguments(depth)
            if len(arguments) != 1:
                raise self.fault(f"{name}(…) takes one argument")
            return ("call", name, arguments[0])
        if name not in ROOTS:
            raise self.fault(f"unknown name {name!r} (there are: event, async)")
        return ("root", name)

    def string(self, quoted: str) -> str:
        body = quoted[1:-1]
        if quoted[0] == "'":
            body = body.replace("\\'", "'").replace('"', '\\"')
        try:
            return str(json.loads(f'"{body}"'))
        except ValueError:
            raise self.fault(f"cannot read the string {quoted}") from None

"""Nodes of a syntax tree: their places, their names, what they wrap."""

import sys
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

DEEPEST = 60
WRAPPERS = frozenset(
    [
        "parenthesized_expression",
        "await_expression",
        "await",
        "non_null_expression",
        "as_expression",
        "satisfies_expression",
    ]
)


def joined(nodes: Iterable[Any]) -> list[tuple[int, int]]:
    """List the places of nodes, sorted, those within others left out."""
    places: list[tuple[int, int]] = []
    for start, end in sorted(map(span, nodes)):
        if not places or start >= places[-1][1]:
            places.append((start, end))
    return places


def span(node: Any) -> tuple[int, int]:
    """Return a node's place in characters.

    An edit knows it at once; a range also counts columns, which takes as long as the line is.
    """
    place = node.replace("")
    return place.start_pos, place.end_pos


def inside(places: Sequence[tuple[int, int]], offset: int) -> bool:
    """Say whether an offset stands in one of the places, which are sorted and apart."""
    at = bisect_right(places, (offset, sys.maxsize)) - 1
    return at >= 0 and offset < places[at][1]


def unwrapped(node: Any) -> Any:
    """Look through parentheses, `await`, `!` and `as`."""
    for _ in range(DEEPEST):
        if node.kind() not in WRAPPERS:
            return node
        inner = next((child for child in node.children() if child.is_named()), None)
        if inner is None:
            return node
        node = inner
    return node


def dotted(node: Any, depth: int = 0) -> str:
    """Return a callee's name: `a.b`, `a().b`; `?` for what has none."""
    if depth > DEEPEST:
        return "?"
    node = unwrapped(node)
    kind = node.kind()
    if kind in ("identifier", "this", "super", "import", "property_identifier", "type_identifier"):
        return str(node.text())
    if kind in ("member_expression", "attribute"):
        parent = node.field("object")
        name = node.field("property") or node.field("attribute")
        return f"{dotted(parent, depth + 1)}.{name.text()}" if parent and name else "?"
    if kind in ("call_expression", "call", "new_expression"):
        callee = node.field("function") or node.field("constructor")
        return f"{dotted(callee, depth + 1)}()" if callee else "?"
    if kind in ("subscript_expression", "subscript"):
        parent = node.field("object") or node.field("value")
        index = node.field("index") or node.field("subscript")
        if parent and index and index.kind() == "string":
            return f"{dotted(parent, depth + 1)}.{literal(index)[0]}"
    return "?"


def callee(node: Any) -> Any:
    """Return the part of a call that is called."""
    return node.field("function") or node.field("constructor")


def arguments(node: Any) -> list[Any]:
    """List a call's arguments, comments left out."""
    listed = node.field("arguments")
    if listed is None:
        return []
    return [child for child in listed.children() if child.is_named() and child.kind() != "comment"]


def literal(node: Any) -> tuple[str, int, int]:
    """Return a string's content as written, and its place without the quotes."""
    start, end = span(node)
    text = str(node.text())
    cut = len(text) - len(text.lstrip("rbufRBUF"))
    mark = text[cut : cut + 3] if text[cut : cut + 3] in ('"""', "'''") else text[cut : cut + 1]
    inner = text[cut + len(mark) : len(text) - len(mark)]
    return inner, start + cut + len(mark), end - len(mark)

"""Finds out whether a function's only parameter is an object of known parts or another value."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any, Literal

from turnout_audit.nodes import literal, unwrapped

ParameterUse = Literal["object", "other", "mixed", "unsure"]
"""`mixed` takes what the object holds, and what it does not hold."""
FUNCTIONS = frozenset(
    [
        "arrow_function",
        "function_expression",
        "function",
        "method_definition",
        "lambda",
        "generator_function",
    ]
)


def listed(function: Any) -> list[Any]:
    """List a function's parameters, comments left out."""
    sole = function.field("parameter")
    if sole is not None:
        return [sole]
    holder = function.field("parameters")
    return (
        [c for c in holder.children() if c.is_named() and c.kind() != "comment"] if holder else []
    )


def parameter_use(node: Any, parts: Collection[str], whole: Collection[str]) -> ParameterUse | None:
    """Say what the only parameter of a function is, by its pattern, its type and its uses.

    `parts` are what the object holds; `whole` are names that only something else would be given.
    None where it is no function written here, or has not exactly one parameter.
    """
    function = unwrapped(node)
    parameters = listed(function) if function.kind() in FUNCTIONS else []
    if len(parameters) != 1:
        return None
    pattern = parameters[0].field("pattern") or parameters[0]
    if pattern.kind() == "object_pattern":
        return _of_keys(_pattern_keys(pattern), parts) or "object"
    if pattern.kind() != "identifier":
        return "unsure"
    typed = _of_type(parameters[0].field("type"), parts)
    if typed is not None:
        return typed
    return _of_uses(function, str(pattern.text()), parts, whole)


def _of_keys(keys: Iterable[str], parts: Collection[str]) -> ParameterUse | None:
    """Decide by the keys that are read: a key that the object lacks means another value."""
    expected = [key in parts for key in keys]
    if not expected:
        return None
    return "object" if all(expected) else "mixed" if any(expected) else "other"


def _pattern_keys(pattern: Any) -> Iterator[str]:
    for child in pattern.children():
        kind = child.kind()
        if kind == "shorthand_property_identifier_pattern":
            yield str(child.text())
        elif kind == "pair_pattern":
            yield _name(child.field("key"))
        elif kind == "object_assignment_pattern":
            yield _name(child.field("left"))


def _of_type(annotation: Any, parts: Collection[str]) -> ParameterUse | None:
    inner = next((c for c in annotation.children() if c.is_named()), None) if annotation else None
    if inner is None or inner.kind() != "object_type":
        return None
    members = (c.field("name") for c in inner.children() if c.kind() == "property_signature")
    return _of_keys([_name(name) for name in members if name is not None], parts)


def _of_uses(
    function: Any, name: str, parts: Collection[str], whole: Collection[str]
) -> ParameterUse:
    """Decide by the uses: an unused parameter may be the object; one passed on is unsure."""
    body = function.field("body")
    uses = [n for n in _identifiers(body) if n.text() == name] if body is not None else []
    keys: list[str] = []
    passed = False
    for use in uses:
        names = _keys_of(use)
        keys += names
        passed = passed or not names
    verdict = _of_keys(keys, parts)
    if verdict == "object" and name in whole and not set(keys) & set(whole):
        return "unsure"
    if verdict is not None:
        return verdict
    if not passed:
        return "object"
    return "other" if name in whole else "unsure"


def _identifiers(body: Any) -> list[Any]:
    kinds = ("identifier", "shorthand_property_identifier")
    nodes: list[Any] = body.find_all({"rule": {"any": [{"kind": kind} for kind in kinds]}})
    return [body, *nodes] if body.kind() in kinds else nodes


def _keys_of(use: Any) -> list[str]:
    """Name the keys that are read from a variable here; none where it is used as a whole."""
    holder = use.parent()
    while holder is not None and holder.kind() in ("as_expression", "parenthesized_expression"):
        use, holder = holder, holder.parent()
    if holder is None:
        return []
    kind = holder.kind()
    if kind == "member_expression" and holder.field("object") == use:
        return [_name(holder.field("property"))]
    if kind == "subscript_expression" and holder.field("object") == use:
        index = holder.field("index")
        return [_name(index)] if index is not None and index.kind() == "string" else []
    target = holder.field("name") if kind == "variable_declarator" else None
    if target is not None and target.kind() == "object_pattern":
        return list(_pattern_keys(target))
    return []


def _name(node: Any) -> str:
    if node is None:
        return ""
    return literal(node)[0] if node.kind() == "string" else str(node.text())

"""Fixes of a function's parameters: from one after the other to one object."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from turnout_audit.fix.case import Case, FixResult, Unclear, named, pairs, span, understood, upwards
from turnout_audit.parameters import parameter_use

if TYPE_CHECKING:
    from ast_grep_py import SgNode

_FUNCTIONS = ("arrow_function", "function_expression", "method_definition")
_IDENTIFIER = re.compile(r"^[A-Za-z_$][\w$]*$")


def params(case: Case) -> FixResult:
    """Turn `(payload, { ctx })` into `({ payload, ctx })`, and `(payload)` into `({ payload })`.

    `options.names` says, per function, what its parameters before the last one are called. One
    parameter alone is the first of them only where `options.parts` and `options.whole` say so.
    """
    node = case.node()
    if not understood(node):
        return str(node)
    names: Mapping[str, Sequence[str]] = case.option("names") or {}
    name, function = _named_function(node, names)
    return _as_object(case, function, names[name])


def _named_function(node: "SgNode", names: Mapping[str, object]) -> tuple[str, "SgNode"]:
    for around in (node, *named(node), *node.ancestors()):
        name, value = _name_and_value(around)
        if name not in names:
            continue
        if value is None or value.kind() not in _FUNCTIONS:
            raise Unclear("the function is defined elsewhere")
        return name, value
    raise Unclear("no function that is known by name")


def _name_and_value(node: "SgNode") -> tuple[str, "SgNode | None"]:
    match node.kind():
        case "pair":
            key = node.field("key")
            return ("" if key is None else key.text().strip("'\"")), node.field("value")
        case "method_definition":
            name = node.field("name")
            return ("" if name is None else name.text()), node
        case "call_expression":
            callee, passed = node.field("function"), node.field("arguments")
            last = [None, *named(passed)][-1] if passed is not None else None
            return ("" if callee is None else callee.text().rsplit(".", 1)[-1]), last
        case "shorthand_property_identifier":
            return node.text(), None
        case "export_statement":
            declared = node.find(kind="function_declaration")
            name = None if declared is None else declared.field("name")
            return ("" if name is None else name.text()), None
        case _:
            return "", None


def _as_object(case: Case, function: "SgNode", names: Sequence[str]) -> FixResult:
    holder = function.field("parameters")
    if holder is None:
        return _single_parameter(case, function, names)
    parameters = [child for child in named(holder) if child.kind() != "comment"]
    if len(parameters) == 1:
        _must_be_other(case, function)
    if not 1 <= len(parameters) <= len(names) + 1:
        raise Unclear("takes other parameters than those known")
    entries: list[str] = []
    types: list[str | None] = []
    for position, parameter in enumerate(parameters):
        if parameter.kind() != "required_parameter" or parameter.field("value") is not None:
            raise Unclear("a parameter is optional or has a default")
        pattern = parameter.field("pattern")
        if pattern is None:
            raise Unclear("a parameter is not understood")
        last = position == len(names)
        entries += _entries(pattern, None if last else names[position])
        types.append(_type(parameter, None if last else names[position]))
    text = "{ " + ", ".join(entries) + " }" if entries else "_"
    return [case.edit(*span(holder), f"({text}{_annotation(function, types)})")]


def _single_parameter(case: Case, function: "SgNode", names: Sequence[str]) -> FixResult:
    """Fix `payload => …`, which has no parentheses."""
    parameter = function.field("parameter")
    if parameter is None:
        raise Unclear("has no parameter")
    _must_be_other(case, function)
    return [case.edit(*span(parameter), f"({{ {', '.join(_entries(parameter, names[0]))} }})")]


def _must_be_other(case: Case, function: "SgNode") -> None:
    """Refuse a function whose only parameter may be the new object already."""
    parts, whole = case.option("parts") or (), case.option("whole") or ()
    if parameter_use(function, parts, whole) != "other":
        raise Unclear("what its one parameter is cannot be told: look at it")


def _entries(pattern: "SgNode", name: str | None) -> list[str]:
    text = pattern.text()
    if name is None:
        if pattern.kind() != "object_pattern":
            raise Unclear("takes its last parameter whole: destructure it first")
        return [entry.text() for entry in named(pattern)]
    if pattern.kind() == "identifier":
        if text.startswith("_"):
            return []
        return [name if text == name else f"{name}: {text}"]
    if pattern.kind() == "object_pattern":
        return [f"{name}: {text}"]
    raise Unclear("a parameter is not understood")


def _type(parameter: "SgNode", name: str | None) -> str | None:
    """Return a parameter's type as members of the new object's type; None where there is none."""
    annotation = parameter.field("type")
    if annotation is None:
        return None
    text = annotation.text().lstrip(":").strip()
    if name is not None:
        return f"{name}: {text}"
    if text.startswith("{") and text.endswith("}"):
        return text[1:-1].strip().rstrip(";,")
    raise Unclear("the type of the last parameter is a name: write it out first")


def _annotation(function: "SgNode", types: Sequence[str | None]) -> str:
    annotations = [written_type for written_type in types if written_type]
    if not annotations:
        return ""
    if len(annotations) == len(types):
        return ": { " + "; ".join(annotations) + " }"
    if _payload_is_known(function):
        return ""
    raise Unclear("only some parameters have a type: give all, or none behind run")


def _payload_is_known(function: "SgNode") -> bool:
    """Whether the types follow from the task's own `run`.

    It must stand before: TypeScript learns a payload's type from the first function that it reads.
    """
    literal = upwards(function, "object")
    run = pairs(literal).get("run") if literal is not None else None
    if run is None or span(run)[0] > span(function)[0]:
        return False
    first = run.find(kind="required_parameter")
    return first is not None and first.field("type") is not None

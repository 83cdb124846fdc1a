"""Fixes of an option: its name, or its value."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from turnout_audit.fix.case import (
    Case,
    FixResult,
    arguments,
    named,
    pairs,
    span,
    understood,
    upwards,
)
from turnout_audit.parameters import parameter_use

if TYPE_CHECKING:
    from ast_grep_py import SgNode


def rename(case: Case) -> FixResult:
    """Rename by `table` what was matched: a key, a method, a variable of the environment.

    With `options.parts`, a function of one parameter must take an object of these parts.
    """
    start, end = case.finding.start, case.finding.end
    for old, new in case.fix.table.items():
        occurrence = re.compile(rf"(?<![\w$]){re.escape(old)}(?![\w$])").search(
            case.text, start, end
        )
        if occurrence is None:
            continue
        node = case.node()
        if understood(node) and _is_shorthand(case, occurrence.start(), occurrence.end()):
            new = f"{new}: {old}"  # noqa: PLW2901 -- the shorthand keeps its variable
        elif understood(node) and not _takes_parts(case, node):
            return "its one parameter may be no object of the new form: look at it first"
        return [case.edit(occurrence.start(), occurrence.end(), new)]
    return "written in a way that is not known"


def _takes_parts(case: Case, node: "SgNode") -> bool:
    """Say whether the function that the matched name stands for takes what it will be given."""
    parts, whole = case.option("parts"), case.option("whole") or ()
    holder = upwards(node, "pair", "method_definition", "call_expression") if parts else None
    if holder is None:
        return True
    values = [holder.field("value")] if holder.kind() == "pair" else [holder]
    if holder.kind() == "call_expression":
        values = [*arguments(holder)]
    return all(
        node is None or parameter_use(node, parts, whole) in (None, "object") for node in values
    )


def _is_shorthand(case: Case, start: int, end: int) -> bool:
    from turnout_audit.fix.case import covering

    root = case.tree()
    return understood(root) and covering(root, start, end).kind() == "shorthand_property_identifier"


def value(case: Case) -> FixResult:
    """Put another value by `table` where the option `options.key` has one of the old ones."""
    pair = _pair(case)
    if isinstance(pair, str):
        return pair
    node = pair.field("value")
    if node is None:
        return "its value comes from elsewhere"
    text = node.text().strip("'\"`")
    if node.kind() not in ("string", "true", "false", "number") or text not in case.fix.table:
        return "its value is not one of those known"
    return [case.edit(*span(node), case.fix.table[text])]


def preset(case: Case) -> FixResult:
    """Put the preset of `table` for an object of numbers: `{cpu: 1, memory: 2}` by `1 2`.

    `options.keys` are the object's keys, in the order of the table; an object that has nothing but
    `options.name` is the preset itself.
    """
    pair = _pair(case)
    if isinstance(pair, str):
        return pair
    node = pair.field("value")
    if node is None or node.kind() != "object":
        return "its value comes from elsewhere"
    entries = pairs(node)
    whole = entries[str(case.option("name"))].field("value") if _sole(entries, case) else None
    if whole is not None and whole.kind() == "string":
        return [case.edit(*span(node), whole.text())]
    keys: list[str] = list(case.option("keys") or [])
    if set(entries) != set(keys):
        return f"not exactly {' and '.join(keys)}"
    values = [entries[key].field("value") for key in keys]
    name = " ".join("" if node is None else node.text() for node in values)
    if name not in case.fix.table:
        return f"no preset has {' and '.join(keys)} {name}"
    return [case.edit(*span(node), f'"{case.fix.table[name]}"')]


def _sole(entries: Mapping[str, "SgNode"], case: Case) -> bool:
    return set(entries) == {case.option("name")}


def _pair(case: Case) -> "SgNode | str":
    node = case.node()
    if not understood(node):
        return str(node)
    key = str(case.option("key"))
    for around in (node, *node.ancestors()):
        if around.kind() == "pair" and _key(around) == key:
            return around
        if around.kind() == "object" and key in pairs(around):
            return pairs(around)[key]
    call = upwards(node, "call_expression", "new_expression")
    if call is not None:
        for literal in (
            around for around in named(call.field("arguments") or call) if around.kind() == "object"
        ):
            if key in pairs(literal):
                return pairs(literal)[key]
    return f"{key} is not written out here"


def _key(pair: "SgNode") -> str:
    key = pair.field("key")
    return "" if key is None else key.text().strip("'\"")

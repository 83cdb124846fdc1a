"""Fixes of calls: another callee, an option more, an argument moved, a declaration added."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from turnout_audit.fix.case import (
    Case,
    FixResult,
    Unclear,
    after_imports,
    arguments,
    has_spread,
    imported,
    pairs,
    span,
    understood,
    upwards,
)
from turnout_audit.model import Edit

if TYPE_CHECKING:
    from ast_grep_py import SgNode

_LITERALS = ("string", "number", "true", "false", "null")


def rewrite_call(case: Case) -> FixResult:
    """Call `options.callee` instead, imported from `options.from`.

    `options.result` names the part of the new result that stands for the old, awaited one;
    `options.wrap` the key under which the third argument goes into an object; `options.names` the
    calls, as captured, that have such a counterpart.
    """
    names = case.option("names")
    if names and case.finding.captured.get("name") not in names:
        return "has no counterpart"
    root, call = case.tree(), _call(case)
    if not understood(root) or not understood(call):
        return str(root if isinstance(root, str) else call)
    callee, result = str(case.option("callee")), str(case.option("result") or "")
    new = callee + _type_arguments(call) + _wrapped(call, str(case.option("wrap") or ""))
    edits = _in_place(case, call, new, result)
    if isinstance(edits, str):
        return edits
    base = _callee_text(call).partition(".")[0]
    imports = imported(
        case,
        root,
        callee.partition(".")[0],
        str(case.option("from")),
        without=base if _goes(case, root, base, result) else "",
    )
    return imports if isinstance(imports, str) else [*edits, *imports]


def _callee_text(call: "SgNode") -> str:
    """Return the callee as written, without the `await` that the grammar may put there."""
    callee = call.field("function")
    return "" if callee is None else callee.text().removeprefix("await").strip()


def _goes(case: Case, root: "SgNode", base: str, result: str) -> bool:
    """Whether every use of a name is a call that is rewritten, so that its import can go."""
    last = str((case.option("names") or [""])[0]).rpartition(".")[2]
    calls = [
        call
        for call in root.find_all(kind="call_expression")
        if _callee_text(call) == f"{base}.{last}"
        and not isinstance(_in_place(case, call, "", result), str)
    ]
    uses = [
        use
        for use in root.find_all(kind="identifier", regex=f"^{re.escape(base)}$")
        if upwards(use, "import_statement") is None
    ]
    return bool(calls) and len(uses) == len(calls)


def _call(case: Case) -> "SgNode | str":
    node = case.node()
    if not understood(node):
        return str(node)
    return upwards(node, "call_expression") or "not a call"


def _type_arguments(call: "SgNode") -> str:
    types = call.field("type_arguments")
    return "" if types is None else types.text()


def _wrapped(call: "SgNode", key: str) -> str:
    texts = [argument.text() for argument in arguments(call)]
    if key and len(texts) == 3:  # noqa: PLR2004 -- the third is the one to wrap
        texts[2] = f"{{ {key} }}" if texts[2] == key else f"{{ {key}: {texts[2]} }}"
    return f"({', '.join(texts)})"


def _in_place(case: Case, call: "SgNode", new: str, result: str) -> list[Edit] | str:
    """Replace an awaited call; a call that is not awaited is left alone."""
    if not result:
        return [case.edit(*span(call), new)]
    outer = _awaited(call)
    statement = call.parent()
    if outer is None and statement is not None and statement.kind() == "expression_statement":
        return [case.edit(*span(call), new)]  # nobody waits for its promise
    if outer is None:
        return "its promise is used as a value"
    holder = outer.parent()
    if holder is not None and holder.kind() == "expression_statement":
        return [case.edit(*span(outer), new)]
    if holder is not None and holder.kind() == "variable_declarator":
        name = holder.field("name")
        if name is not None and name.kind() == "identifier":
            return [
                case.edit(*span(name), _binding(result, name.text())),
                case.edit(*span(outer), new),
            ]
    return [case.edit(*span(outer), f"{new}.{result}")]


def _awaited(call: "SgNode") -> "SgNode | None":
    """Return what awaits the call; with type arguments the grammar puts `await` into the callee."""
    callee, outer = call.field("function"), call.parent()
    if callee is not None and callee.kind() == "await_expression":
        return call
    return outer if outer is not None and outer.kind() == "await_expression" else None


def _binding(result: str, name: str) -> str:
    return f"{{ {result} }}" if result == name else f"{{ {result}: {name} }}"


def insert_option(case: Case) -> FixResult:
    """Return the call's object the option `options.key` with the value `to`."""
    call = _call(case)
    if not understood(call):
        return str(call)
    key, passed = str(case.option("key")), arguments(call)
    entry = f"{key}: {case.fix.to}"
    if not passed:
        place = call.field("arguments")
        return "not a call" if place is None else [case.edit(*span(place), f"({{ {entry} }})")]
    literal = passed[0]
    if literal.kind() != "object":
        return "its options come from elsewhere"
    if has_spread(literal):
        return "some of its options come from elsewhere"
    if key in pairs(literal):
        return f"{key} is already there"
    return [_with_entry(case, literal, entry)]


def _with_entry(case: Case, literal: "SgNode", entry: str, *, first: bool = True) -> Edit:
    """Put an entry first or last into an object, in the object's own layout."""
    entries = [
        child for child in literal.children() if child.is_named() and child.kind() != "comment"
    ]
    start, end = span(literal)
    if not entries:
        return case.edit(start, end, f"{{ {entry} }}")
    text = case.text
    beside = span(entries[0 if first else -1])
    line = text[text.rfind("\n", 0, beside[0]) + 1 : beside[0]]
    gap = f"\n{line}" if not line.strip() and "\n" in literal.text() else " "
    if first:
        return case.edit(beside[0], beside[0], f"{entry},{gap}")
    return case.edit(beside[1], beside[1], f",{gap}{entry}")


def move_argument(case: Case) -> FixResult:
    """Move the second of three arguments into the first, as `options.key`, a list."""
    call = _call(case)
    if not understood(call):
        return str(call)
    key = str(case.option("key"))
    literal, moved = _old_form(arguments(call), key)
    removal = case.edit(span(literal)[1], span(moved)[1], "")
    text = moved.text()
    if moved.kind() == "array" and not any(child.is_named() for child in moved.children()):
        return [removal]
    if moved.kind() == "object":
        text = f"[{text}]"
    return [_with_entry(case, literal, f"{key}: {text}", first=False), removal]


def _old_form(passed: Sequence["SgNode"], key: str) -> tuple["SgNode", "SgNode"]:
    if len(passed) != 3:  # noqa: PLR2004 -- the old form
        raise Unclear("not of the old form")
    literal, moved, _ = passed
    if literal.kind() != "object" or has_spread(literal):
        raise Unclear("its options come from elsewhere")
    if key in pairs(literal):
        raise Unclear(f"{key} is already there")
    if moved.kind() not in {"object", "array"}:
        raise Unclear("what is to be moved comes from elsewhere")
    return literal, moved


def declare(case: Case) -> FixResult:
    """Declare what an option says inline, and name it there.

    `{queue: {name: "x", limit: 1}}` becomes `{queue: "x"}`, and `queue({name: "x", limit: 1})` is
    declared after the imports. `options.option` is the option, `options.callee` what declares.
    """
    root, call = case.tree(), _call(case)
    if not understood(root) or not understood(call):
        return str(root if isinstance(root, str) else call)
    inline = _inline(call, str(case.option("option")))
    if isinstance(inline, str):
        return inline
    entries = pairs(inline)
    name = entries["name"].field("value") if "name" in entries else None
    if name is None or not _is_constant(inline):
        return "its name or limit is only known at run time"
    edits = [case.edit(*span(inline), name.text())]
    if len(entries) == 1 or _is_declared(root, str(case.option("callee")), name.text()):
        return edits
    return _declared(case, root, inline, name.text(), edits)


def _inline(call: "SgNode", option: str) -> "SgNode | str":
    for argument in reversed(arguments(call)):
        if argument.kind() == "object" and option in pairs(argument):
            node = pairs(argument)[option].field("value")
            if node is not None and node.kind() == "object":
                return node
    return f"{option} comes from elsewhere"


def _is_constant(literal: "SgNode") -> bool:
    values = [entry.field("value") for entry in pairs(literal).values()]
    return not has_spread(literal) and all(
        value is not None and value.kind() in _LITERALS for value in values
    )


def _is_declared(root: "SgNode", callee: str, name: str) -> bool:
    label = name[1:-1]
    return any(
        (function := call.field("function")) is not None
        and function.text() == callee
        and re.search(rf"""\bname:\s*["']{re.escape(label)}["']""", call.text()) is not None
        for call in root.find_all(kind="call_expression")
    )


def _declared(
    case: Case, root: "SgNode", inline: "SgNode", name: str, edits: list[Edit]
) -> FixResult:
    callee = str(case.option("callee"))
    variable = _camel(name[1:-1]) + callee.capitalize()
    if root.has(kind="identifier", regex=f"^{variable}$"):
        return f"{variable} already means something else here"
    imports = imported(case, root, callee, str(case.option("from")))
    if isinstance(imports, str):
        return imports
    at = after_imports(case.text, root)
    before = "\n" if at and not any(edit.start == at for edit in imports) else ""
    text = f"{before}export const {variable} = {callee}({inline.text()});\n"
    if any(edit.start == at for edit in imports):
        joined = "".join(edit.replacement for edit in imports if edit.start == at)
        other_edits = [edit for edit in imports if edit.start != at]
        return [*edits, *other_edits, case.edit(at, at, f"{joined}\n{text}")]
    return [*edits, *imports, case.edit(at, at, text)]


def _camel(name: str) -> str:
    words = [word for word in re.split(r"[^A-Za-z0-9]+", name) if word]
    text = "".join([words[0].lower(), *(word.capitalize() for word in words[1:])]) if words else ""
    return text if text and not text[0].isdigit() else f"q{text}"

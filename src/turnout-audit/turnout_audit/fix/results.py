"""A fix of a call whose result is taken apart: two calls that give its parts."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from turnout_audit.fix.case import (
    Case,
    FixResult,
    Unclear,
    arguments,
    named,
    pairs,
    span,
    understood,
    upwards,
)
from turnout_audit.model import Edit

if TYPE_CHECKING:
    from ast_grep_py import SgNode

_SHARED = frozenset({"accessToken", "baseURL", "enabled"})
"""Options that mean the same to both new calls."""


def destructured(case: Case) -> FixResult:
    """Split `const { run, streams } = old(id)` into `options.rest` and one `options.part` a stream.

    `options.taken` is the name of the parts (`streams`), `options.gives` what the new call calls
    them, `options.old` and `options.module` the old call and where all come from.
    """
    root, node = case.tree(), case.node()
    if not understood(root) or not understood(node):
        return str(root if isinstance(root, str) else node)
    return _split(case, root, _the_call(root, str(case.option("old"))))


def _the_call(root: "SgNode", old: str) -> "SgNode":
    calls = [
        call
        for call in root.find_all(kind="call_expression")
        if (function := call.field("function")) is not None and function.text() == old
    ]
    if len(calls) != 1:
        raise Unclear(f"{old} is called {len(calls)} times under that name")
    return calls[0]


def _split(case: Case, root: "SgNode", call: "SgNode") -> Sequence[Edit]:
    declarator = call.parent()
    if declarator is None or declarator.kind() != "variable_declarator":
        raise Unclear("its result is not taken apart at once")
    handle, fields = _names(declarator, str(case.option("taken")))
    scope = upwards(declarator, "statement_block", "program")
    if scope is None:
        raise Unclear("stands nowhere")
    uses = _uses(scope, handle, declarator)
    keys = list(dict.fromkeys(key for key, _ in uses))
    if not keys:
        raise Unclear(f"{handle} is not read by name")
    _check_options(call)
    statement = upwards(declarator, "lexical_declaration", "variable_declaration")
    if statement is None or len(list(named(statement))) != 1:
        raise Unclear("declared together with something else")
    lines = _lines(case, call, keys, fields)
    return [
        case.edit(
            *span(statement),
            "\n".join([lines[0], *(_indent(case, statement) + line for line in lines[1:])]),
        ),
        *(case.edit(*span(use), _variable(case, key)) for key, use in uses),
        *_imports(case, root, with_rest=bool(fields)),
    ]


def _names(declarator: "SgNode", part: str) -> tuple[str, list[str]]:
    pattern = declarator.field("name")
    if pattern is None or pattern.kind() != "object_pattern":
        raise Unclear("its result is not taken apart at once")
    entries = [entry.text() for entry in named(pattern)]
    if any(not re.fullmatch(r"[A-Za-z_$][\w$]*", entry) for entry in entries):
        raise Unclear("its parts are renamed or have defaults")
    if part not in entries:
        raise Unclear(f"{part} is not taken")
    return part, [entry for entry in entries if entry != part]


def _uses(scope: "SgNode", part: str, declarator: "SgNode") -> list[tuple[str, "SgNode"]]:
    uses: list[tuple[str, SgNode]] = []
    declared_at = span(declarator)
    for name in scope.find_all(kind="identifier", regex=f"^{part}$"):
        place = span(name)
        if declared_at[0] <= place[0] < declared_at[1]:
            continue
        member = name.parent()
        if member is None or member.kind() != "member_expression" or member.child(0) != name:
            raise Unclear(f"{part} is passed on whole")
        key = member.field("property")
        if key is None:
            raise Unclear(f"{part} is read by a computed name")
        uses.append((key.text(), member))
    if scope.has(kind="shorthand_property_identifier", regex=f"^{part}$"):
        raise Unclear(f"{part} is passed on whole")
    return uses


def _check_options(call: "SgNode") -> None:
    passed = arguments(call)
    if not passed:
        raise Unclear("it names no run")
    for options in passed[1:]:
        if options.kind() != "object" or not set(pairs(options)) <= _SHARED:
            raise Unclear("has options that the new call does not know")


def _lines(case: Case, call: "SgNode", keys: Sequence[str], fields: Sequence[str]) -> list[str]:
    texts = [argument.text() for argument in arguments(call)]
    types = _types(call)
    lines = []
    if fields:
        first = f"<{types[0]}>" if types else ""
        lines.append(
            f"const {{ {', '.join(fields)} }} = {case.option('rest')}{first}({', '.join(texts)});"
        )
    for key in keys:
        type_argument = f'<{types[1]}["{key}"]>' if len(types) > 1 else ""
        passed = ", ".join([texts[0], f'"{key}"', *texts[1:]])
        lines.append(
            f"const {{ {case.option('gives')}: {_variable(case, key)} }} = "
            f"{case.option('part')}{type_argument}({passed});"
        )
    return lines


def _types(call: "SgNode") -> list[str]:
    types = call.field("type_arguments")
    return [] if types is None else [node.text() for node in named(types)]


def _variable(case: Case, key: str) -> str:
    gives = str(case.option("gives"))
    return key + gives[0].upper() + gives[1:]


def _indent(case: Case, statement: "SgNode") -> str:
    start = span(statement)[0]
    line = case.text[case.text.rfind("\n", 0, start) + 1 : start]
    return line if not line.strip() else ""


def _imports(case: Case, root: "SgNode", *, with_rest: bool) -> Sequence[Edit]:
    old, part, rest_name = (str(case.option(key)) for key in ("old", "part", "rest"))
    for statement in root.find_all(kind="import_statement"):
        source = statement.field("source")
        if source is None or source.text().strip("'\"") != case.option("module"):
            continue
        specifiers = statement.find_all(kind="import_specifier")
        texts = [specifier.text() for specifier in specifiers]
        if old not in texts:
            continue
        staying = [text for text in texts if text != old]
        specified = dict.fromkeys([*staying, *([rest_name] if with_rest else []), part])
        names = statement.find(kind="named_imports")
        if names is not None:
            return [case.edit(*span(names), "{ " + ", ".join(specified) + " }")]
    raise Unclear("imported in another way")

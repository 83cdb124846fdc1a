"""Imports of scripts: every way in which a module is brought in."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from turnout_audit.nodes import WRAPPERS, arguments, literal, span

SCRIPT_IMPORTS = ("import_statement", "export_statement"), "call_expression"
PYTHON_IMPORTS = ("import_statement", "import_from_statement"), "call"
"""Kinds of nodes: statements that import, and calls, some of which do."""
_SCRIPT_CALLS = re.compile(
    r"import|require|(?:require|import\.meta)\.resolve|(?:jest|vi|vitest|td|mock|(?:t|ctx|context)\.mock)"
    r"\.[A-Za-z_]+"
)
_LOADER = re.compile(r"([A-Za-z_$][\w$]*)\s*=\s*(?:[\w$]+\.)?createRequire\s*\(")
"""`const load = createRequire(import.meta.url)`: what is called like `require` afterwards."""
COMMENTED = re.compile(
    r"""///\s*<reference\s+types\s*=\s*["'](?P<types>[^"'\n]+)["']"""
    r"""|@import\b[^"'\n]*\bfrom\s*["'](?P<tag>[^"'\n]+)["']"""
    r"""|@(?:type|typedef|param|returns?|template|extends|satisfies)\b[^\n]*?"""
    r"""\bimport\(\s*["'](?P<typed>[^"'\n]+)["']\s*\)"""
)
"""Types that comments bring in: references and JSDoc."""
_ADDRESS = re.compile(
    r"(?:(?:npm|jsr):/?|https?://[^/\s]+/(?:(?:npm|gh|x|stable|v\d+)/)*(?:npm:)?)"
    r"(?P<name>@[\w.-]+/[\w.-]+|[\w.-]+)(?:@[^/?#]*)?(?P<path>(?:/[^?#]*)?)"
)
"""A package by Deno's specifiers, or on a server of packages."""
_PYTHON_CALLS = frozenset({"import_module", "__import__", "patch", "importorskip", "find_spec"})
MOCKS = frozenset(
    "mock unmock doMock dontMock doUnmock importActual importMock requireActual requireMock "  # noqa: SIM905 -- a table
    "setMock unstable_mockModule replaceEsm module".split()
)
DYNAMIC: tuple[str, ...] = (
    "import(",
    "require",
    "ock(",
    "ockModule",
    "Actual",
    "import_module",
    "__import__",
)
DYNAMIC += ("patch", "importorskip", "find_spec", "replaceEsm", "import (", "Mock")
DYNAMIC += ("meta.resolve", "createRequire", "ock.module")
"""Without any of these no call imports anything."""


NO_LOADERS: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Import:
    """One module that is brought in, and where its name stands."""

    modules: tuple[str, ...]
    """The package, and as written; for `from a import b` also `a.b`, since `b` may be a module."""
    kind: str
    names: tuple[tuple[str, str], ...] = ()
    """Exported name and local name; `*` is the whole module."""
    start: int
    end: int


def spellings(module: str) -> tuple[str, ...]:
    """Name a package that is addressed as in Deno or on the web, and then as it is written."""
    address = _ADDRESS.fullmatch(module.partition("?")[0])
    if address is None:
        return (module,)
    path = address["path"].removesuffix("/+esm")
    return f"{address['name']}{path}", module


def set_apart(
    imports: Iterable[Import], is_own: Callable[[str], bool] | None
) -> tuple[Import, ...]:
    """Write the team's own modules as paths, so that they are taken for no package."""
    if is_own is None:
        return tuple(imports)
    return tuple(
        replace(imported, modules=(f"./{imported.modules[0]}",))
        if is_own(imported.modules[0])
        else imported
        for imported in imports
    )


def script_imports(nodes: Iterable[Any], text: str) -> Iterator[Import]:
    """Read the imports of JavaScript and TypeScript."""
    loaders = frozenset(_LOADER.findall(text)) if "createRequire" in text else NO_LOADERS
    for comment in COMMENTED.finditer(text):
        start, end = comment.span(comment.lastgroup or 0)
        yield Import(modules=spellings(text[start:end]), kind="type", start=start, end=end)
    for node in nodes:
        kind = node.kind()
        if kind == "call_expression":
            statement = _script_call(node, loaders)
        elif kind == "export_statement":
            statement = _import(node.field("source"), "reexport", _clause_names(node))
        else:
            statement = _statement(node)
        if statement is not None:
            yield statement


def _import(source: Any, kind: str, names: Iterable[tuple[str, str]]) -> Import | None:
    if source is None or source.kind() not in ("string", "template_string"):
        return None
    module, start, end = literal(source)
    return Import(modules=spellings(module), kind=kind, names=tuple(names), start=start, end=end)


def _statement(node: Any) -> Import | None:
    required = next((c for c in node.children() if c.kind() == "import_require_clause"), None)
    if required is not None:
        local = next((c.text() for c in required.children() if c.kind() == "identifier"), "")
        source = next((c for c in required.children() if c.kind() == "string"), None)
        return _import(source, "require", [("*", local)])
    typed = any(child.kind() == "type" for child in node.children())
    return _import(node.field("source"), "type" if typed else "static", _clause_names(node))


def _clause_names(node: Any) -> Iterator[tuple[str, str]]:
    for child in node.children():
        kind = child.kind()
        if kind in ("import_clause", "named_imports", "export_clause"):
            yield from _clause_names(child)
        elif kind == "identifier" and node.kind() == "import_clause":
            yield "default", str(child.text())
        elif kind in ("namespace_import", "namespace_export"):
            yield "*", str(child.children()[-1].text())
        elif kind in ("import_specifier", "export_specifier"):
            name, alias = child.field("name"), child.field("alias")
            if name is not None:
                local = alias or name
                yield str(name.text()), str(local.text()) if kind == "import_specifier" else ""
        elif kind == "*":
            yield "*", ""


def _script_call(node: Any, loaders: frozenset[str]) -> Import | None:
    callee_node = node.field("function")
    if callee_node is None:
        return None
    name = _call_name(callee_node)
    if name in loaders:
        name = "require"
    passed = arguments(node) if _SCRIPT_CALLS.fullmatch(name) else ()
    if not passed:
        return None
    if name == "import":
        return _import(passed[0], "dynamic", _holder_names(node))
    if name == "require":
        return _import(passed[0], "require", _holder_names(node))
    if name.endswith(".resolve"):
        return _import(passed[0], "require", ())
    return _import(passed[0], "mock", ()) if name.rpartition(".")[2] in MOCKS else None


def _call_name(callee_node: Any) -> str:
    """Return a name of three parts at most: a chain's text may be as long as the file."""
    kind = callee_node.kind()
    if kind in ("identifier", "import"):
        return str(callee_node.text())
    if kind == "call_expression":
        return "require" if _is_loader(callee_node) else ""
    holder = callee_node.field("object") if kind == "member_expression" else None
    if holder is not None and holder.kind() == "member_expression":
        short = holder.field("object").kind() == "identifier"
    else:
        short = holder is not None and holder.kind() in ("identifier", "meta_property")
    return str(callee_node.text()) if short else ""


def _is_loader(call: Any) -> bool:
    """Say whether a call makes a `require`: `createRequire(import.meta.url)`."""
    maker = call.field("function")
    named = maker is not None and maker.kind() in ("identifier", "member_expression")
    return bool(named and str(maker.text()).endswith("createRequire"))


def _holder_names(node: Any) -> Iterator[tuple[str, str]]:
    """What a dynamic import or a require is put into."""
    parent = node.parent()
    while parent is not None and parent.kind() in WRAPPERS:
        parent = parent.parent()
    if parent is None:
        return
    if parent.kind() == "member_expression":
        name = parent.field("property")
        holder = parent.parent()
        local = holder.field("name") if holder and holder.kind() == "variable_declarator" else None
        simple = local is not None and local.kind() == "identifier"
        if name is not None:
            yield str(name.text()), str(local.text()) if local and simple else ""
    elif parent.kind() == "variable_declarator":
        target = parent.field("name")
        if target.kind() == "identifier":
            yield "*", str(target.text())
        else:
            yield from pattern_names(target)


def pattern_names(pattern: Any) -> Iterator[tuple[str, str]]:
    """List what an object pattern takes out, and the local names it gives."""
    for child in pattern.children():
        if child.kind() == "shorthand_property_identifier_pattern":
            yield str(child.text()), str(child.text())
        elif child.kind() == "pair_pattern":
            key, value = child.field("key"), child.field("value")
            if key and value and value.kind() == "identifier":
                yield str(key.text()), str(value.text())
        elif child.kind() == "object_assignment_pattern":
            target = child.field("left")
            if target is not None:
                yield str(target.text()), str(target.text())


def python_imports(nodes: Iterable[Any]) -> Iterator[Import]:
    """Read the imports of Python."""
    for node in nodes:
        kind = node.kind()
        if kind == "call":
            imported = _python_call(node)
            if imported is not None:
                yield imported
        elif kind == "import_from_statement":
            yield from _python_from(node)
        else:
            typed = _typed(node)
            for child in node.field_children("name"):
                name = child.field("name") if child.kind() == "aliased_import" else child
                alias = child.field("alias") if child.kind() == "aliased_import" else None
                start, end = span(name)
                module = str(name.text())
                local = str(alias.text()) if alias else module
                yield Import(
                    modules=(module,), kind=typed, names=(("*", local),), start=start, end=end
                )


def _python_from(node: Any) -> Iterator[Import]:
    source = node.field("module_name")
    if source is None:
        return
    module = str(source.text()).replace(" ", "")
    names = []
    for child in node.field_children("name"):
        aliased = child.kind() == "aliased_import"
        name = str(child.field("name").text() if aliased else child.text())
        names.append((name, str(child.field("alias").text()) if aliased else name))
    if not names:
        names = [("*", "")]
    parts = [
        f"{module.rstrip('.') or ''}.{name}" if module.strip(".") else f"{module}{name}"
        for name, _ in names
    ]
    start, end = span(source)
    yield Import(
        modules=(module, *parts), kind=_typed(node), names=tuple(names), start=start, end=end
    )


def _typed(node: Any) -> str:
    block = node.parent()
    holder = block.parent() if block is not None else None
    if holder is not None and holder.kind() == "if_statement":
        condition = holder.field("condition")
        if condition is not None and "TYPE_CHECKING" in condition.text():
            return "type"
    return "static"


def _python_call(node: Any) -> Import | None:
    callee_node = node.field("function")
    last = callee_node.field("attribute") or callee_node if callee_node is not None else None
    name = str(last.text()) if last is not None and last.kind() == "identifier" else ""
    if name not in _PYTHON_CALLS:
        return None
    passed = arguments(node)
    if not passed or passed[0].kind() != "string":
        return None
    module, start, end = literal(passed[0])
    kind = "mock" if name == "patch" else "dynamic"
    parent = node.parent()
    names: tuple[tuple[str, str], ...] = ()
    if kind == "dynamic" and parent is not None and parent.kind() == "assignment":
        target = parent.field("left")
        if target is not None and target.kind() == "identifier":
            names = (("*", str(target.text())),)
    return Import(modules=(module,), kind=kind, names=names, start=start, end=end)

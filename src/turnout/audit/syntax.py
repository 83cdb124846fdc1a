"""What a script's syntax tree says: its imports, and the names of its calls, with aliases."""

import re
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from turnout.audit.ruleset import Language
from turnout.errors import InvalidSettings

DEEPEST = 60
GRAMMARS: dict[str, str] = {
    "python": "python",
    "typescript": "typescript",
    "tsx": "tsx",
    "javascript": "tsx",
}
"""JavaScript is read as TSX, which takes JSX and type annotations alike."""
JAVASCRIPT_IMPORTS: dict[str, Any] = {
    "rule": {
        "any": [
            {"kind": "import_statement"},
            {"kind": "export_statement", "has": {"field": "source", "kind": "string"}},
            {
                "kind": "call_expression",
                "has": {
                    "field": "function",
                    "regex": r"^(import|require|require\.resolve|(jest|vi|vitest|td)\.\w+)$",
                },
            },
        ]
    }
}
PYTHON_IMPORTS: dict[str, Any] = {
    "rule": {
        "any": [
            {"kind": "import_statement"},
            {"kind": "import_from_statement"},
            {
                "kind": "call",
                "has": {
                    "field": "function",
                    "regex": r"(^|\.)(import_module|__import__|patch|importorskip|find_spec)$",
                },
            },
        ]
    }
}
MOCKS = frozenset(
    "mock unmock doMock dontMock doUnmock importActual importMock requireActual requireMock "  # noqa: SIM905 -- a table
    "setMock unstable_mockModule replaceEsm".split()
)
SCRIPT_CALLS = ("call_expression", "new_expression")
_DYNAMIC = ("import(", "require", "ock(", "ockModule", "Actual", "import_module", "__import__")
_DYNAMIC += ("patch", "importorskip", "find_spec", "replaceEsm", "import (", "Mock")
"""Without any of these no call imports anything."""
STRINGS: dict[str, tuple[str, ...]] = {
    "python": ("string",),
    **dict.fromkeys(("typescript", "tsx", "javascript"), ("string", "template_string")),
}
MEMBERS = ["member_expression", "subscript_expression"]
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Import:
    """One module that is brought in, and where its name stands."""

    modules: tuple[str, ...]
    """As written; for `from a import b` also `a.b`, since `b` may be a module."""
    kind: str
    names: tuple[tuple[str, str], ...] = ()
    """Exported name and local name; `*` is the whole module."""
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Binding:
    """What a local name stands for: a module, and a dotted name in it."""

    module: str
    name: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the rules ask of a tree, so that it is walked once for all of them."""

    modules: Callable[[str], bool]
    """Whether some rule resolves names of this module."""
    calls: frozenset[str] | None
    """The last names of calls, as expressions (Rust syntax); None for all calls."""
    members: frozenset[str] | None = frozenset()
    """The last names of members; None for all."""
    plain: bool = False
    """Whether members without a dot are wanted."""
    depth: int = 0
    """How many calls deep variables that hold what a call returned are followed."""


EVERYTHING = Wanted(lambda _: True, None, None, plain=True, depth=9)


class Tree:
    """A parsed script."""

    def __init__(self, text: str, language: Language, root: Any, wanted: Wanted) -> None:
        self.text = text
        self.language = language
        self.root = root
        self.wanted = wanted

    @cached_property
    def _outline(self) -> dict[str, list[Any]]:
        """List imports, and what could not be parsed, in one walk."""
        rules = (PYTHON_IMPORTS if self.language == "python" else JAVASCRIPT_IMPORTS)["rule"]["any"]
        if not any(word in self.text for word in _DYNAMIC):
            rules = rules[:-1]
        found: dict[str, list[Any]] = {"import": [], "ERROR": []}
        for node in self.root.find_all({"rule": {"any": [*rules, {"kind": "ERROR"}]}}):
            found["ERROR" if node.kind() == "ERROR" else "import"].append(node)
        return found

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """List the imports in the order of the text."""
        read = _python_imports if self.language == "python" else _script_imports
        return tuple(read(self._outline["import"]))

    @cached_property
    def broken(self) -> list[tuple[int, int]]:
        """List what could not be parsed."""
        return [span(node) for node in self._outline["ERROR"]]

    @cached_property
    def comments(self) -> list[tuple[int, int]]:
        """List where comments stand."""
        return joined(self.root.find_all({"rule": {"kind": "comment"}}))

    @cached_property
    def strings(self) -> list[tuple[int, int]]:
        """List where strings stand, templates included."""
        kinds = [{"kind": kind} for kind in STRINGS[self.language]]
        return joined(self.root.find_all({"rule": {"any": kinds}}))

    @cached_property
    def modules(self) -> frozenset[str]:
        """Name every module that is imported."""
        return frozenset(module for each in self.imports for module in each.modules)

    @cached_property
    def imported(self) -> dict[str, list[Binding]]:
        """Tell what the names of imports stand for."""
        found: dict[str, list[Binding]] = {}
        for each in self.imports:
            for exported, local in each.names:
                meant = _meant(each.modules, exported)
                kept = [binding for binding in meant if self.wanted.modules(binding.module)]
                if local and kept:
                    found.setdefault(local, []).extend(kept)
        return found

    @cached_property
    def bindings(self) -> dict[str, list[Binding]]:
        """Tell what local names stand for: what is imported, and what its calls returned."""
        found = dict(self.imported)
        for node in self._named["variable"] if found else ():
            target = node.field("name") or node.field("left")
            value = unwrapped(node.field("value") or node.field("right"))
            if target is None:
                continue
            if target.kind() == "object_pattern":
                self._follow_pattern(found, target, value)
            elif value.kind() in (*SCRIPT_CALLS, "call"):
                resolved = self._resolve(found, dotted(value))
                if resolved:
                    found.setdefault(dotted(target), resolved)
        return found

    @cached_property
    def _named(self) -> dict[str, list[Any]]:
        """List calls, members and variables that some rule may want, in one walk."""
        found: dict[str, list[Any]] = {"call": [], "member": [], "variable": []}
        sorts: dict[str, str] = {}
        rules: list[dict[str, Any]] = []
        for sort, kind, rule in self._rules():
            sorts[kind] = sort
            rules.append({"kind": kind, **rule})
        for node in self.root.find_all({"rule": {"any": rules}}) if rules else ():
            found[sorts[node.kind()]].append(node)
        return found

    def _rules(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        python = self.language == "python"
        if self.wanted.calls != frozenset():
            names = self._last(self.wanted.calls)
            members = "attribute" if python else "member_expression"
            for kind in ("call",) if python else SCRIPT_CALLS:
                field = "constructor" if kind == "new_expression" else "function"
                yield (
                    "call",
                    kind,
                    {"has": {"field": field, "any": _ending(names, members)}} if names else {},
                )
        if self.wanted.members != frozenset():
            names = self._last(self.wanted.members)
            kinds = ("attribute",) if python else MEMBERS
            for kind in (*kinds, "identifier") if self.wanted.plain else kinds:
                yield "member", kind, _named_like(kind, names) if names else {}
        if self.wanted.depth and self.imported:
            names = "|".join(sorted(re.escape(name) for name in self.imported))
            value = (
                {"regex": rf"^(await\s+|new\s+|\()*({names})\b"} if self.wanted.depth == 1 else {}
            )
            for kind in ("assignment",) if python else _VARIABLES:
                field = "right" if "assignment" in kind else "value"
                yield "variable", kind, {"has": {"field": field, **(value or {"regex": "."})}}

    def _follow_pattern(self, found: dict[str, list[Binding]], target: Any, value: Any) -> None:
        for binding in self._resolve(found, dotted(value)):
            for exported, local in _pattern_names(target):
                name = f"{binding.name}.{exported}" if binding.name else exported
                found.setdefault(local, [Binding(binding.module, name)])

    def resolve(self, name: str) -> list[Binding]:
        """Tell what a dotted name of this file may stand for; nothing if it is not imported."""
        if re.split(r"[.(]", name, maxsplit=1)[0] not in self._roots:
            return []
        return self._resolve(self.bindings, name)

    @cached_property
    def _roots(self) -> frozenset[str]:
        return frozenset(re.split(r"[.(]", name, maxsplit=1)[0] for name in self.bindings)

    @staticmethod
    def _resolve(found: dict[str, list[Binding]], name: str) -> list[Binding]:
        cut = len(name)
        while cut > 0:
            head, rest = name[:cut], name[cut:]
            if head in found:
                return [Binding(b.module, _appended(b.name, rest)) for b in found[head]]
            cut = max(head.rfind("."), head.rfind("(") if head.endswith("()") else -1)
        return []

    @cached_property
    def calls(self) -> list[tuple[Any, Any, str]]:
        """List the calls that some rule may want: call, what is called, its dotted name."""
        called = ((node, callee(node)) for node in self._named["call"])
        return [(node, inner, dotted(inner)) for node, inner in called if inner is not None]

    @cached_property
    def members(self) -> list[tuple[Any, str]]:
        """List the dotted names, and plain ones, that some rule may want."""
        return [(node, dotted(node)) for node in self._named["member"]]

    def called(self, lasts: frozenset[str] | None) -> Iterable[tuple[Any, Any, str]]:
        """Give the calls whose last name is one of these or an import's own; None for all."""
        if lasts is None:
            return self.calls
        return [each for each in self.calls if self._ends(each[2], lasts)]

    def read(self, lasts: frozenset[str] | None) -> Iterable[tuple[Any, str]]:
        """Give the members whose last name is one of these or an import's own; None for all."""
        if lasts is None:
            return self.members
        return [each for each in self.members if self._ends(each[1], lasts)]

    def _ends(self, name: str, lasts: frozenset[str]) -> bool:
        return name.rpartition(".")[2] in lasts or name in self.bindings

    @cached_property
    def decorators(self) -> list[Any]:
        """List the decorators."""
        return list(self.root.find_all({"rule": {"kind": "decorator"}}))

    def _last(self, names: frozenset[str] | None) -> str | None:
        """Make an expression of the last names, and of what imports are called here."""
        if names is None:
            return None
        local = {re.escape(name) for name in self.imported if name.isidentifier()}
        return "|".join(sorted(names | local))


def _ending(names: str, members: str) -> list[dict[str, Any]]:
    """Describe what is called: by its last name, looked for where that stands."""
    plain = ("identifier", members)
    wrapped = rf"(^|[.?!\s(])({names})[!)\s]*$|['\"]\]$"
    return [
        *({"kind": kind, **_named_like(kind, names)} for kind in plain),
        {"regex": wrapped, "not": {"any": [{"kind": kind} for kind in plain]}},
    ]


def _named_like(kind: str, names: str) -> dict[str, Any]:
    """Describe a name of a kind; a chain's text may be long, its last name is short."""
    field = {"member_expression": "property", "attribute": "attribute"}.get(kind)
    if field is not None:
        return {"has": {"field": field, "regex": f"^({names})$"}}
    return {"regex": r"['\"]\]$"} if kind == "subscript_expression" else {"regex": f"^({names})$"}


_VARIABLES = (
    "variable_declarator",
    "assignment_expression",
    "public_field_definition",
)


def parse(text: str, language: Language, wanted: Wanted | None = None) -> Tree | None:
    """Parse a script; None where the language has no syntax tree here."""
    grammar = GRAMMARS.get(language)
    if grammar is None:
        return None
    try:
        from ast_grep_py import SgRoot
    except ImportError as error:
        raise InvalidSettings(
            "the audit needs ast-grep-py: install turnout with its extra, turnout[audit]"
        ) from error
    return Tree(text, language, SgRoot(text, grammar).root(), wanted or EVERYTHING)


def joined(nodes: Iterable[Any]) -> list[tuple[int, int]]:
    """List the places of nodes, sorted, those within others left out."""
    places: list[tuple[int, int]] = []
    for start, end in sorted(map(span, nodes)):
        if not places or start >= places[-1][1]:
            places.append((start, end))
    return places


def span(node: Any) -> tuple[int, int]:
    """Tell a node's place in characters."""
    place = node.range()
    return place.start.index, place.end.index


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
    """Give a callee's name: `a.b`, `a().b`; `?` for what has none."""
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
    """Give the part of a call that is called."""
    return node.field("function") or node.field("constructor")


def arguments(node: Any) -> list[Any]:
    """List a call's arguments, comments left out."""
    listed = node.field("arguments")
    if listed is None:
        return []
    return [child for child in listed.children() if child.is_named() and child.kind() != "comment"]


def literal(node: Any) -> tuple[str, int, int]:
    """Give a string's content as written, and its place without the quotes."""
    start, end = span(node)
    text = str(node.text())
    cut = len(text) - len(text.lstrip("rbufRBUF"))
    mark = text[cut : cut + 3] if text[cut : cut + 3] in ('"""', "'''") else text[cut : cut + 1]
    inner = text[cut + len(mark) : len(text) - len(mark)]
    return inner, start + cut + len(mark), end - len(mark)


def _appended(name: str, rest: str) -> str:
    return f"{name}{rest}" if name else rest.removeprefix(".")


def _last(module: str, exported: str) -> bool:
    return module.endswith(f".{exported}")


def _meant(modules: tuple[str, ...], exported: str) -> list[Binding]:
    """What a name may stand for: a thing of the module, or, in Python, a module itself."""
    inner = [Binding(module, "") for module in modules[1:] if _last(module, exported)]
    return [Binding(modules[0], "" if exported == "*" else exported), *inner]


# -- JavaScript and TypeScript ---------------------------------------------------------------------


def _script_imports(nodes: Iterable[Any]) -> Iterator[Import]:
    for node in nodes:
        kind = node.kind()
        if kind == "call_expression":
            found = _script_call(node)
        elif kind == "export_statement":
            found = _made(node.field("source"), "reexport", _clause_names(node))
        else:
            found = _statement(node)
        if found is not None:
            yield found


def _made(source: Any, kind: str, names: Iterable[tuple[str, str]]) -> Import | None:
    if source is None or source.kind() not in ("string", "template_string"):
        return None
    module, start, end = literal(source)
    return Import(modules=(module,), kind=kind, names=tuple(names), start=start, end=end)


def _statement(node: Any) -> Import | None:
    required = next((c for c in node.children() if c.kind() == "import_require_clause"), None)
    if required is not None:
        local = next((c.text() for c in required.children() if c.kind() == "identifier"), "")
        source = next((c for c in required.children() if c.kind() == "string"), None)
        return _made(source, "require", [("*", local)])
    typed = any(child.kind() == "type" for child in node.children())
    return _made(node.field("source"), "type" if typed else "static", _clause_names(node))


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


def _script_call(node: Any) -> Import | None:
    name = str(node.field("function").text())
    given = arguments(node)
    if not given:
        return None
    if name == "import":
        return _made(given[0], "dynamic", _holder_names(node))
    if name.startswith("require"):
        return _made(given[0], "require", _holder_names(node) if name == "require" else ())
    return _made(given[0], "mock", ()) if name.rpartition(".")[2] in MOCKS else None


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
            yield from _pattern_names(target)


def _pattern_names(pattern: Any) -> Iterator[tuple[str, str]]:
    for child in pattern.children():
        if child.kind() == "shorthand_property_identifier_pattern":
            yield str(child.text()), str(child.text())
        elif child.kind() == "pair_pattern":
            key, value = child.field("key"), child.field("value")
            if key and value and value.kind() == "identifier":
                yield str(key.text()), str(value.text())
        elif child.kind() == "object_assignment_pattern":
            left = child.field("left")
            if left is not None:
                yield str(left.text()), str(left.text())


# -- Python ----------------------------------------------------------------------------------------


def _python_imports(nodes: Iterable[Any]) -> Iterator[Import]:
    for node in nodes:
        kind = node.kind()
        if kind == "call":
            found = _python_call(node)
            if found is not None:
                yield found
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
    given = arguments(node)
    if not given or given[0].kind() != "string":
        return None
    module, start, end = literal(given[0])
    name = str(node.field("function").text()).rpartition(".")[2]
    kind = "mock" if name == "patch" else "dynamic"
    parent = node.parent()
    names: tuple[tuple[str, str], ...] = ()
    if kind == "dynamic" and parent is not None and parent.kind() == "assignment":
        target = parent.field("left")
        if target is not None and target.kind() == "identifier":
            names = (("*", str(target.text())),)
    return Import(modules=(module,), kind=kind, names=names, start=start, end=end)

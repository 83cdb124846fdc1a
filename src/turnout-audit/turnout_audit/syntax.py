"""A script's syntax tree: its imports, and the names of its calls, aliases resolved."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any

from turnout_audit.imports import (
    DYNAMIC,
    PYTHON_IMPORTS,
    SCRIPT_IMPORTS,
    Import,
    pattern_names,
    python_imports,
    script_imports,
    set_apart,
)
from turnout_audit.nodes import callee, dotted, joined, span, unwrapped
from turnout_audit.ruleset import Language

GRAMMARS: dict[str, str] = {
    "python": "python",
    "typescript": "typescript",
    "tsx": "tsx",
    "javascript": "tsx",
}
"""JavaScript is read as TSX, which takes JSX and type annotations alike."""
SCRIPT_CALLS = ("call_expression", "new_expression")
STRINGS: dict[str, tuple[str, ...]] = {
    "python": ("string",),
    **dict.fromkeys(("typescript", "tsx", "javascript"), ("string", "template_string")),
}
MEMBERS = ("member_expression", "subscript_expression")
PLAIN = ("identifier",)
NO_NAMES: frozenset[str] = frozenset()
_LAST = MappingProxyType({"member_expression": "property", "attribute": "attribute"})


@dataclass(frozen=True, slots=True)
class Binding:
    """What a local name stands for: a module, and a dotted name in it."""

    module: str
    name: str


@dataclass(frozen=True, slots=True)
class TreeQuery:
    """What the rules look for in a tree, so that one walk serves them all."""

    modules: Callable[[str], bool]
    """Whether some rule resolves names of this module."""
    calls: frozenset[str] | None
    """The last names of calls, as expressions; None for all calls."""
    members: frozenset[str] | None = frozenset()
    """The last names of members; None for all."""
    plain: bool = False
    """Whether members without a dot are wanted."""
    depth: int = 0
    """How many calls deep variables that hold what a call returned are followed."""


PASSES = 4
"""How often variables are followed through declarations that stand further down."""

WHOLE_TREE = TreeQuery(lambda _: True, None, None, plain=True, depth=9)


class SyntaxTree:
    """A parsed script."""

    is_own: Callable[[str], bool] | None = None
    """Whether a module is one of the team's own; None where that is not looked at."""

    def __init__(self, text: str, language: Language, root: Any, query: TreeQuery) -> None:
        self.text = text
        self.language = language
        self.root = root
        self.query = query

    def _nodes_of(self, *kinds: str) -> list[Any]:
        """List the nodes of these kinds.

        Kinds are found quickly. Names are looked at here: an expression in a rule would be compiled
        anew for every file.
        """
        nodes: list[Any] = self.root.find_all({"rule": {"any": [{"kind": kind} for kind in kinds]}})
        return nodes

    @cached_property
    def _nodes(self) -> dict[str, list[Any]]:
        """List by kind, in one walk, what the rules may ask for, and what could not be parsed."""
        python, query = self.language == "python", self.query
        kinds = {*self._importing, "ERROR"}
        if query.calls != NO_NAMES:
            kinds.update(("call",) if python else SCRIPT_CALLS)
        if query.members != NO_NAMES:
            kinds.update(("attribute",) if python else MEMBERS, PLAIN if query.plain else ())
        if query.depth:
            kinds.update(("assignment",) if python else _VARIABLES)
        by_kind: dict[str, list[Any]] = {}
        for node in self._nodes_of(*sorted(kinds)):
            by_kind.setdefault(node.kind(), []).append(node)
        return by_kind

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """List the imports in the order of the text."""
        nodes = (node for kind in self._importing for node in self._nodes.get(kind, ()))
        python = self.language == "python"
        imports = python_imports(nodes) if python else script_imports(nodes, self.text)
        return set_apart(sorted(imports, key=lambda imported: imported.start), self.is_own)

    @cached_property
    def _importing(self) -> tuple[str, ...]:
        """Name the kinds of nodes that may import here; most texts have no call that does."""
        statements, call = PYTHON_IMPORTS if self.language == "python" else SCRIPT_IMPORTS
        return (*statements, call) if any(word in self.text for word in DYNAMIC) else statements

    @cached_property
    def broken(self) -> list[tuple[int, int]]:
        """List what could not be parsed."""
        return [span(node) for node in self._nodes.get("ERROR", ())]

    @cached_property
    def comments(self) -> list[tuple[int, int]]:
        """List where comments stand."""
        return joined(self._nodes_of("comment"))

    @cached_property
    def strings(self) -> list[tuple[int, int]]:
        """List where strings stand, templates included."""
        return joined(self._nodes_of(*STRINGS[self.language]))

    @cached_property
    def modules(self) -> frozenset[str]:
        """Name every module that is imported."""
        return frozenset(module for imported in self.imports for module in imported.modules)

    @cached_property
    def imported(self) -> dict[str, list[Binding]]:
        """Map the names of imports to what they stand for."""
        bindings: dict[str, list[Binding]] = {}
        for imported in self.imports:
            for exported, local in imported.names:
                possible = _possible_bindings(imported.modules, exported)
                relevant = [binding for binding in possible if self.query.modules(binding.module)]
                if local and relevant:
                    bindings.setdefault(local, []).extend(relevant)
        return bindings

    @cached_property
    def bindings(self) -> dict[str, list[Binding]]:
        """Map local names to what they stand for: imports, and results of their calls."""
        bindings = dict(self.imported)
        waiting = self._assigned if bindings and self.query.depth else []
        for _ in range(PASSES):
            count = len(bindings)
            waiting = [variable for variable in waiting if not self._followed(bindings, *variable)]
            if not waiting or len(bindings) == count:
                break
        return bindings

    @property
    def _assigned(self) -> list[tuple[Any, str]]:
        """List variables, and by name what is put into them: a call, or what a pattern opens."""
        assigned = []
        for node in self._variables:
            target = node.field("name") or node.field("left")
            value = node.field("value") or node.field("right")
            if target is not None and value is not None:
                value = unwrapped(value)
                if target.kind() == "object_pattern" or value.kind() in (*SCRIPT_CALLS, "call"):
                    assigned.append((target, dotted(value)))
        return assigned

    def _followed(self, bindings: dict[str, list[Binding]], target: Any, value: str) -> bool:
        """Follow a variable if its value is known; the value may be declared further down."""
        resolved = self._resolve(bindings, value)
        if resolved and target.kind() == "object_pattern":
            self._follow_pattern(bindings, target, resolved)
        elif resolved:
            bindings.setdefault(dotted(target), resolved)
        return bool(resolved)

    @property
    def _variables(self) -> Iterable[Any]:
        kinds = ("assignment",) if self.language == "python" else _VARIABLES
        return self._listed(kinds, lambda _: True)

    def _called_so(self, node: Any) -> bool:
        inner = callee(node)
        return inner is not None and self._ends_so(inner, self.query.calls)

    def _ends_so(self, node: Any, names: frozenset[str] | None) -> bool:
        """Whether a name's last part is one of these or of an import; True if unclear."""
        field = _LAST.get(kind := node.kind(), "")
        if kind == "subscript_expression":
            index = node.field("index")
            return index is not None and index.kind() == "string"
        last = node.field(field) if field else node
        if names is None or last is None or (kind not in PLAIN and not field):
            return True
        name = last.text()
        return name in self.bindings or name_fits(names)(name) is not None

    @staticmethod
    def _follow_pattern(
        bindings: dict[str, list[Binding]], target: Any, resolved: Iterable[Binding]
    ) -> None:
        for binding in resolved:
            for exported, local in pattern_names(target):
                name = f"{binding.name}.{exported}" if binding.name else exported
                bindings.setdefault(local, [Binding(binding.module, name)])

    def resolve(self, name: str) -> list[Binding]:
        """Return what a dotted name of this file may stand for; empty if it is not imported."""
        if re.split(r"[.(]", name, maxsplit=1)[0] not in self._roots:
            return []
        return self._resolve(self.bindings, name)

    @cached_property
    def _roots(self) -> frozenset[str]:
        return frozenset(re.split(r"[.(]", name, maxsplit=1)[0] for name in self.bindings)

    @staticmethod
    def _resolve(bindings: dict[str, list[Binding]], name: str) -> list[Binding]:
        cut = len(name)
        while cut > 0:
            head, members = name[:cut], name[cut:]
            if head in bindings:
                return [Binding(b.module, _appended(b.name, members)) for b in bindings[head]]
            cut = max(head.rfind("."), head.rfind("(") if head.endswith("()") else -1)
        return []

    @cached_property
    def calls(self) -> list[tuple[Any, Any, str]]:
        """List the calls that some rule may want: call, what is called, its dotted name."""
        kinds = ("call",) if self.language == "python" else SCRIPT_CALLS
        nodes = self._listed(kinds, self._called_so)
        called = ((node, callee(node)) for node in nodes)
        return [(node, inner, dotted(inner)) for node, inner in called if inner is not None]

    def _listed(self, kinds: Iterable[str], chosen: Callable[[Any], bool]) -> list[Any]:
        """List the nodes of some kinds that are chosen, in the order of the text."""
        lists = [self._nodes[kind] for kind in kinds if kind in self._nodes]
        listed = [node for nodes in lists for node in nodes if chosen(node)]
        return listed if len(lists) < 2 else sorted(listed, key=_place)  # noqa: PLR2004 -- one has its order

    @cached_property
    def members(self) -> list[tuple[Any, str]]:
        """List the dotted names, and plain ones, that some rule may want."""
        kinds = ("attribute", *PLAIN) if self.language == "python" else (*MEMBERS, *PLAIN)
        nodes = self._listed(kinds, lambda node: self._ends_so(node, self.query.members))
        return [(node, dotted(node)) for node in nodes]

    def called(self, lasts: frozenset[str] | None) -> Iterable[tuple[Any, Any, str]]:
        """Return the calls whose last name is one of these or an import's own; None for all."""
        if lasts is None:
            return self.calls
        return [call for call in self.calls if self._ends(call[2], lasts)]

    def read(self, lasts: frozenset[str] | None) -> Iterable[tuple[Any, str]]:
        """Return the members whose last name is one of these or an import's own; None for all."""
        if lasts is None:
            return self.members
        return [member for member in self.members if self._ends(member[1], lasts)]

    def _ends(self, name: str, lasts: frozenset[str]) -> bool:
        return name.rpartition(".")[2] in lasts or name in self.bindings

    @cached_property
    def decorators(self) -> list[Any]:
        """List the decorators."""
        return self._nodes_of("decorator")


@lru_cache(256)
def name_fits(names: frozenset[str]) -> Callable[[str], object]:
    """Make a test of a name by expressions, one of which it must fit as a whole."""
    return re.compile("|".join(sorted(names))).fullmatch


_VARIABLES = (
    "variable_declarator",
    "assignment_expression",
    "public_field_definition",
)


def parse(text: str, language: Language, query: TreeQuery | None = None) -> SyntaxTree | None:
    """Parse a script; None where the language has no syntax tree here."""
    grammar = GRAMMARS.get(language)
    if grammar is None:
        return None
    from ast_grep_py import SgRoot

    return SyntaxTree(text, language, SgRoot(text, grammar).root(), query or WHOLE_TREE)


def _place(node: Any) -> tuple[int, int]:
    """Order nodes as a walk meets them: by where they start, the outer ones first."""
    start, end = span(node)
    return start, -end


def _appended(name: str, members: str) -> str:
    return f"{name}{members}" if name else members.removeprefix(".")


def _last(module: str, exported: str) -> bool:
    return module.endswith(f".{exported}")


def _possible_bindings(modules: tuple[str, ...], exported: str) -> list[Binding]:
    """What a name may stand for: a thing of the module, or, in Python, a module itself."""
    inner = [Binding(module, "") for module in modules[1:] if _last(module, exported)]
    return [Binding(modules[0], "" if exported == "*" else exported), *inner]

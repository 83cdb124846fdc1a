"""What a script's syntax tree says: its imports, and the names of its calls, aliases resolved."""

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
NOTHING: frozenset[str] = frozenset()
_LAST = MappingProxyType({"member_expression": "property", "attribute": "attribute"})


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
    """The last names of calls, as expressions; None for all calls."""
    members: frozenset[str] | None = frozenset()
    """The last names of members; None for all."""
    plain: bool = False
    """Whether members without a dot are wanted."""
    depth: int = 0
    """How many calls deep variables that hold what a call returned are followed."""


PASSES = 4
"""How often variables are followed through declarations that stand further down."""

EVERYTHING = Wanted(lambda _: True, None, None, plain=True, depth=9)


class Tree:
    """A parsed script."""

    def __init__(self, text: str, language: Language, root: Any, wanted: Wanted) -> None:
        self.text = text
        self.language = language
        self.root = root
        self.wanted = wanted

    def _all(self, *kinds: str) -> list[Any]:
        """List the nodes of these kinds.

        Kinds are found quickly. Names are looked at here: an expression in a rule would be compiled
        anew for every file.
        """
        found: list[Any] = self.root.find_all({"rule": {"any": [{"kind": kind} for kind in kinds]}})
        return found

    @cached_property
    def _nodes(self) -> dict[str, list[Any]]:
        """List by kind, in one walk, what the rules may ask for, and what could not be parsed."""
        python, wanted = self.language == "python", self.wanted
        kinds = {*self._importing, "ERROR"}
        if wanted.calls != NOTHING:
            kinds.update(("call",) if python else SCRIPT_CALLS)
        if wanted.members != NOTHING:
            kinds.update(("attribute",) if python else MEMBERS, PLAIN if wanted.plain else ())
        if wanted.depth:
            kinds.update(("assignment",) if python else _VARIABLES)
        found: dict[str, list[Any]] = {}
        for node in self._all(*sorted(kinds)):
            found.setdefault(node.kind(), []).append(node)
        return found

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """List the imports in the order of the text."""
        read = python_imports if self.language == "python" else script_imports
        found = read(node for kind in self._importing for node in self._nodes.get(kind, ()))
        return tuple(sorted(found, key=lambda each: each.start))

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
        return joined(self._all("comment"))

    @cached_property
    def strings(self) -> list[tuple[int, int]]:
        """List where strings stand, templates included."""
        return joined(self._all(*STRINGS[self.language]))

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
        waiting = self._held if found and self.wanted.depth else []
        for _ in range(PASSES):
            known = len(found)
            waiting = [each for each in waiting if not self._followed(found, *each)]
            if not waiting or len(found) == known:
                break
        return found

    @property
    def _held(self) -> list[tuple[Any, str]]:
        """List variables, and by name what is put into them: a call, or what a pattern opens."""
        held = []
        for node in self._variables:
            target = node.field("name") or node.field("left")
            value = node.field("value") or node.field("right")
            if target is not None and value is not None:
                value = unwrapped(value)
                if target.kind() == "object_pattern" or value.kind() in (*SCRIPT_CALLS, "call"):
                    held.append((target, dotted(value)))
        return held

    def _followed(self, found: dict[str, list[Binding]], target: Any, value: str) -> bool:
        """Follow a variable if it is known what it holds: that may be declared further down."""
        resolved = self._resolve(found, value)
        if resolved and target.kind() == "object_pattern":
            self._follow_pattern(found, target, resolved)
        elif resolved:
            found.setdefault(dotted(target), resolved)
        return bool(resolved)

    @property
    def _variables(self) -> Iterable[Any]:
        kinds = ("assignment",) if self.language == "python" else _VARIABLES
        return self._listed(kinds, lambda _: True)

    def _called_so(self, node: Any) -> bool:
        inner = callee(node)
        return inner is not None and self._ends_so(inner, self.wanted.calls)

    def _ends_so(self, node: Any, names: frozenset[str] | None) -> bool:
        """Say whether a name's last part is wanted, or an import's own; what is in doubt is."""
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
        found: dict[str, list[Binding]], target: Any, resolved: Iterable[Binding]
    ) -> None:
        for binding in resolved:
            for exported, local in pattern_names(target):
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
        kinds = ("call",) if self.language == "python" else SCRIPT_CALLS
        found = self._listed(kinds, self._called_so)
        called = ((node, callee(node)) for node in found)
        return [(node, inner, dotted(inner)) for node, inner in called if inner is not None]

    def _listed(self, kinds: Iterable[str], chosen: Callable[[Any], bool]) -> list[Any]:
        """List the nodes of some kinds that are chosen, in the order of the text."""
        lists = [self._nodes[kind] for kind in kinds if kind in self._nodes]
        found = [node for nodes in lists for node in nodes if chosen(node)]
        return found if len(lists) < 2 else sorted(found, key=_place)  # noqa: PLR2004 -- one has its order

    @cached_property
    def members(self) -> list[tuple[Any, str]]:
        """List the dotted names, and plain ones, that some rule may want."""
        kinds = ("attribute", *PLAIN) if self.language == "python" else (*MEMBERS, *PLAIN)
        found = self._listed(kinds, lambda node: self._ends_so(node, self.wanted.members))
        return [(node, dotted(node)) for node in found]

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
        return self._all("decorator")


@lru_cache(256)
def name_fits(names: frozenset[str]) -> Callable[[str], object]:
    """Make a test of a name by expressions, one of which it must fit as a whole."""
    return re.compile("|".join(sorted(names))).fullmatch


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
    from ast_grep_py import SgRoot

    return Tree(text, language, SgRoot(text, grammar).root(), wanted or EVERYTHING)


def _place(node: Any) -> tuple[int, int]:
    """Order nodes as a walk meets them: by where they start, the outer ones first."""
    start, end = span(node)
    return start, -end


def _appended(name: str, rest: str) -> str:
    return f"{name}{rest}" if name else rest.removeprefix(".")


def _last(module: str, exported: str) -> bool:
    return module.endswith(f".{exported}")


def _meant(modules: tuple[str, ...], exported: str) -> list[Binding]:
    """What a name may stand for: a thing of the module, or, in Python, a module itself."""
    inner = [Binding(module, "") for module in modules[1:] if _last(module, exported)]
    return [Binding(modules[0], "" if exported == "*" else exported), *inner]

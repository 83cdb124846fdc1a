"""Finders that read syntax trees: imports, calls with their options, members, decorators."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from turnout_audit import nodes, syntax
from turnout_audit.names import Fits, expression_of, fits
from turnout_audit.parameters import FUNCTIONS, listed, parameter_use
from turnout_audit.ruleset import (
    AstMatch,
    CallMatch,
    DecoratorMatch,
    ImportMatch,
    Match,
    MemberMatch,
)
from turnout_audit.source import Hit
from turnout_audit.text import compiled
from turnout_audit.view import Finder, View

LOOPS = frozenset(
    [
        "for_statement",
        "for_in_statement",
        "while_statement",
        "do_statement",
        "list_comprehension",
        "generator_expression",
    ]
)
DEEPEST = 8


def find_imports(match: ImportMatch) -> Finder:
    """Find modules, imported in any way."""
    module_fits = fits(match.import_)
    name_fits = fits(match.names) if match.names else None

    def find(view: View) -> Iterator[Hit]:
        """Find the rule's matches."""
        for imported in view.imports:
            if match.kinds and imported.kind not in match.kinds:
                continue
            module = next((m for m in imported.modules if module_fits(m)), None)
            if module is None:
                continue
            names = [
                (name, local) for name, local in imported.names if not name_fits or name_fits(name)
            ]
            if name_fits and not names:
                continue
            captured = {
                "module": view.text[imported.start : imported.end],
                "kind": imported.kind,
                "names": ", ".join(name for name, _ in names),
                "local": names[0][1] if names else "",
            }
            yield Hit(start=imported.start, end=imported.end, captured=captured)

    return find


def find_calls(match: CallMatch) -> Finder:
    """Find calls by name, then by their options."""
    named = _Named(match.call, match.from_)
    narrow = _narrow(match)

    def find(view: View) -> Iterator[Hit]:
        """Find the rule's matches."""
        tree = view.tree
        if tree is None:
            return
        for node, callee, source_name in tree.called(named.lasts):
            name = named.canonical(tree, source_name)
            if name is not None and _surrounded(node, match.within):
                start, end = _name_span(callee)
                yield from narrow(node, Hit(start=start, end=end, captured={"name": name}))

    return find


def find_members(match: MemberMatch) -> Finder:
    """Find dotted names that are read."""
    named = _Named(match.member, match.from_)

    def find(view: View) -> Iterator[Hit]:
        """Find the rule's matches."""
        tree = view.tree
        for node, source_name in tree.read(named.lasts) if tree else ():
            if not (named.plain or "." in source_name):
                continue
            name = named.canonical(tree, source_name) if tree else None
            if name is not None and _surrounded(node, match.within) and not _in_import(node):
                start, end = _name_span(node)
                yield Hit(start=start, end=end, captured={"name": name})

    return find


def find_decorators(match: DecoratorMatch) -> Finder:
    """Find decorators by name."""
    named = _Named(match.decorator, match.from_)

    def find(view: View) -> Iterator[Hit]:
        """Find the rule's matches."""
        tree = view.tree
        for node in tree.decorators if tree else ():
            inner = next((child for child in node.children() if child.is_named()), None)
            if inner is None or tree is None:
                continue
            callee = nodes.callee(inner) if inner.kind() in ("call", "call_expression") else inner
            name = named.canonical(tree, nodes.dotted(callee))
            if name is not None:
                start, end = nodes.span(callee)
                yield Hit(start=start, end=end, captured={"name": name})

    return find


def find_ast(match: AstMatch) -> Finder:
    """Find what an ast-grep rule describes."""
    rule: dict[str, Any] = {"rule": match.ast}
    if match.constraints:
        rule["constraints"] = match.constraints
    variables = sorted(set(re.findall(r"\$([A-Z_][A-Z0-9_]*)", str(match.ast))))

    def find(view: View) -> Iterator[Hit]:
        """Find the rule's matches."""
        tree = view.tree
        for node in tree.root.find_all(rule) if tree else ():
            place = node.get_match(match.capture) if match.capture else node
            captured = {}
            for name in variables:
                value = node.get_match(name)
                if value is not None:
                    captured[name] = str(value.text())
            start, end = nodes.span(place or node)
            yield Hit(start=start, end=end, captured=captured)

    return find


class _Named:
    """Dotted names to look for, as written or as their modules export them."""

    def __init__(self, globs: Iterable[str], modules: Iterable[str]) -> None:
        globs = tuple(globs)
        lasts = frozenset(glob.rpartition(".")[2].removesuffix("()") for glob in globs)
        self.fits = fits(globs)
        self.plain = any("." not in glob for glob in globs)
        self.lasts = None if any(set("*?") & set(last) for last in lasts) else lasts
        self.module_fits: Fits | None = fits(modules) if modules else None

    def canonical(self, tree: syntax.SyntaxTree, name: str) -> str | None:
        """Return the name that fits, or None."""
        if self.module_fits is None:
            return name if self.fits(name) else None
        for binding in tree.resolve(name):
            if self.module_fits(binding.module) and self.fits(binding.name):
                return binding.name
        return None


def tree_query(matches: Iterable[Match]) -> syntax.TreeQuery:
    """Sum up what matches ask of a tree."""
    named = [m for m in matches if isinstance(m, CallMatch | MemberMatch | DecoratorMatch)]
    modules = [glob for match in named for glob in match.from_]
    calls = [glob for match in named if isinstance(match, CallMatch) for glob in match.call]
    members = [glob for match in named if isinstance(match, MemberMatch) for glob in match.member]
    globs = [
        *calls,
        *members,
        *(g for m in named if isinstance(m, DecoratorMatch) for g in m.decorator),
    ]
    return syntax.TreeQuery(
        modules=lru_cache(4096)(fits(modules)) if modules else lambda _: False,
        calls=_lasts(calls),
        members=_lasts(members),
        plain=any("." not in glob for glob in members),
        depth=max((glob.count("()") or "." in glob for glob in globs), default=0) if modules else 0,
    )


def _lasts(globs: Iterable[str]) -> frozenset[str] | None:
    """Take the last parts of names; None where one of them may be anything."""
    lasts = {glob.rpartition(".")[2].removesuffix("()") for glob in globs}
    if any(not last.strip("*?") for last in lasts):
        return None
    return frozenset(expression_of(last, wildcard="[^.(]*") for last in lasts)


def _in_import(node: Any) -> bool:
    parent = node.parent()
    return parent is not None and parent.kind() in (
        *("import_specifier", "import_clause", "namespace_import", "export_specifier"),
        *("dotted_name", "aliased_import", "keyword_argument_name"),
    )


def _name_span(callee: Any) -> tuple[int, int]:
    """A chain over several lines is shown where its last name stands."""
    start, end = nodes.span(callee)
    name = callee.field("property") or callee.field("attribute")
    if name is not None and "\n" in callee.text():
        return nodes.span(name)
    return start, end


def _surrounded(node: Any, within: tuple[str, ...]) -> bool:
    """Whether a node is inside one of these calls or loops."""
    if not within:
        return True
    name_fits = fits(within)
    start = nodes.span(node)[0]
    for around in node.ancestors():
        kind = around.kind()
        if kind in LOOPS and name_fits("loop"):
            return True
        if kind in ("call_expression", "call", "new_expression"):
            callee = nodes.callee(around)
            if callee and nodes.span(callee)[1] <= start and name_fits(nodes.dotted(callee)):
                return True
    return False


# -- options ---------------------------------------------------------------------------------------


def _narrow(match: CallMatch) -> Any:
    """Keep those calls of the right name whose arguments match."""
    key_fits = fits(match.key) if match.key else None
    missing = fits(match.missing) if match.missing else None
    value = compiled(match.value, ignore_case=False) if match.value else None
    uses = ("unsure",) if match.unsure else ("other", "mixed")

    def takes(value_node: Any) -> bool:
        return not match.parts or parameter_use(value_node, match.parts, match.whole) in uses

    def narrow(node: Any, hit: Hit) -> Iterator[Hit]:
        count = len(nodes.arguments(node))
        if match.min_args is not None and count < match.min_args:
            return
        if match.max_args is not None and count > match.max_args:
            return
        if missing is not None and not _lacks(node, missing):
            return
        if key_fits is None:
            if not match.parts or any(takes(argument) for argument in nodes.arguments(node)):
                yield hit
            return
        for path, key, value_node in options(node):
            if (
                key_fits(path)
                and _value_fits(value_node, value, match.min_params)
                and takes(value_node)
            ):
                start, end = _key_span(key)
                captured = {**hit.captured, "key": path, "value": str(value_node.text())[:2000]}
                yield Hit(start=start, end=end, captured=captured)

    return narrow


def _value_fits(node: Any, value: Any, min_params: int | None) -> bool:
    if value is not None and not value.search(node.text()):
        return False
    return min_params is None or _parameters(node) >= min_params


def _parameters(node: Any) -> int:
    node = nodes.unwrapped(node)
    return len(listed(node)) if node.kind() in FUNCTIONS else -1


def _lacks(node: Any, missing: Fits) -> bool:
    """Whether a call has options that can be read completely and lack these."""
    passed = nodes.arguments(node)
    tables = [nodes.unwrapped(a) for a in passed]
    if any(t.kind() in ("spread_element", "list_splat", "dictionary_splat") for t in tables):
        return False
    readable = [t for t in tables if t.kind() in ("object", "dictionary", "keyword_argument")]
    if passed and not readable:
        return False
    for table in readable:
        if any(c.kind() in ("spread_element", "dictionary_splat") for c in table.children()):
            return False
    return not any(missing(path) for path, _, _ in options(node))


def options(node: Any) -> Iterator[tuple[str, Any, Any]]:
    """List a call's options: dotted path, key and value."""
    for argument in nodes.arguments(node):
        if argument.kind() == "keyword_argument":
            yield from _keyword(argument, "", 0)
        else:
            yield from _table(argument, "", 0)


def _keyword(node: Any, prefix: str, depth: int) -> Iterator[tuple[str, Any, Any]]:
    key, value = node.field("name"), node.field("value")
    if key is not None and value is not None:
        path = f"{prefix}{key.text()}"
        yield path, key, value
        yield from _table(value, f"{path}.", depth + 1)


def _table(node: Any, prefix: str, depth: int) -> Iterator[tuple[str, Any, Any]]:
    node = nodes.unwrapped(node)
    kind = node.kind()
    if depth > DEEPEST:
        return
    if kind in ("array", "list"):
        for item in node.children():
            if item.is_named():
                yield from _table(item, f"{prefix.removesuffix('.')}[].", depth + 1)
    elif kind == "call" and prefix:
        for item in nodes.arguments(node):
            if item.kind() == "keyword_argument":
                yield from _keyword(item, prefix, depth)
    elif kind in ("object", "dictionary"):
        for item in node.children():
            yield from _entry(item, prefix, depth)


def _entry(item: Any, prefix: str, depth: int) -> Iterator[tuple[str, Any, Any]]:
    kind = item.kind()
    if kind == "pair":
        key, value = item.field("key"), item.field("value")
        if key is not None and value is not None:
            path = prefix + _key_text(key)
            yield path, key, value
            yield from _table(value, f"{path}.", depth + 1)
    elif kind == "method_definition":
        name = item.field("name")
        if name is not None:
            yield prefix + _key_text(name), name, item
    elif kind == "shorthand_property_identifier":
        yield prefix + str(item.text()), item, item


def _key_text(key: Any) -> str:
    return nodes.literal(key)[0] if key.kind() == "string" else str(key.text())


def _key_span(key: Any) -> tuple[int, int]:
    if key.kind() == "string":
        _, start, end = nodes.literal(key)
        return start, end
    return nodes.span(key)

"""One finding to mend, with its text and, for code, its syntax tree."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeGuard

from turnout_audit import kinds
from turnout_audit.model import Edit, Finding
from turnout_audit.ruleset import Fix

if TYPE_CHECKING:
    from ast_grep_py import SgNode

FixResult = Sequence[Edit] | str
"""The edits, or why there are none."""

_GRAMMAR = {"typescript": "typescript", "tsx": "tsx", "javascript": "tsx", "python": "python"}
NOT_CODE = "stands in a file of another language"
IN_FENCE = "stands in a part of a file of another language"


class Unclear(Exception):
    """The fixer does not know this form of the construct; the message says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One finding with its file, for a fixer."""

    text: str
    finding: Finding
    fix: Fix

    def edit(self, start: int, end: int, replacement: str) -> Edit:
        """Make an edit of this file in the name of the finding's rule."""
        return Edit(
            path=self.finding.path,
            start=start,
            end=end,
            replacement=replacement,
            rule=self.finding.rule,
            safe=self.fix.safe,
        )

    def option(self, name: str) -> Any:
        """Return an option of the rule's fix, or None."""
        return self.fix.options.get(name)

    def tree(self) -> "SgNode | str":
        """Parse the file; a reason where it is not a script, or does not parse."""
        language = _GRAMMAR.get(self.finding.language)
        if language is None:
            return NOT_CODE
        if kinds.classify(self.finding.path)[1] != self.finding.language:
            return IN_FENCE
        root = _parsed(self.text, language)
        return "the file does not parse" if root.has(kind="ERROR") else root

    def node(self) -> "SgNode | str":
        """Find the smallest node that holds the whole of what was matched."""
        root = self.tree()
        return (
            root if isinstance(root, str) else covering(root, self.finding.start, self.finding.end)
        )


@lru_cache(maxsize=4)
def _parsed(text: str, language: str) -> "SgNode":
    from ast_grep_py import SgRoot

    return SgRoot(text, language).root()


def understood(node: "SgNode | str | None") -> TypeGuard["SgNode"]:
    """Whether the value is a node; else it is a reason, or None."""
    return node is not None and not isinstance(node, str)


def span(node: "SgNode") -> tuple[int, int]:
    """Return a node's place in characters."""
    place = node.range()
    return place.start.index, place.end.index


def covering(root: "SgNode", start: int, end: int) -> "SgNode":
    """Find the smallest named node that covers the place."""
    node = root
    while True:
        inner = next(
            (
                child
                for child in node.children()
                if child.is_named() and span(child)[0] <= start and end <= span(child)[1]
            ),
            None,
        )
        if inner is None:
            return node
        node = inner


def upwards(node: "SgNode", *kinds: str) -> "SgNode | None":
    """Return the node itself, or the nearest one around it, of these kinds."""
    return next((around for around in (node, *node.ancestors()) if around.kind() in kinds), None)


def arguments(call: "SgNode") -> list["SgNode"]:
    """Return a call's arguments, comments left out."""
    holder = call.field("arguments")
    return [] if holder is None else [child for child in named(holder) if child.kind() != "comment"]


def named(node: "SgNode") -> Iterator["SgNode"]:
    """Return the named children."""
    return (child for child in node.children() if child.is_named())


def pairs(literal: "SgNode") -> Mapping[str, "SgNode"]:
    """Return an object literal's entries by key: pairs, methods and shorthands."""
    entries: dict[str, SgNode] = {}
    for entry in named(literal):
        if entry.kind() == "pair":
            key = entry.field("key")
        elif entry.kind() == "method_definition":
            key = entry.field("name")
        else:
            key = entry if entry.kind() == "shorthand_property_identifier" else None
        if key is not None:
            entries[key.text().strip("'\"")] = entry
    return entries


def has_spread(literal: "SgNode") -> bool:
    """Whether an object literal takes entries from elsewhere."""
    return any(entry.kind() == "spread_element" for entry in named(literal))


def imported(
    case: Case, root: "SgNode", name: str, module: str, *, without: str = ""
) -> Sequence[Edit] | str:
    """Make sure that `name` is imported from `module`, beside what is imported from there.

    The local name `without` is no longer imported.
    """
    for statement in root.find_all(kind="import_statement"):
        source = statement.field("source")
        if source is None or _unquoted(source.text()) not in _family(module):
            continue
        names = statement.find(kind="named_imports")
        if names is None or re.match(r"import\s+type\b", statement.text()):
            continue
        specifiers = [specifier.text() for specifier in named(names)]
        remaining = [text for text in specifiers if text.split()[-1] != without]
        if name in remaining:
            return []
        start, end = span(names)
        return [case.edit(start, end, "{ " + ", ".join([*remaining, name]) + " }")]
    if _is_bound(root, name):
        return f"{name} already means something else here"
    return [case.edit(*_after_imports(case.text, root), f'import {{ {name} }} from "{module}";\n')]


def _family(module: str) -> tuple[str, ...]:
    return module, f"{module}/v3"


def _unquoted(text: str) -> str:
    return text.strip("'\"`")


def _is_bound(root: "SgNode", name: str) -> bool:
    return root.has(kind="identifier", regex=f"^{re.escape(name)}$")


def after_imports(text: str, root: "SgNode") -> int:
    """Return the offset of the first line after the imports."""
    return _after_imports(text, root)[0]


def _after_imports(text: str, root: "SgNode") -> tuple[int, int]:
    ends = [
        span(statement)[1] for statement in named(root) if statement.kind() == "import_statement"
    ]
    if not ends:
        return 0, 0
    line_end = text.find("\n", max(ends))
    at = len(text) if line_end < 0 else line_end + 1
    return at, at

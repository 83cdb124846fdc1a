"""The imports at the head of a script, read without its syntax tree.

Most scripts import at their head, and nowhere else. There, between comments and directives, an
import stands in few forms; what is written in any other form is left to the syntax tree.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from turnout_audit.imports import COMMENTED, Import, set_apart, spellings
from turnout_audit.names import fits
from turnout_audit.ruleset import CallMatch, DecoratorMatch, MemberMatch

_NAME = r"[A-Za-z_$][0-9A-Za-z_$]*"
_BETWEEN = re.compile(
    r"""(?:\s++|//[^\n]*+|/\*[\s\S]*?\*/|(?:"use [a-z ]+"|'use [a-z ]+')[ \t]*(?:;|(?=\r?\n)))*+"""
)
_SOURCE = r"""(?P<mark>["'])(?P<module>[^"'\\\n]*)(?P=mark)"""
_END = r"""[ \t]*+(?:;|(?=\r?\n)|(?=//)|\Z)"""
_BRACES = r"""\{(?P<named>[^{}"'`/\\]*)\}"""
_IMPORT = re.compile(
    rf"import(?:\s+(?P<type>type)(?=\s*\{{|\s+\*|\s+(?!from\b){_NAME}))?\s*"
    rf"(?:(?:(?P<default>(?<=\s){_NAME})\s*(?:,\s*|(?=\s+from\b|\s*from\s*[\"'])))?"
    rf"(?:\*\s*as\s+(?P<whole>{_NAME})\s*|{_BRACES}\s*)?from\s*)?{_SOURCE}{_END}"
)
_EXPORT = re.compile(
    rf"export\s*(?:type\s*)?(?:\*(?:\s*as\s+(?P<whole>{_NAME}))?\s*|{_BRACES}\s*)"
    rf"from\s*{_SOURCE}{_END}"
)
_STARTS = re.compile(r"(?:import|export)\b(?!\s*[.(])")
_SPECIFIER = re.compile(
    rf"(?:type\s+(?!as\b))?(?P<name>(?!type\b|as\b){_NAME})(?:\s+as\s+(?P<local>(?!as\b){_NAME}))?"
)
_UNCLEAR = frozenset({"type", "from", "as"})


@dataclass(frozen=True, slots=True)
class Head:
    """What a script imports at its head, and where its head ends."""

    imports: tuple[Import, ...]
    end: int

    def names(self, match: CallMatch | MemberMatch | DecoratorMatch) -> bool:
        """Whether the head imports anything that the match needs."""
        module_fits = fits(match.from_)
        first_fits = fits(_firsts(_globs(match)))
        return any(
            exported == "*" or first_fits(exported)
            for imported in self.imports
            if any(map(module_fits, imported.modules))
            for exported, local in imported.names
            if local
        )

    def brings(self, globs: Iterable[str]) -> bool:
        """Whether the head imports a module that matches."""
        module_fits = fits(globs)
        return any(module_fits(module) for imported in self.imports for module in imported.modules)


def read(text: str, is_own: Callable[[str], bool] | None = None) -> Head | None:
    """Read the head of a script in JavaScript or TypeScript; None where it is not plain."""
    at = text.find("\n") if text.startswith("#!") else 0
    imports: list[Import] = []
    while True:
        at = _between(text, at)
        if not _STARTS.match(text, at):
            return _head(text, set_apart(imports, is_own), at)
        statement = _IMPORT.match(text, at) or _EXPORT.match(text, at)
        if statement is None:
            return (
                None
                if text.startswith("import", at)
                else _head(text, set_apart(imports, is_own), at)
            )
        names = _names(statement)
        if names is None:
            return None
        imports.append(_import(statement, names))
        at = statement.end()


def _head(text: str, imports: tuple[Import, ...], end: int) -> Head | None:
    """Return the head; None where its comments bring types in."""
    return None if COMMENTED.search(text, 0, end) else Head(imports, end)


def _between(text: str, at: int) -> int:
    gap = _BETWEEN.match(text, max(at, 0))
    return gap.end() if gap else at


def _import(statement: "re.Match[str]", names: tuple[tuple[str, str], ...]) -> Import:
    reexport = statement.re is _EXPORT
    typed = not reexport and statement["type"]
    return Import(
        modules=spellings(statement["module"]),
        kind="reexport" if reexport else "type" if typed else "static",
        names=names,
        start=statement.start("module"),
        end=statement.end("module"),
    )


def _names(statement: "re.Match[str]") -> tuple[tuple[str, str], ...] | None:
    """List exported and local names; None where one could be read in two ways."""
    parts = statement.groupdict()
    names = [("default", parts["default"])] if parts.get("default") else []
    reexport = statement.re is _EXPORT
    if parts["whole"]:
        names.append(("*", parts["whole"]))
    elif reexport and parts["named"] is None:
        names.append(("*", ""))
    for specifier in _specifiers(parts["named"]):
        if specifier is None:
            return None
        local = "" if reexport else specifier["local"] or specifier["name"]
        names.append((specifier["name"], local))
    return None if any(local in _UNCLEAR for _, local in names) else tuple(names)


def _specifiers(named: str | None) -> "Iterator[re.Match[str] | None]":
    parts = [part.strip() for part in (named or "").split(",")]
    if parts and not parts[-1]:
        parts.pop()
    return (_SPECIFIER.fullmatch(part) for part in parts)


def _globs(match: CallMatch | MemberMatch | DecoratorMatch) -> tuple[str, ...]:
    if isinstance(match, CallMatch):
        return match.call
    return match.member if isinstance(match, MemberMatch) else match.decorator


@lru_cache(1024)
def _firsts(globs: tuple[str, ...]) -> tuple[str, ...]:
    """Take what must be imported: the first parts of dotted names."""
    return tuple(re.split(r"[.(]", glob, maxsplit=1)[0] for glob in globs)

"""Finders that read text: regular expressions, environment variables, paths."""

import re
from collections.abc import Iterator
from typing import Any

from turnout_audit import nodes
from turnout_audit.names import expression_of
from turnout_audit.ruleset import DemandMatch, EnvMatch, TextMatch
from turnout_audit.source import Hit
from turnout_audit.view import Finder, View, groups, line_of, unquoted_hash

_READ = re.compile(r"""(?:\benv\s*(?:\?\.|\.)\s*|\benviron\.)$""")
_QUOTED = re.compile(r"""[\[(,]\s*[rbu]?["'`]$""")
_CLOSED = re.compile(r"""["'`]\s*[\]),]""")
_NAMED = re.compile(
    r"""(?:["'`$%{]|\b(?:ENV|env)\b[^\w\n]{0,3}|^[ \t]*(?:-[ \t]*|export[ \t]+|set[ \t]+)?)$"""
)
"""What stands before a variable in a language that is not read; a constant has its type there."""
_TOKEN = re.compile(r"""(?:\bSymbol(?:\.for)?|[Ii]nject|Token)(?:<[^()]*>)?\(\s*["'`]$""")
"""What a dependency is called; its name is no variable's."""
_KEY = re.compile(r"""\s*(?:\??\s*:|=\s*\w)""")
_DESTRUCTURED = re.compile(
    r"""[^{}();]{0,2000}\}\s*(?::[^=;]{0,200})?=\s*[^;\n]*env""", re.IGNORECASE
)
"""The rest of `{ A, B } = process.env`; in `import { A, B }` the names are the team's own."""
_OPENED = re.compile(r"""(?:^|[{,\n])\s*$""")


def compiled(expression: str, *, ignore_case: bool) -> Any:
    """Compile with re2, whose time is linear in the text."""
    import re2

    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = not ignore_case
    return re2.compile(f"(?m){expression}", options)


def find_text(match: TextMatch) -> Finder:
    """Find a regular expression's matches."""
    patterns = [
        (compiled(text, ignore_case=match.ignore_case), text.startswith("(?s)"))
        for text in match.text
    ]

    def find(view: View) -> Iterator[Hit]:
        """Find the rule's matches."""
        for pattern, whole in patterns:
            for occurrence in pattern.finditer(view.text):
                start, end = occurrence.span()
                if not whole:
                    start, end = _on_its_line(view.text, start, end)
                if start < end and _stands_in(view, start, match.where):
                    yield Hit(start=start, end=end, captured=groups(occurrence))

    return find


def find_lack(match: DemandMatch) -> Finder:
    """Find a text that lacks one of the expressions, at its start."""
    patterns = [compiled(expression, ignore_case=True) for expression in match.demand]

    def find(view: View) -> Iterator[Hit]:
        """Find the rule's matches."""
        if not all(pattern.search(view.text) for pattern in patterns):
            yield Hit(start=0, end=0, captured={"name": view.path})

    return find


def _on_its_line(text: str, start: int, end: int) -> tuple[int, int]:
    """Place a match that goes over lines on the last one that it reaches."""
    matched = text[start:end].rstrip()
    at = matched.rfind("\n") + 1
    if not at:
        return start, end
    return start + at + len(matched) - at - len(matched[at:].lstrip()), start + len(matched)


def _stands_in(view: View, offset: int, places: tuple[str, ...]) -> bool:
    tree = view.tree if places else None
    if tree is None:
        return True
    if nodes.inside(tree.comments, offset):
        return "comment" in places
    return ("string" if nodes.inside(tree.strings, offset) else "code") in places


def find_env(match: EnvMatch) -> Finder:
    """Find environment variables that are set or read."""
    names = "|".join(expression_of(glob, wildcard=r"\w*") for glob in match.env)
    pattern = compiled(rf"\b(?P<name>{names})\b", ignore_case=False)

    def find(view: View) -> Iterator[Hit]:
        """Find the rule's matches."""
        for variable in pattern.finditer(view.text):
            if _is_read(view, variable.start(), variable.end()):
                name = variable.group("name")
                yield Hit(start=variable.start(), end=variable.end(), captured={"name": name})

    return find


def _is_read(view: View, start: int, end: int) -> bool:
    line, at = line_of(view.text, start)
    if view.language in ("python", "typescript", "tsx", "javascript"):
        return _read_in_code(view, start, end)
    if view.language == "json":
        return not line.lstrip().startswith("//")
    if view.language == "text" and not _NAMED.search(line, 0, start - at):
        return False
    placeholder = view.text[max(0, start - 2) : start] == "::"
    return not placeholder and start - at < unquoted_hash(line)


def _read_in_code(view: View, start: int, end: int) -> bool:
    """`env.X`, `environ["X"]`, `getenv("X")`, and `X` as a key of a schema, or taken from env."""
    before, after = view.text[max(0, start - 60) : start], view.text[end : end + 20]
    tree = view.tree
    if tree is None or nodes.inside(tree.comments, start):
        return False
    if _READ.search(before):
        return True
    if _QUOTED.search(before) and _CLOSED.match(after):
        return _TOKEN.search(before) is None
    if nodes.inside(tree.strings, start) or not _OPENED.search(before):
        return False
    return bool(_KEY.match(after) or _DESTRUCTURED.match(view.text, end))

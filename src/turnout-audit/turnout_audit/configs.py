"""Keys and values of JSON, YAML and TOML, with their places."""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from turnout_audit import nodes
from turnout_audit.names import fits
from turnout_audit.ruleset import ConfigKeyMatch
from turnout_audit.source import Hit
from turnout_audit.text import compiled
from turnout_audit.view import Finder, View

MAX_DEPTH = 200
MAX_ENTRIES = 200_000
"""Entries read from one file."""


class Unparsable(Exception):
    """A configuration file that is not what its name says."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True, slots=True)
class Entry:
    """A key, by its dotted path, and its value as written; empty for a table."""

    path: str
    start: int
    end: int
    value: str
    value_start: int


def entries(view: View) -> list[Entry]:
    """List the entries; raises Unparsable."""
    cached = view.__dict__.get("entries")
    if cached is None:
        cached = view.__dict__["entries"] = list(_entries(view))
    return list(cached)


def check(view: View) -> None:
    """Raise Unparsable where a text is not what its name says; plain JSON is read at once."""
    if view.language == "json" and _depth(view.text) <= MAX_DEPTH:
        try:
            json.loads(view.text)
        except (ValueError, RecursionError):
            entries(view)  # it may have comments
    else:
        entries(view)


def find_config_keys(match: ConfigKeyMatch) -> Finder:
    """Find keys by their dotted path."""
    path_fits = fits(match.config_key)
    value = compiled(match.value, ignore_case=False) if match.value else None

    def find(view: View) -> Iterator[Hit]:
        """Find the rule's matches."""
        if view.language not in ("json", "yaml", "toml"):
            return
        for entry in entries(view):
            if path_fits(entry.path) and (value is None or value.search(entry.value)):
                captured = {"key": entry.path, "value": entry.value[:2000]}
                yield Hit(start=entry.start, end=entry.end, captured=captured)

    return find


def _entries(view: View) -> Iterator[Entry]:
    if view.language == "json":
        loose = view.path.lower().endswith(".json5")
        return (
            map(_behind_bracket, _json(f"({view.text}\n)", "javascript"))
            if loose
            else _json(view.text)
        )
    return _yaml(view.text) if view.language == "yaml" else _toml(view.text)


def _behind_bracket(entry: Entry) -> Entry:
    """Return an entry's places without the bracket that makes JSON5 an expression of JavaScript."""
    return replace(
        entry, start=entry.start - 1, end=entry.end - 1, value_start=entry.value_start - 1
    )


def _json(text: str, grammar: str = "json") -> Iterator[Entry]:
    from ast_grep_py import SgRoot

    if _depth(text) > MAX_DEPTH:
        raise Unparsable(f"nested deeper than {MAX_DEPTH}")
    root = SgRoot(text, grammar).root()
    faults = root.find_all({"rule": {"kind": "ERROR"}})
    broken = next((fault for fault in faults if fault.text().strip() != ","), None)
    if broken is not None:  # a comma too many, as editors' own settings have it, is none
        raise Unparsable("not JSON", broken.range().start.line + 1)
    pending: list[tuple[Any, str]] = [(child, "") for child in root.children()][::-1]
    count = 0
    while pending and count < MAX_ENTRIES:
        node, prefix = pending.pop()
        kind = node.kind()
        if kind == "pair":
            count += 1
            key, value = node.field("key"), node.field("value")
            name, start, end = _json_key(key)
            path = f"{prefix}{name}"
            content, value_start = _json_value(value)
            yield Entry(path, start, end, content, value_start)
            pending.append((value, f"{path}."))
        elif kind == "string" and prefix.endswith("[]."):
            content, start, end = nodes.literal(node)
            yield Entry(prefix[:-1], start, end, content, start)
        elif kind == "array":
            inner = f"{prefix.removesuffix('.')}[]."
            pending.extend((child, inner) for child in node.children()[::-1])
        elif kind in ("object", "expression_statement", "parenthesized_expression"):
            pending.extend((child, prefix) for child in node.children()[::-1])


def _json_key(node: Any) -> tuple[str, int, int]:
    return nodes.literal(node) if node.kind() == "string" else (str(node.text()), *nodes.span(node))


def _json_value(node: Any) -> tuple[str, int]:
    if node.kind() == "string":
        value, start, _ = nodes.literal(node)
        return value, start
    start, _ = nodes.span(node)
    return ("" if node.kind() in ("object", "array") else str(node.text())), start


def _yaml(text: str) -> Iterator[Entry]:
    import yaml

    if _depth(text) > MAX_DEPTH:
        raise Unparsable(f"nested deeper than {MAX_DEPTH}")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        documents = [node for node in yaml.compose_all(text, Loader=loader) if node is not None]
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        raise Unparsable("not YAML", mark.line + 1 if mark else 0) from error
    yield from _yaml_nodes(documents)


def _yaml_nodes(documents: Iterable[Any]) -> Iterator[Entry]:
    visited: set[int] = set()
    pending = [(node, "") for node in documents][::-1]
    while pending and len(visited) < MAX_ENTRIES:
        node, prefix = pending.pop()
        if id(node) in visited:  # an alias: what it stands for was read where it was written
            continue
        visited.add(id(node))
        if node.id == "scalar" and prefix.endswith("[]."):
            start, end = node.start_mark.index, node.end_mark.index
            yield Entry(prefix[:-1], start, end, node.value, start)
        elif node.id == "sequence":
            inner = f"{prefix.removesuffix('.')}[]."
            pending.extend((child, inner) for child in reversed(node.value))
        elif node.id == "mapping":
            keyed = [(key, value) for key, value in node.value if key.id == "scalar"]
            for key, value in keyed:
                path = f"{prefix}{key.value}"
                yield _yaml_entry(path, key, value)
                pending.append((value, f"{path}."))


def _depth(text: str) -> int:
    """Measure how deep brackets are nested; PyYAML's time grows with the square of it."""
    deepest = depth = 0
    if text.count("[") + text.count("{") > MAX_DEPTH:
        for bracket in re.finditer(r"[\[\]{}]", text):
            depth += 1 if bracket[0] in "[{" else -1
            deepest = max(deepest, depth)
    return deepest


def _yaml_entry(path: str, key: Any, value: Any) -> Entry:
    quoted = 1 if key.style in ("'", '"') else 0
    content = value.value if isinstance(value.value, str) else ""
    start, end = key.start_mark.index + quoted, key.end_mark.index - quoted
    return Entry(path, start, end, content, value.start_mark.index)


_TABLE = re.compile(r"^\s*\[{1,2}\s*(?P<path>[^\[\]#]+?)\s*\]{1,2}\s*(?:#.*)?$")
_PAIR = re.compile(
    r"""^\s*(?P<key>(?:"[^"]*"|'[^']*'|[\w-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[\w-]+))*)\s*=\s*"""
)
_INLINE = re.compile(r"""[{,]\s*(?P<key>"[^"]*"|'[^']*'|[\w.-]+)\s*=\s*""")


def _toml(text: str) -> Iterator[Entry]:
    """Read TOML line by line, for the places; tomllib has checked that it is TOML."""
    try:
        tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        place = re.search(r"line (\d+)", str(error))
        raise Unparsable("not TOML", int(place[1]) if place else 0) from error
    table = ""
    pairs: list[tuple[str, int, int, int]] = []
    for start, line in _toml_lines(text):
        if header := _TABLE.match(line):
            table = f"{_bare(header['path'])}."
            yield Entry(table[:-1], start + header.start("path"), start + header.end("path"), "", 0)
        elif pair := _PAIR.match(line):
            key = pair["key"]
            at = start + pair.start("key")
            pairs.append((table + _bare(key), at, at + len(key), start + pair.end()))
            yield from _toml_pair(text, pairs[-1])


def _toml_pair(text: str, pair: tuple[str, int, int, int]) -> Iterator[Entry]:
    path, start, end, value_start = pair
    value = _toml_value(text, value_start)
    quoted = text[start] in "\"'" and text[end - 1] in "\"'"
    yield Entry(path, start + quoted, end - quoted, value, value_start)
    if value.startswith("{"):
        for inner in _INLINE.finditer(value):
            key = inner["key"]
            at = value_start + inner.start("key")
            inner_value = value[inner.end() :].split(",")[0].rstrip("} ")
            whole = f"{path}.{_bare(key)}"
            yield Entry(whole, at, at + len(key), inner_value, value_start + inner.end())


def _bare(path: str) -> str:
    parts = re.findall(r"""\s*(?:"([^"]*)"|'([^']*)'|([^.\s"']+))\s*\.?""", path)
    return ".".join(a or b or c for a, b, c in parts)


def _toml_lines(text: str) -> Iterator[tuple[int, str]]:
    """List lines that are not inside a multi-line string."""
    at, inside = 0, ""
    for line in text.splitlines(keepends=True):
        if inside:
            inside = "" if line.count(inside) % 2 else inside
        else:
            yield at, line.rstrip("\r\n")
            inside = next((m for m in ('"""', "'''") if line.count(m) % 2), "")
        at += len(line)


def _toml_value(text: str, start: int) -> str:
    """Read a value to the end of its line, or of its brackets."""
    depth, quote = 0, ""
    for at in range(start, min(len(text), start + 100_000)):
        letter = text[at]
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        elif letter == "\n" and depth <= 0:
            return text[start:at].strip()
    return text[start:].strip()

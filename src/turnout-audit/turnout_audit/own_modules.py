"""Modules of the team's own that look like packages, by `baseUrl` and `paths` of a tsconfig."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from turnout_audit.configs import Entry, Unparsable, entries
from turnout_audit.source import Segment, read_text
from turnout_audit.view import View

NAMES = ("tsconfig.json", "jsconfig.json")
MAX_SIZE = 1_000_000
"""Bytes of a tsconfig.json that is read."""
EXTENDS = 5
"""Configurations that extend each other, so many at most."""
_SUFFIXES = ("", ".ts", ".tsx", ".d.ts", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs")
_BUILT = re.compile(r"\.[cm]?jsx?$")


@dataclass(frozen=True, kw_only=True)
class _Options:
    """Where a configuration looks for modules, in absolute folders."""

    base: str = ""
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def is_own_module(path: str, module: str) -> bool:
    """Say whether a script's module is a file of the team's, by the configuration nearest to it."""
    if module.startswith((".", "/")) or ":" in module:
        return False
    return _is_own(os.path.dirname(os.path.abspath(path)), module)  # noqa: PTH100, PTH120 -- thousands


@cache
def _is_own(folder: str, module: str) -> bool:
    options = _nearest(folder)
    if options is None:
        return False
    places = list(_places(options, module))
    return not any(map(_is_installed, places)) and any(map(_is_there, places))


@cache
def _nearest(folder: str) -> _Options | None:
    place = next(filter(os.path.isfile, (f"{folder}/{name}" for name in NAMES)), None)
    if place is not None:
        return _read(place, EXTENDS)
    above = os.path.dirname(folder)  # noqa: PTH120 -- as above
    if above == folder or os.path.exists(f"{folder}/.git"):  # noqa: PTH110 -- as above
        return None
    return _nearest(above)


def _read(place: str, depth: int) -> _Options:
    try:
        small = os.path.getsize(place) <= MAX_SIZE  # noqa: PTH202 -- as above
        listed = entries(View(Segment(place, read_text(Path(place)) if small else "", "json")))
    except (OSError, Unparsable):
        return _Options()
    folder = os.path.dirname(place)  # noqa: PTH120 -- as above
    inherited = _extended(listed, folder, depth)
    base = next((e.value for e in listed if e.path == "compilerOptions.baseUrl"), None)
    root = inherited.base if base is None else os.path.normpath(f"{folder}/{base}")
    paths = dict(_path_entries(listed, root or folder))
    return _Options(base=root, paths=paths or inherited.paths)


def _extended(listed: list[Entry], folder: str, depth: int) -> _Options:
    named = [e.value for e in listed if e.path in ("extends", "extends[]") and e.value[:1] == "."]
    if not named or not depth:
        return _Options()
    place = os.path.normpath(f"{folder}/{named[-1]}")
    return _read(place if place.endswith(".json") else f"{place}.json", depth - 1)


def _path_entries(listed: list[Entry], root: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Read `paths`: what stands behind a pattern in the file are its targets."""
    prefix = "compilerOptions.paths."
    for entry in listed:
        if entry.path.startswith(prefix) and not entry.path.endswith("[]"):
            pattern = entry.path.removeprefix(prefix)
            targets = [e.value for e in listed if e.path == f"{entry.path}[]"]
            yield pattern, tuple(os.path.normpath(f"{root}/{target}") for target in targets)


def _places(options: _Options, module: str) -> Iterator[str]:
    for pattern, targets in options.paths.items():
        start, star, end = pattern.partition("*")
        whole = len(module) >= len(start) + len(end)
        if module == pattern or (
            star and whole and module[: len(start)] == start and module.endswith(end)
        ):
            inner = module[len(start) : len(module) - len(end)] if star else ""
            yield from (target.replace("*", inner) for target in targets)
    if options.base:
        yield f"{options.base}/{module}"


def _is_installed(place: str) -> bool:
    return "/node_modules/" in place


def _is_there(place: str) -> bool:
    """Say whether a module is a file, or a folder with an index."""
    stem = _BUILT.sub("", place)
    candidates = (f"{name}{suffix}" for name in (place, stem) for suffix in _SUFFIXES)
    indices = (f"{place}/index{suffix}" for suffix in _SUFFIXES[1:])
    return any(map(os.path.isfile, (*candidates, *indices)))

"""Globs of modules, dotted names and keys: `*` stands for anything, `?` for one character."""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

Fits = Callable[[str], bool]


def fits(globs: Iterable[str], *, ignore_case: bool = False) -> Fits:
    """Make a test that says whether a name fits one of the globs, as a whole."""
    return _fits(tuple(globs), ignore_case)


@lru_cache(4096)
def _fits(globs: tuple[str, ...], ignore_case: bool) -> Fits:  # noqa: FBT001 -- as `fits` says
    if not ignore_case and not any(set("*?") & set(glob) for glob in globs):
        return frozenset(globs).__contains__
    expression = "|".join(f"(?:{expression_of(glob)})" for glob in globs)
    pattern = re.compile(expression, re.DOTALL | (re.IGNORECASE if ignore_case else 0))
    return lambda name: pattern.fullmatch(name) is not None


def expression_of(glob: str, *, wildcard: str = ".*") -> str:
    """Turn a glob into a regular expression that both `re` and RE2 read."""
    parts = re.split(r"([*?])", glob)
    return "".join(
        wildcard if part == "*" else "." if part == "?" else re.escape(part) for part in parts
    )

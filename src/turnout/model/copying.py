"""Copying our own frozen values quickly: a run is copied several times for each of its commits."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from typing import Any, TypeVar

D = TypeVar("D")
Setters = Mapping[str, Callable[[Any, Any], None]]


def changed(value: D, **values: Any) -> D:
    """The frozen value with some of its fields changed: as `replace`, three times faster.

    For dataclasses with slots that compute nothing as they are made.
    """
    kind: Any = type(value)
    copy, setters = _copier(kind)
    made: D = copy(value)
    for name, new in values.items():
        setters[name](made, new)
    return made


@cache
def _copier(kind: type[Any]) -> tuple[Callable[[Any], Any], Setters]:
    """What copies a value of this class, and what writes each of its fields past the freeze."""
    setters = {each.name: getattr(kind, each.name).__set__ for each in fields(kind)}
    known = {f"set_{name}": put for name, put in setters.items()}
    # Written out as `dataclass` does it for __init__: a loop over the fields takes twice as long.
    lines = [f"set_{name}(made, value.{name})" for name in setters]
    source = "\n    ".join(["def copy(value):", "made = new(kind)", *lines, "return made"])
    found: dict[str, Callable[[Any], Any]] = {}
    exec(source, {**known, "new": object.__new__, "kind": kind}, found)  # noqa: S102 - our own names
    return found["copy"], setters

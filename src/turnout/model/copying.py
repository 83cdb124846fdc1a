"""Copies of frozen values with a few fields changed, for what is copied at every commit."""

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import Any, TypeVar

D = TypeVar("D")


def changed(value: D, **values: Any) -> D:
    """The frozen value with some of its fields changed: as `replace`, several times faster.

    For dataclasses with slots that compute nothing as they are made.
    """
    kind: Any = type(value)
    made = _copier(kind)(value)
    for name, new in values.items():
        setattr(made, name, new)
    made.__class__ = kind
    found: D = made
    return found


@cache
def _copier(kind: type[Any]) -> Callable[[Any], Any]:
    """What copies a value of this class into one of the same slots that is not frozen yet."""
    names = [each.name for each in fields(kind)]
    melted = type(kind.__name__, (), {"__slots__": kind.__slots__})
    # Written out as `dataclass` does it for __init__: a loop over the fields takes twice as long,
    # and to write each field past the freeze three times.
    lines = [f"made.{name} = value.{name}" for name in names]
    source = "\n    ".join(["def copy(value):", "made = new(melted)", *lines, "return made"])
    found: dict[str, Callable[[Any], Any]] = {}
    exec(source, {"new": object.__new__, "melted": melted}, found)  # noqa: S102 - our own names
    return found["copy"]

"""Making our own frozen values quickly: no checks, because nothing in them comes from outside."""

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

from pydantic import BaseModel

D = TypeVar("D")
M = TypeVar("M", bound=BaseModel)


def changed(value: D, **values: Any) -> D:
    """The frozen value with some of its fields changed: as `replace`, several times faster.

    For dataclasses with slots that compute nothing as they are made.
    """
    kind: Any = type(value)
    read, places, setters = _copier(kind)
    found = list(read(value))
    for name, new in values.items():
        found[places[name]] = new
    made: D = object.__new__(kind)
    for put, each in zip(setters, found, strict=True):
        put(made, each)
    return made


def message(kind: type[M], **values: Any) -> M:
    """A message with all of its fields given: as `model_construct`, several times faster."""
    made = kind.__new__(kind)
    put = object.__setattr__
    put(made, "__dict__", values)
    put(made, "__pydantic_fields_set__", set(values))
    put(made, "__pydantic_extra__", None)
    put(made, "__pydantic_private__", None)
    return made


@cache
def _copier(
    kind: type[Any],
) -> tuple[
    Callable[[Any], tuple[Any, ...]], dict[str, int], tuple[Callable[[Any, Any], None], ...]
]:
    """What reads all fields at once, where each stands, and what writes each."""
    names = [each.name for each in fields(kind)]
    setters = tuple(getattr(kind, name).__set__ for name in names)
    return attrgetter(*names), {name: at for at, name in enumerate(names)}, setters

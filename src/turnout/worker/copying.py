"""Making our own frozen values quickly: no checks, because nothing in them comes from outside."""

from dataclasses import fields
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel

D = TypeVar("D")
M = TypeVar("M", bound=BaseModel)


def changed(value: D, **values: Any) -> D:
    """The frozen value with some of its fields changed: as `replace`, several times faster.

    For dataclasses with slots that compute nothing as they are made.
    """
    kind: Any = type(value)
    made: D = object.__new__(kind)
    for name, slot in _slots(kind):
        slot.__set__(made, values[name] if name in values else slot.__get__(value))
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
def _slots(kind: type[Any]) -> tuple[tuple[str, Any], ...]:
    return tuple((each.name, getattr(kind, each.name)) for each in fields(kind))

"""Making our own messages quickly: no checks, because nothing in them comes from outside."""

from typing import Any, TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)


def message(kind: type[M], **values: Any) -> M:
    """A message with all of its fields given: as `model_construct`, several times faster."""
    made = kind.__new__(kind)
    put = object.__setattr__
    put(made, "__dict__", values)
    put(made, "__pydantic_fields_set__", set(values))
    put(made, "__pydantic_extra__", None)
    put(made, "__pydantic_private__", None)
    return made

"""Finds what pydantic writes as another value without a word: secrets, and enums that are NaN."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final

from pydantic import BaseModel, Secret, SecretBytes, SecretStr

from turnout.errors import InvalidJson

_PLAIN: Final = frozenset({str, int, float, bool, type(None), bytes})
_SECRETS: Final = (Secret, SecretBytes, SecretStr)


def check_exact(value: Any, raw: bytes) -> None:
    """Refuse a model's JSON in which a secret is masked, or a NaN or infinity is null.

    InvalidJson names the class of the value. A model whose own serializer writes the secret passes.
    """
    is_masked, is_null = b"*" in raw, b"null" in raw
    if not (is_masked or is_null):
        return
    visited: set[int] = set()
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, _SECRETS):
            mask = str(item).removeprefix("b'").removesuffix("'")
            if is_masked and mask and mask.encode() in raw:
                raise InvalidJson(
                    f"a {type(item).__name__} would be written as {mask}: pass a reference to the"
                    " secret, or give its model a serializer"
                )
        elif isinstance(item, Enum):
            if is_null and isinstance(item.value, float) and not math.isfinite(item.value):
                raise InvalidJson(f"{type(item).__name__}: {item.value} is no JSON number")
        elif id(item) not in visited:
            visited.add(id(item))
            todo += [part for part in _parts(item) if type(part) not in _PLAIN]


def _parts(value: Any) -> Iterable[Any]:
    """Return the values within a model, a dataclass or a container; none of anything else."""
    if isinstance(value, BaseModel):
        extra = value.__pydantic_extra__
        return [*vars(value).values(), *extra.values()] if extra else vars(value).values()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return [getattr(value, field.name) for field in fields if hasattr(value, field.name)]
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list | tuple | set | frozenset) else ()

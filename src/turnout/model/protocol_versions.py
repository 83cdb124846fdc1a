"""Which versions of the step protocol a service speaks, and what each of them has.

A field that a version adds to a message is marked with that version: `Annotated[int, Since(2)]`,
always with a default. A caller declares by its version which fields it knows: it is sent no newer
one, and may send none.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from pydantic import BaseModel

from turnout.errors import DefinitionMismatch, WrongUse

OLDEST: Final = 1
NEWEST: Final = 1


@dataclass(frozen=True)
class Since:
    """Marks a field with the version of the protocol that added it."""

    protocol: int


def check_version(protocol: int, *, oldest: int = OLDEST, newest: int = NEWEST) -> None:
    """Refuse a version that is not spoken; DefinitionMismatch names those that are."""
    if not oldest <= protocol <= newest:
        spoken = str(newest) if oldest == newest else f"{oldest} to {newest}"
        raise DefinitionMismatch(
            f"the worker speaks step protocol {protocol}, this service {spoken}"
        )


def check_fields(message: BaseModel, protocol: int) -> None:
    """Refuse a message with a field that its version does not have, as any other unknown field."""
    for name in message.model_fields_set:
        if _versions(type(message))[name] > protocol:
            raise WrongUse(f"{name}: Extra inputs are not permitted")


def in_version(value: Any, protocol: int) -> Any:
    """Write a message as JSON values, without the fields that are newer than this version."""
    if isinstance(value, BaseModel):
        kind = type(value)
        return {
            field.serialization_alias or name: in_version(getattr(value, name), protocol)
            for name, field in kind.model_fields.items()
            if _versions(kind)[name] <= protocol
        }
    return [in_version(item, protocol) for item in value] if isinstance(value, list) else value


@cache
def _versions(kind: type[BaseModel]) -> dict[str, int]:
    """The version that added each field of a message."""
    return {
        name: next((mark.protocol for mark in field.metadata if isinstance(mark, Since)), OLDEST)
        for name, field in kind.model_fields.items()
    }

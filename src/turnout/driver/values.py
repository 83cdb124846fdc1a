"""Values between Python and the journal: canonical JSON, with pydantic models on both sides."""

import dataclasses
import functools
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError

from turnout.errors import InvalidJson, ModelChanged, TooLarge
from turnout.model.canonical import canonical_bytes
from turnout.model.exactness import check_exact
from turnout.model.text import message_of, name_of

LARGEST_VALUE: Final = 4 * 1024 * 1024
"""Bytes of a step's output, a run's result or a payload."""

LONGEST_FAULT: Final = 1_000
"""Characters of an error that is quoted in another one."""

Adapter = TypeAdapter[Any]
_NO_ANNOTATIONS: Final[Mapping[str, Any]] = {}


def encode(value: Any, *, subject: str) -> bytes:
    """Write a value as canonical JSON; models and dataclasses are written as objects.

    InvalidJson names the place of what is no JSON, and any error of what writes the value;
    TooLarge the size, and what to do instead.
    """
    try:
        raw = _encoded(value)
    except InvalidJson as error:
        raise InvalidJson(f"{subject}: {error}") from None
    except BaseException as error:  # user code writes: __repr__, __eq__, serializers
        fault = f"{name_of(error)}: {message_of(error, limit=LONGEST_FAULT)}"
        raise InvalidJson(f"{subject} cannot be written as JSON: {fault}") from error
    if len(raw) > LARGEST_VALUE:
        raise TooLarge(
            f"{subject} has {len(raw):,} bytes; at most {LARGEST_VALUE:,} are kept:"
            " store it elsewhere and return a reference"
        )
    return raw


def decode(raw: bytes | None, adapter: Adapter | None, *, subject: str) -> Any:
    """Read a recorded value; ModelChanged when it no longer fits the model."""
    if raw is None:
        return None
    if adapter is None:
        return orjson.loads(raw)
    try:
        return adapter.validate_json(raw, by_alias=True, by_name=True)
    except ValidationError as error:
        raise ModelChanged(
            f"{subject} as recorded does not fit the code: {faults(error)}"
        ) from None


def faults(error: ValidationError) -> str:
    """Say where a value does not fit, without showing it."""
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'value'}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_input=False)[:10]
    )


def output_adapter(function: Callable[..., Any]) -> Adapter | None:
    """What reads a function's recorded output: its return annotation, if that has a model in it."""
    while isinstance(function, functools.partial):
        function = function.func
    annotation = getattr(function, "__annotations__", _NO_ANNOTATIONS).get("return")
    if annotation is None:
        return None
    if isinstance(annotation, str):
        annotation = _resolved(function)
    try:
        return _adapter(annotation)
    except TypeError:  # an annotation that cannot be hashed is no model
        return None


@functools.lru_cache(maxsize=4096)
def _adapter(annotation: Any) -> Adapter | None:
    return TypeAdapter(annotation) if _has_model(annotation) else None


@functools.lru_cache(maxsize=4096)
def _resolved(function: Callable[..., Any]) -> Any:
    try:
        return typing.get_type_hints(function).get("return")
    except (NameError, TypeError):
        return None


def _has_model(annotation: Any) -> bool:
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation)
    origin = typing.get_origin(annotation)
    return (isinstance(origin, type) and _has_model(origin)) or any(
        _has_model(argument) for argument in typing.get_args(annotation)
    )


def _encoded(value: Any) -> bytes:
    try:
        return canonical_bytes(value)
    except InvalidJson:
        raw = canonical_bytes(_plain(value, 0))
    check_exact(value, raw)
    return raw


def _plain(value: Any, depth: int) -> Any:
    if depth > 100:  # noqa: PLR2004 - canonical JSON nests no deeper, and refuses it by name
        return value
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", round_trip=True)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return TypeAdapter(type(value)).dump_python(value, mode="json", round_trip=True)
    if isinstance(value, Mapping):
        return {name: _plain(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, depth + 1) for inner in value]
    return value

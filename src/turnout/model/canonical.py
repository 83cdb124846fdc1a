"""Canonical JSON: equal values are written as equal bytes.

Names sorted by code point, no blanks, UTF-8, floats as Python's `repr`; the standard library can
write it, too. Types are kept apart: `true` is not `1`, `1` is not `1.0`, `-0.0` is not `0.0`, and
absent is not `null`. What JSON cannot carry without loss between languages is refused by name:
NaN, infinities, integers beyond 64 bits, lone surrogates, names that are no strings, one name
twice in an object.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

import orjson

from turnout.errors import InvalidJson, TooLarge

MAX_BYTES: Final = 8 * 1024 * 1024
"""The largest document that is parsed when the caller names no other limit."""

MAX_DEPTH: Final = 100
"""How deeply arrays and objects may nest; far below where parsers of other languages stop."""

_EXPONENT: Final = re.compile(rb"e[+-][0-9]{1,3}(?:[,\]}]|\Z)")
_CONTAINERS: Final = (dict, list, tuple)
_CONTAINER_TYPES: Final = frozenset(_CONTAINERS)
_SMALLEST: Final = -(2**63)
_LARGEST: Final = 2**64 - 1
_STRICT: Final = (
    orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)


def canonical_bytes(value: Any) -> bytes:
    """The one JSON text of a value made of dict, list, str, int, float, bool and None.

    Tuples are written as arrays, enum members as their values. `InvalidJson` names the place of
    anything else.
    """
    try:
        text = orjson.dumps(value, option=_STRICT | orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise _fault(value) or InvalidJson(f"not JSON: {error}") from None
    if _suspicious(text, value) and (fault := _fault(value)):
        raise fault
    return _plain(text) if _has_unusual_float(text) else text


def sha256_of(content: bytes) -> str:
    """The SHA-256 digest of the bytes, in lower-case hex."""
    return hashlib.sha256(content).hexdigest()


def parse(raw: bytes, *, max_bytes: int = MAX_BYTES) -> Any:
    """The value of a strict JSON text.

    `TooLarge` before anything is parsed; `InvalidJson` names the line and column, or the place in
    the document, of what is wrong.
    """
    if len(raw) > max_bytes:
        raise TooLarge(f"the document has {len(raw):,} bytes; at most {max_bytes:,} are read")
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidJson(f"not JSON: {error}") from None
    if _too_deep(raw, value):
        raise _fault(value) or InvalidJson(f"nests more than {MAX_DEPTH} levels deep")
    if not _round_trips(raw, value):
        _check_strictly(raw)
    return value


def pointer_of(path: tuple[str | int, ...]) -> str:
    """The JSON Pointer (RFC 6901) of a path of names and indexes; empty for the whole document."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)


def _has_unusual_float(text: bytes) -> bool:
    """Whether orjson may have written a float otherwise than Python; True may be a false alarm."""
    exponent = (b"e-" in text or b"e+" in text) and _EXPONENT.search(text) is not None
    return exponent or b"0.0000" in text


def _plain(text: bytes) -> bytes:
    """Write very large and very small floats as Python's `repr` does.

    orjson writes them in its own way, which has changed between its versions.
    """
    value = orjson.loads(text)
    plain = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return plain.encode()


def _round_trips(raw: bytes, value: Any) -> bool:
    """Whether writing the value gives the text again, so that the parser dropped nothing.

    It does for canonical documents and for those of common writers. This check is several times
    faster than the strict parser, which is needed only where it fails.
    """
    text = raw.strip()
    if orjson.dumps(value) == text:
        return True
    return b"\n" in text and orjson.dumps(value, option=orjson.OPT_INDENT_2) == text


def _check_strictly(raw: bytes) -> None:
    """Refuse what orjson accepts: repeated names and integers beyond 64 bits."""
    json.loads(raw, object_pairs_hook=_unique_names, parse_int=_integer)


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise InvalidJson(f"the name {repeated[:80]!r} occurs twice in one object")
    return members


def _integer(digits: str) -> int:
    # 20 digits are always enough for 64 bits; int() of millions of digits is slow.
    if len(digits) > 20 or not _SMALLEST <= int(digits) <= _LARGEST:  # noqa: PLR2004 - said above
        raise InvalidJson(
            f"the integer {digits[:24]}… is beyond 64 bits; send it as a string"
            if len(digits) > 24  # noqa: PLR2004 - as many as are shown
            else f"the integer {digits} is beyond 64 bits; send it as a string"
        )
    return int(digits)


def _suspicious(text: bytes, value: Any) -> bool:
    """Whether the value may have a fault that orjson does not refuse.

    orjson writes NaN and infinities as null. A text without a null hides none, and neither does a
    text that reads back as the same value (tuples never do, so they are examined).
    """
    return _too_deep(text, value) or (b"null" in text and orjson.loads(text) != value)


def _too_deep(text: bytes, value: Any) -> bool:
    """Whether the value nests beyond the limit; a text with few brackets cannot.

    orjson has read or written the value, so that no container is of a subclass.
    """
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return False
    level = [value] if type(value) in _CONTAINER_TYPES else []
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) in _CONTAINER_TYPES
        ]
        if not level:
            return False
    return True


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from enumerate(value)


def _fault(value: Any) -> InvalidJson | None:
    """The first fault of a value, with its place; None if there is none."""
    todo: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    while todo:
        path, item = todo.pop()
        while isinstance(item, Enum):  # written as its value
            item = item.value
        if len(path) >= MAX_DEPTH and isinstance(item, _CONTAINERS):
            return InvalidJson(f"nests more than {MAX_DEPTH} levels deep", pointer=pointer_of(path))
        if reason := _refusal(item):
            return InvalidJson(reason, pointer=pointer_of(path))
        todo.extend(((*path, part), inner) for part, inner in _items(item))
    return None


def _refusal(value: Any) -> str | None:
    """Why this value itself, its items apart, is refused; None where it is not."""
    if isinstance(value, dict):
        return next((reason for name in value if (reason := _name_refusal(name))), None)
    if isinstance(value, list | tuple):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is no JSON number"
    if isinstance(value, int) and not _SMALLEST <= value <= _LARGEST:
        return "an integer beyond 64 bits; send it as a string"
    return _text_refusal(value) if isinstance(value, str) else _type_refusal(value)


def _name_refusal(name: object) -> str | None:
    if type(name) is not str:
        return f"the name {name!r:.80} is no string"
    return _text_refusal(name)


def _text_refusal(text: str) -> str | None:
    if type(text) is not str:
        return _type_refusal(text)
    return None if _writable(text) else "a string with a lone surrogate"


def _type_refusal(value: Any) -> str | None:
    return None if _writable(value) else f"{type(value).__name__} is no JSON type"


def _writable(value: Any) -> bool:
    try:
        orjson.dumps(value, option=_STRICT)
    except TypeError:
        return False
    return True

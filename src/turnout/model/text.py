"""Text of any origin, made such that every store and every protocol can hold it."""

import re
from typing import Final

_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


def is_storable(text: str) -> bool:
    """Whether a text has no NUL, which PostgreSQL refuses, and no lone surrogate."""
    return _UNSTORABLE.search(text) is None


def storable(text: str) -> str:
    """Return a text with NUL and lone surrogates replaced by U+FFFD."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def plain_text(text: str) -> str:
    """Return the characters of a text as a `str` itself, whatever its subclass overrides."""
    return text if type(text) is str else str.__str__(text)


def name_of(error: BaseException) -> str:
    """Name the class of an error; a metaclass may not change the name."""
    return storable(type.__dict__["__name__"].__get__(type(error)))


def message_of(error: BaseException, *, limit: int) -> str:
    """Return an error's message, cut to `limit` characters; says so where it cannot be read.

    A message is user code: its `__str__` may raise anything, or return no text.
    """
    try:
        text = plain_text(str(error))
    except BaseException as fault:  # noqa: BLE001 - whatever it raises is no message
        text = f"(the message cannot be read: its __str__ raised {name_of(fault)})"
    return storable(text[:limit])

"""Reads fields of the vendor's answers; a field of an unexpected type is an error that names it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from turnout.errors import ProviderUnavailable
from turnout.model.time import Millis, moment


def object_in(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Read an object; an empty one where there is none."""
    value = answer.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise unexpected_shape(name, value, "an object")
    return value


def objects_in(answer: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Read a list of objects; none where there is no list, as an empty one is left out."""
    return [_checked(name, item, Mapping, "a list of objects") for item in _list(answer, name)]


def texts_in(answer: Mapping[str, Any], name: str) -> list[str]:
    """Read a list of texts; none where there is no list."""
    return [_checked(name, item, str, "a list of texts") for item in _list(answer, name)]


def text_in(answer: Mapping[str, Any], *names: str) -> str:
    """Read a text under the first of these names that is there; empty where none is."""
    for name in names:
        value = answer.get(name)
        if value is not None:
            return str(_checked(name, value, str, "a text"))
    return ""


def time_in(answer: Mapping[str, Any], *names: str) -> Millis | None:
    """Read a moment with its zone; None where there is none."""
    for name in names:
        text = text_in(answer, name)
        if not text:
            continue
        try:
            moment_read = datetime.fromisoformat(text)
        except ValueError:
            raise unexpected_shape(name, text, "a time") from None
        if moment_read.tzinfo is None:
            raise unexpected_shape(name, text, "a time with its zone")
        return moment(moment_read)
    return None


def unexpected_shape(name: str, value: Any, expected: str) -> ProviderUnavailable:
    """The error for a field that is not what Inngest's API promises."""
    return ProviderUnavailable(
        f"Inngest answered with {name!r} that is not {expected}: {str(value)[:80]!r}; see that the"
        " address is an Inngest server's, of a version that this adapter knows"
    )


def _list(answer: Mapping[str, Any], name: str) -> list[Any]:
    value = answer.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise unexpected_shape(name, value, "a list")
    return value


def _checked(name: str, value: Any, kind: type[Any], expected: str) -> Any:
    if not isinstance(value, kind):
        raise unexpected_shape(name, value, expected)
    return value

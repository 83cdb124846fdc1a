"""Reads parts of the vendor's answers; a part of another shape than its own is an error by name."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from turnout.errors import ProviderUnavailable
from turnout.model.time import Millis, moment


def object_in(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Read an object; an empty one where there is none."""
    found = answer.get(name)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise misshapen(name, found, "an object")
    return found


def objects_in(answer: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Read a list of objects; none where there is no list, as an empty one is left out."""
    return [_each(name, each, Mapping, "a list of objects") for each in _list(answer, name)]


def texts_in(answer: Mapping[str, Any], name: str) -> list[str]:
    """Read a list of texts; none where there is no list."""
    return [_each(name, each, str, "a list of texts") for each in _list(answer, name)]


def text_in(answer: Mapping[str, Any], *names: str) -> str:
    """Read a text under the first of these names that is there; empty where none is."""
    for name in names:
        found = answer.get(name)
        if found is not None:
            return str(_each(name, found, str, "a text"))
    return ""


def time_in(answer: Mapping[str, Any], *names: str) -> Millis | None:
    """Read a moment with its zone; None where there is none."""
    for name in names:
        said = text_in(answer, name)
        if not said:
            continue
        try:
            found = datetime.fromisoformat(said)
        except ValueError:
            raise misshapen(name, said, "a time") from None
        if found.tzinfo is None:
            raise misshapen(name, said, "a time with its zone")
        return moment(found)
    return None


def misshapen(name: str, found: Any, wanted: str) -> ProviderUnavailable:
    """Say that the server answers something else than Inngest's API promises."""
    return ProviderUnavailable(
        f"Inngest answered with {name!r} that is not {wanted}: {str(found)[:80]!r}; see that the"
        " address is an Inngest server's, of a version that this adapter knows"
    )


def _list(answer: Mapping[str, Any], name: str) -> list[Any]:
    found = answer.get(name)
    if found is None:
        return []
    if not isinstance(found, list):
        raise misshapen(name, found, "a list")
    return found


def _each(name: str, found: Any, kind: type[Any], wanted: str) -> Any:
    if not isinstance(found, kind):
        raise misshapen(name, found, wanted)
    return found

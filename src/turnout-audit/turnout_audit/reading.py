"""Tables, as TOML gives them, read into frozen dataclasses; all faults at once, each in its place.

A field's annotation says how it is read: `Annotated[str, text(least=1)]`. It is written here, and
not left to a validation library, because an audit is started often and such a library takes longer
to import than the audit of a small tree.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_args

Place = tuple[str | int, ...]
Told = Callable[[Place, str], object]
"""Takes a fault: where it is, and what is wrong."""
Reader = Callable[[object, Place, Told], Any]
"""Gives the value, or tells what is wrong with it; then whatever it gives is not used."""
Made = TypeVar("Made")


def text(*, least: int = 0, most: int = 1_000_000, like: str | None = None) -> Reader:
    """Read a string of so many characters, which fits an expression as a whole."""
    fits = re.compile(like).fullmatch if like else None

    def read(value: object, place: Place, tell: Told) -> object:
        if not isinstance(value, str):
            tell(place, "should be a string")
        elif not least <= len(value) <= most:
            tell(place, f"should have {least} to {most} characters")
        elif fits and not fits(value):
            tell(place, f"should fit {like}")
        return value

    return read


def words(*, least: int = 0) -> Reader:
    """Read one string or a list of strings."""
    return some(text(least=1, most=4000), least=least)


def some(read_one: Reader, *, least: int = 0) -> Reader:
    """Read a list; a value alone is a list of one."""

    def read(value: object, place: Place, tell: Told) -> object:
        listed = value if isinstance(value, list) else [value]
        if len(listed) < least:
            tell(place, "should not be empty")
        return tuple(read_one(each, (*place, number), tell) for number, each in enumerate(listed))

    return read


def many(read_one: Reader, *, least: int = 0) -> Reader:
    """Read a list."""
    read_some = some(read_one, least=least)

    def read(value: object, place: Place, tell: Told) -> object:
        if isinstance(value, list):
            return read_some(value, place, tell)
        return tell(place, "should be a list")

    return read


def choice(allowed: tuple[str, ...]) -> Reader:
    """Read one of these words."""

    def read(value: object, place: Place, tell: Told) -> object:
        if value not in allowed:
            tell(place, f"should be one of {', '.join(allowed)}")
        return value

    return read


def flag(value: object, place: Place, tell: Told) -> object:
    """Read true or false."""
    if not isinstance(value, bool):
        tell(place, "should be true or false")
    return value


def whole(*, least: int = 0, most: int = 1_000_000) -> Reader:
    """Read a whole number."""

    def read(value: object, place: Place, tell: Told) -> object:
        if type(value) is not int or not least <= value <= most:
            tell(place, f"should be a whole number from {least} to {most}")
        return value

    return read


def version(value: object, place: Place, tell: Told) -> object:
    """Read a version, which people also write as a number."""
    if not isinstance(value, str | int | float):
        tell(place, "should be a string")
    return str(value)


def anything(value: object, place: Place, tell: Told) -> object:
    """Read a table as it is."""
    if not isinstance(value, Mapping):
        tell(place, "should be a table")
    return value


def texts(value: object, place: Place, tell: Told) -> object:
    """Read a table of strings."""
    if not isinstance(value, Mapping):
        return tell(place, "should be a table")
    read_one = text()
    return {key: read_one(each, (*place, key), tell) for key, each in value.items()}


def table(
    kind: type[Made], *, renamed: Mapping[str, str] | None = None
) -> Callable[[object, Place, Told], Made]:
    """Read a table into a dataclass; a field named like a word of Python ends in `_` there.

    `renamed` tells the keys of fields that have another name in the file.
    """
    other = renamed or {}
    known = {other.get(f.name, f.name.removesuffix("_")): f for f in fields(kind)}  # type: ignore[arg-type]

    def read(value: object, place: Place, tell: Told) -> Any:
        if not isinstance(value, Mapping):
            return tell(place, "should be a table")
        faulty = False

        def note(where: Place, fault: str) -> None:
            nonlocal faulty
            faulty = True
            tell(where, fault)

        for key in sorted(value.keys() - known.keys()):
            note((*place, key), f"is not known here; known: {', '.join(known)}")
        for key, field in known.items():
            if key not in value and field.default is field.default_factory is MISSING:
                note((*place, key), "is missing")
        given = {
            field.name: get_args(field.type)[1](value[key], (*place, key), note)
            for key, field in known.items()
            if key in value
        }
        if faulty:
            return None
        try:
            return kind(**given)
        except ValueError as error:
            return tell(place, str(error))

    return read

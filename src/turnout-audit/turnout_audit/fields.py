"""Limits of a rule file's fields, in the words of pydantic, which is imported when it validates.

A rule set that ships is read without pydantic. So these annotations are classes of our own, with
the method that pydantic asks of an annotation.
"""

from collections.abc import Callable, Mapping
from typing import Any

FieldSchema = Any
"""A core schema of pydantic."""


class Limits:
    """Limits of a plain value, by their names in a core schema: `strict`, `ge`, `pattern`."""

    def __init__(self, **limits: object) -> None:
        self.limits = limits

    def __get_pydantic_core_schema__(self, source: object, handler: Any) -> FieldSchema:
        """Return the schema of the value, with the limits."""
        return {**handler(source), **self.limits}


class Before:
    """A function that a value goes through before it is validated; it raises ValueError."""

    def __init__(self, function: Callable[[object], object]) -> None:
        self.function = function

    def __get_pydantic_core_schema__(self, source: object, handler: Any) -> FieldSchema:
        """Return the schema of the value, behind the function."""
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(self.function, handler(source))


class ByKey:
    """A table that is of the one class whose key it holds."""

    def __init__(self, classes: Mapping[str, type[Any]]) -> None:
        self.classes = classes

    def key(self, value: object) -> str | None:
        """Return the one key that the table holds; None where it holds none, or several."""
        named = [key for key in self.classes if key in value] if isinstance(value, Mapping) else []
        return named[0] if len(named) == 1 else None

    def __get_pydantic_core_schema__(self, source: object, handler: Any) -> FieldSchema:
        """Return the schema of the classes, told apart by their keys."""
        from pydantic_core import core_schema

        return core_schema.tagged_union_schema(
            {key: handler.generate_schema(choice) for key, choice in self.classes.items()},
            self.key,
            custom_error_type="match_kind",
            custom_error_message=f"a match holds exactly one of {', '.join(self.classes)}",
        )

"""Adoption: an adapter reads functions that were written for its vendor's own SDK."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable


class Kept(StrEnum):
    """What becomes of one option of a function once it is adopted."""

    AS_IT_IS = "kept"
    BY_TURNOUT = "kept by Turnout"
    REFUSED = "refused"
    NOT_SEEN = "not seen"
    """The source does not show it: someone has to look."""


@dataclass(frozen=True, kw_only=True)
class Adoption:
    """One option, call or trigger of one function, and what becomes of it.

    why: how it is kept, or why it cannot be. file and line: where it is written; line 0 where
    that is not known.
    """

    function: str
    option: str
    kept: Kept
    why: str
    file: str = ""
    line: int = 0


@runtime_checkable
class Adopts(Protocol):
    """A plugin that can adopt."""

    def examine(self, client: Any) -> Sequence[Adoption] | None:
        """Say what becomes of the functions of a client; None for what is no client of its SDK.

        Nothing is called and nothing is registered; functions are those of loaded modules.
        """
        ...

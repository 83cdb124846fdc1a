"""What becomes of a function that was written for a vendor's own SDK."""

from dataclasses import dataclass
from enum import StrEnum


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

"""What becomes of a function that was written for a vendor's own SDK."""

from dataclasses import dataclass
from enum import StrEnum


class AdoptionOutcome(StrEnum):
    """What becomes of one option of a function once it is adopted."""

    AS_IT_IS = "kept"
    BY_TURNOUT = "kept by Turnout"
    REFUSED = "refused"
    NOT_SEEN = "not seen"
    """The source does not show it: a person has to check."""


@dataclass(frozen=True, kw_only=True)
class Adoption:
    """One option, call or trigger of one function, and what becomes of it."""

    function: str
    option: str
    outcome: AdoptionOutcome
    reason: str
    """How it is kept, or why it cannot be."""
    file: str = ""
    """Where it is written."""
    line: int = 0
    """From 1; 0 where it is not known."""

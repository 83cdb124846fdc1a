"""DeepDiff, for the few subtrees that differ: an account in words, never the verdict."""

from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from turnout.parity.redaction import Redaction

MOST_EXPLAINED: Final = 50
"""Subtrees explained in one check: an explanation costs a hundred times the comparison."""

MOST_BYTES: Final = 16_384
MOST_TEXT: Final = 1_500


@dataclass(slots=True)
class Explainer:
    """Explains the first differing subtrees of a check."""

    redaction: Redaction = field(default_factory=Redaction)
    left: int = MOST_EXPLAINED

    def __call__(self, primary: Any, shadow: Any) -> str | None:
        """Say in words how two values differ; None where it would cost too much or add nothing."""
        if (
            self.left <= 0
            or not isinstance(primary, dict | list)
            or type(primary) is not type(shadow)
        ):
            return None
        if max(len(orjson.dumps(primary)), len(orjson.dumps(shadow))) > MOST_BYTES:
            return None
        self.left -= 1
        # Redacted first: DeepDiff's words repeat the values that differ.
        primary, shadow = self.redaction.value(primary), self.redaction.value(shadow)
        # A third of a second to import: only a check that found something pays for it.
        from deepdiff import DeepDiff

        text = str(DeepDiff(primary, shadow).pretty())
        return text[:MOST_TEXT] + ("…" if len(text) > MOST_TEXT else "") if text else None

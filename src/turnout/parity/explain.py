"""DeepDiff, for the few subtrees that differ: an account in words, never the verdict."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

MOST_EXPLAINED: Final = 50
"""Subtrees explained in one check: an explanation costs a hundred times the comparison."""

MOST_BYTES: Final = 16_384
MOST_TEXT: Final = 1_500


@dataclass(slots=True)
class Explainer:
    """Explains the first differing subtrees of a check."""

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
        # A third of a second to import: only a check that found something pays for it.
        from deepdiff import DeepDiff

        text = str(DeepDiff(primary, shadow, ignore_numeric_type_changes=False).pretty())
        return text[:MOST_TEXT] + ("…" if len(text) > MOST_TEXT else "") if text else None

"""Hides secrets in reports: by the name of their field, and by declared patterns."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from turnout.errors import InvalidSettings
from turnout_parity.report import Difference

HIDDEN: Final = "[redacted]"
_NAMES: Final = re.compile(
    r"(?i)passw(?:or)?d|passphrase|secret|credential|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|auth(?:orization)?$|cookie|(?:^|[_-])token$"
)
_TEXTS: Final = re.compile(
    r"(?i)\bbearer\s+[\w.~+/=-]{8,}"
    r"|\b[a-z][\w+.-]*://[^\s:/@]+:[^\s@/]+@"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """Hides secrets; `patterns`: texts to hide in addition to those that are always hidden."""

    patterns: tuple[re.Pattern[str], ...] = ()

    def difference(self, difference: Difference) -> Difference:
        """Hide secrets in the values and the detail of a difference."""
        secret = any(_NAMES.search(name) for name in difference.pointer.split("/"))
        changes: dict[str, Any] = {}
        for side in ("primary", "shadow"):
            value = getattr(difference, side)
            hidden = HIDDEN if secret and value is not None else self.value(value)
            if hidden is not value:
                changes[side] = hidden
        if difference.detail is not None:
            changes["detail"] = None if secret else self.text(difference.detail)
        return difference.model_copy(update=changes) if changes else difference

    def value(self, value: Any, depth: int = 0) -> Any:
        """Hide secrets anywhere in a value."""
        if isinstance(value, str):
            return self.text(value)
        if depth > 100:  # noqa: PLR2004 (deeper than any document that is read)
            return HIDDEN
        if isinstance(value, dict):
            return {
                name: HIDDEN if _NAMES.search(name) else self.value(inner, depth + 1)
                for name, inner in value.items()
            }
        if isinstance(value, list):
            return [self.value(inner, depth + 1) for inner in value]
        return value

    def text(self, text: str) -> str:
        """Hide secrets in a text."""
        for pattern in (_TEXTS, *self.patterns):
            text = pattern.sub(HIDDEN, text)
        return text


def redaction(patterns: Sequence[str]) -> Redaction:
    """Compile declared patterns; `InvalidSettings` names one that is no regular expression."""
    compiled: list[re.Pattern[str]] = []
    for pattern in patterns:
        try:
            compiled.append(re.compile(pattern))
        except re.error as error:
            raise InvalidSettings(
                f"--redact {pattern!r} is no regular expression: {error}"
            ) from None
    return Redaction(patterns=tuple(compiled))

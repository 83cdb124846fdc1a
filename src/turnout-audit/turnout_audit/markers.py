"""The words that mark a banner, a glossary, a changelog or a historical section."""

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnout_audit.ruleset import Ruleset
from turnout_audit.text import compiled

_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_NEVER = r"[^\s\S]"
_LETTER = "0-9A-Za-z\u00c0-\u052f"
"""A particle in Hangul or Kana right behind a Latin word does not make it another word."""
FIRST_WORDS = 4
_SORTS = ("deprecated", "glossary", "changelog", "historical")


@dataclass(frozen=True, slots=True)
class MarkerWords:
    """Marker words of one sort, of all languages."""

    anywhere: Any
    whole: frozenset[str]

    @classmethod
    def of(cls, words: Iterable[str]) -> "MarkerWords":
        """Compile words as `markers.toml` writes them."""
        listed = list(words)
        expression = _expression([word for word in listed if not word.startswith("=")])
        whole = frozenset(word[1:].lower() for word in listed if word.startswith("="))
        return cls(compiled(expression, ignore_case=True) if expression else None, whole)

    def search(self, text: str) -> int | None:
        """Return the offset of the first word; None where there is none."""
        match = self.anywhere.search(text) if self.anywhere else None
        return max(match.start(1), match.start(2)) if match else None

    def marks(self, title: str) -> bool:
        """Say whether a heading or a file's name is marked."""
        plain = title.strip(" \t#*_`:.[]0123456789").lower()
        return plain in self.whole or self.search(title) is not None


@dataclass(frozen=True, slots=True)
class Markers:
    """Every sort of marker word, and the vendor's own words."""

    deprecated: MarkerWords
    glossary: MarkerWords
    changelog: MarkerWords
    historical: MarkerWords
    vendor: MarkerWords
    every_sort: Any
    """Finds a word of any sort but the vendor's."""

    @classmethod
    def of(cls, ruleset: Ruleset) -> "Markers":
        """Join the built-in words and the rule set's."""
        prose = ruleset.prose
        text = Path(__file__).with_name("markers.toml").read_text(encoding="utf-8")
        built_in = {} if prose.replace else tomllib.loads(text)
        words = {sort: [*built_in.get(sort, ()), *getattr(prose, sort)] for sort in _SORTS}
        plain = {word.lstrip("=") for sort in words for word in words[sort]}
        expression = "|".join(_spaced(word) for word in sorted(plain))
        return cls(
            **{sort: MarkerWords.of(words[sort]) for sort in _SORTS},
            vendor=MarkerWords.of(ruleset.markers),
            every_sort=compiled(expression or _NEVER, ignore_case=True),
        )

    def lines(self, text: str) -> list[int]:
        """List the offsets of everything that might be a marker, in order: one fast pass."""
        return [match.start() for match in self.every_sort.finditer(text)]

    def opens(self, text: str) -> bool:
        """Say whether deprecation is said within a block's first words."""
        at = self.deprecated.search(text)
        return at is not None and len(re.findall(r"[^\W_]+", text[:at])) < FIRST_WORDS


def _spaced(word: str) -> str:
    import re2

    return r"[\s\x{3000}]*".join(re2.escape(part) for part in word.rstrip("*").split(" "))


def _expression(words: Sequence[str]) -> str:
    """Look for words between spaces in one group, for those that need none in the other."""
    unspaced = [w for w in words if _UNSPACED.search(w) or not w[:1].isalnum()]
    spaced = [w for w in words if w not in unspaced]
    ends = [_spaced(w) + ("" if w.endswith("*") else rf"(?:$|[^{_LETTER}])") for w in spaced]
    parts = [
        rf"(?:^|[^{_LETTER}])({'|'.join(ends) or _NEVER})",
        f"({'|'.join(map(_spaced, unspaced))})",
    ]
    return "|".join(parts if unspaced else [parts[0], f"({_NEVER})"]) if words else ""

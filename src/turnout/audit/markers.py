"""The words that mark a banner, a glossary, a changelog or a historical section."""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from turnout.audit.ruleset import Ruleset

_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
FIRST_WORDS = 4


@dataclass(frozen=True, slots=True)
class Words:
    """Marker words of one sort, of all languages."""

    anywhere: re.Pattern[str] | None
    whole: frozenset[str]

    @classmethod
    def of(cls, words: Iterable[str]) -> "Words":
        """Compile words as `markers.toml` writes them."""
        listed = list(words)
        parts = [_expression(word) for word in listed if not word.startswith("=")]
        whole = frozenset(word[1:].lower() for word in listed if word.startswith("="))
        return cls(re.compile("|".join(parts), re.IGNORECASE) if parts else None, whole)

    def search(self, text: str) -> int | None:
        """Tell where the first word stands."""
        found = self.anywhere.search(text) if self.anywhere else None
        return found.start() if found else None

    def marks(self, title: str) -> bool:
        """Say whether a heading or a file's name is marked."""
        plain = title.strip(" \t#*_`:.[]0123456789").lower()
        return plain in self.whole or self.search(title) is not None


@dataclass(frozen=True, slots=True)
class Markers:
    """Every sort of marker word, and the vendor's own words."""

    deprecated: Words
    glossary: Words
    changelog: Words
    historical: Words
    vendor: Words

    @classmethod
    def of(cls, ruleset: Ruleset) -> "Markers":
        """Join the built-in words and the rule set's."""
        prose = ruleset.prose
        given = prose.model_dump(exclude={"replace"})
        text = Path(__file__).with_name("markers.toml").read_text(encoding="utf-8")
        built_in = {} if prose.replace else tomllib.loads(text)
        sorts = {sort: Words.of([*built_in.get(sort, ()), *given[sort]]) for sort in given}
        return cls(**sorts, vendor=Words.of(ruleset.markers))

    def opens(self, text: str) -> bool:
        """Say whether deprecation is said within a block's first words."""
        at = self.deprecated.search(text)
        return at is not None and len(re.findall(r"[^\W_]+", text[:at])) < FIRST_WORDS


def _expression(word: str) -> str:
    prefix = word.endswith("*")
    bare = re.escape(word.rstrip("*")).replace(r"\ ", r"[\s\u3000]*")
    if _UNSPACED.search(word) or not word.rstrip("*")[:1].isalnum():
        return bare
    return rf"(?<![^\W_]){bare}" + ("" if prefix else r"(?![^\W_])")

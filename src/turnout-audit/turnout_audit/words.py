"""The words that a file must hold for a rule to find anything in it; the text search uses them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from turnout_audit.literals import longest, one_of, rarest, words_of
from turnout_audit.ruleset import (
    AstMatch,
    CallMatch,
    ConfigKeyMatch,
    DecoratorMatch,
    DemandMatch,
    EnvMatch,
    ImportMatch,
    ManifestMatch,
    Match,
    MemberMatch,
    PathMatch,
    ProseMatch,
    Ruleset,
    TextMatch,
)

_PIECE = re.compile(r"[^*?]+")
_TOKEN = re.compile(r"(?<![$\w])[\w@./-]{3,}")


class Index:
    """Finds which of some words a text holds, in any case, in one pass for all of them."""

    def __init__(self, words: Iterable[str]) -> None:
        import re2

        options = re2.Options()
        options.case_sensitive = False
        options.max_mem = 64 << 20
        self.words = sorted(set(words))
        self.set = re2.Set.SearchSet(options)
        for word in self.words:
            self.set.Add(re2.escape(word))
        self.always = self.set.Add("")
        """Is always found; if not, the set was too large for its memory."""
        self.set.Compile()

    def present(self, text: str) -> frozenset[str]:
        """Return the words that stand in a text."""
        numbers = self.set.Match(text.encode("utf-8", "surrogatepass"))
        if not numbers:
            lowered = text.lower()
            return frozenset(word for word in self.words if word in lowered)
        words, always = self.words, self.always
        return frozenset([words[number] for number in numbers if number != always])


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """Every set must have a word in the file, in lower case; no set: any file will do."""

    sets: tuple[frozenset[str], ...]

    def met_by(self, present: frozenset[str]) -> bool:
        """Whether a file with these words can hold a finding."""
        for words in self.sets:  # noqa: SIM110 -- asked a hundred thousand times
            if words.isdisjoint(present):
                return False
        return True

    def sharpest(self, markers: Iterable[str]) -> frozenset[str]:
        """Choose the set that keeps the fewest files: one of the vendor's words, or long ones."""
        names = [marker.lower() for marker in markers]

        def sharpness(words: frozenset[str]) -> tuple[bool, int, int]:
            named = all(any(marker in word for marker in names) for word in words)
            return named, min(map(len, words)), -len(words)

        return max(self.sets, key=sharpness)


def shortest(words: Iterable[str]) -> frozenset[str]:
    """Leave out words that contain another one: a text with them has that one, too."""
    words_kept: list[str] = []
    for word in sorted(set(words), key=len):
        if not any(inner in word for inner in words_kept):
            words_kept.append(word)
    return frozenset(words_kept)


def needs(match: Match) -> Needs | None:
    """Derive what a match needs; None where nothing can be derived, and `words` must be given."""
    if isinstance(match, PathMatch | DemandMatch):
        return Needs(sets=())
    sets = [frozenset(word.lower() for word in match.words)] if match.words else _derived(match)
    sets.append(one_of(_of_module(glob) for glob in match.when_imports))
    filled = tuple(filter(None, sets))
    return Needs(sets=filled) if filled else None


def sharpest(match: Match, markers: Iterable[str]) -> frozenset[str]:
    """Return the words of which a file must hold one for a match, as few files do."""
    needed = needs(match)
    return needed.sharpest(markers) if needed and needed.sets else frozenset()


def of_ruleset(ruleset: Ruleset) -> frozenset[str]:
    """Return the words of which a file must hold one to be worth opening."""
    matches = [match for rule in ruleset.rules for match in rule.match]
    sharp = [word for match in matches for word in sharpest(match, ruleset.markers)]
    return shortest([*sharp, *(word.lower() for word in ruleset.mentions)])


def of_path(match: PathMatch) -> frozenset[str]:
    """Return words of which a path that fits holds one; empty where none is certain."""
    plain = all(not set(glob) & set("[]\\!") for glob in match.path)
    pieces = (longest(re.findall(r"[^*?/]+", glob)) for glob in match.path)
    return one_of(pieces) if plain else frozenset()


def of_modules(match: Match) -> frozenset[str]:
    """Return words of which every text holds one that imports the match's modules."""
    globs = [*match.when_imports]
    if isinstance(match, ImportMatch):
        globs += match.import_
    elif isinstance(match, CallMatch | MemberMatch | DecoratorMatch):
        globs += match.from_
    return one_of(map(_of_module, globs))


def _derived(match: Match) -> list[frozenset[str]]:  # noqa: C901, PLR0911 -- one case a kind
    match match:
        case TextMatch():
            return [one_of(words_of(expression) for expression in match.text)]
        case ProseMatch():
            return [one_of(words_of(expression) for expression in match.prose)]
        case ImportMatch():
            return [one_of(map(_of_module, match.import_)), one_of(map(_piece, match.names))]
        case CallMatch():
            return [
                one_of(map(_of_name, match.call)),
                one_of(map(_of_module, match.from_)),
                one_of(map(_of_name, match.key)),
                _of_value(match.value),
            ]
        case MemberMatch():
            return [one_of(map(_of_name, match.member)), one_of(map(_of_module, match.from_))]
        case DecoratorMatch():
            return [one_of(map(_of_name, match.decorator)), one_of(map(_of_module, match.from_))]
        case ConfigKeyMatch():
            return [one_of(map(_of_name, match.config_key)), _of_value(match.value)]
        case ManifestMatch():
            return [one_of(map(_piece, match.manifest))]
        case EnvMatch():
            return [one_of(map(_piece, match.env))]
        case AstMatch():
            return [_of_ast(match.ast)]
        case PathMatch() | DemandMatch():
            return []


def _of_value(expression: str | None) -> frozenset[str]:
    return words_of(expression) if expression else frozenset()


def _piece(glob: str) -> frozenset[str]:
    return longest(_PIECE.findall(glob))


def _of_module(glob: str) -> frozenset[str]:
    """`a.b` in Python is also written `from a import b`; with `/` or `@` it is one string."""
    pieces = _PIECE.findall(glob)
    if "/" not in glob and "@" not in glob:
        pieces = [part for piece in pieces for part in piece.split(".")]
    return longest(pieces)


def _of_name(glob: str) -> frozenset[str]:
    """Take the longest part of a dotted name."""
    parts = [part for piece in _PIECE.findall(glob) for part in re.split(r"[.()\[\]]+", piece)]
    return longest([part for part in parts if part != "default"])  # an import need not say it


def _of_ast(rule: Mapping[str, Any]) -> frozenset[str]:
    options = []
    for key, value in rule.items():
        if key == "pattern":
            text = value if isinstance(value, str) else str(value.get("context", ""))
            options.append(longest(_TOKEN.findall(text)))
        elif key == "regex":
            options.append(words_of(str(value)))
        elif key in ("has", "inside", "follows", "precedes") and isinstance(value, Mapping):
            options.append(_of_ast(value))
        elif key == "all":
            options.extend(_of_ast(part) for part in value)
        elif key == "any":
            options.append(one_of(_of_ast(part) for part in value))
    return rarest(options)

"""The words without which a rule cannot find anything: they let the text search drop most files."""

import re
import re._constants as sre  # type: ignore[import-not-found]  # untyped, there since 3.11
import re._parser as parser  # type: ignore[import-not-found]  # untyped, there since 3.11
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turnout_audit.ruleset import (
    AstMatch,
    CallMatch,
    ConfigKeyMatch,
    DecoratorMatch,
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

SHORTEST = 2
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
        """Give the words that stand in a text."""
        found = self.set.Match(text.encode("utf-8", "surrogatepass"))
        if not found:
            lowered = text.lower()
            return frozenset(word for word in self.words if word in lowered)
        words, always = self.words, self.always
        return frozenset([words[number] for number in found if number != always])


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
        known = [marker.lower() for marker in markers]

        def sharpness(words: frozenset[str]) -> tuple[bool, int, int]:
            named = all(any(marker in word for marker in known) for word in words)
            return named, min(map(len, words)), -len(words)

        return max(self.sets, key=sharpness)


def shortest(words: Iterable[str]) -> frozenset[str]:
    """Leave out words that hold another one: whoever has them has that one too."""
    kept: list[str] = []
    for word in sorted(set(words), key=len):
        if not any(inner in word for inner in kept):
            kept.append(word)
    return frozenset(kept)


def needs(match: Match) -> Needs | None:
    """Derive what a match needs; None where nothing can be derived, and `words` must be given."""
    if isinstance(match, PathMatch):
        return Needs(sets=())
    found = [_lowered(match.words)] if match.words else _derived(match)
    found.append(_any(_of_module(glob) for glob in match.when_imports))
    sets = tuple(words for words in found if words)
    return Needs(sets=sets) if sets else None


def sharpest(match: Match, markers: Iterable[str]) -> frozenset[str]:
    """Give the words of which a file must hold one for a match, as few files do."""
    needed = needs(match)
    return needed.sharpest(markers) if needed and needed.sets else frozenset()


def of_ruleset(ruleset: Ruleset) -> frozenset[str]:
    """Give the words of which a file must hold one to be worth opening."""
    found = (sharpest(match, ruleset.markers) for rule in ruleset.rules for match in rule.match)
    return shortest(word for words in found for word in words)


def of_path(match: PathMatch) -> frozenset[str]:
    """Give words of which a path holds one if it fits; empty where that is not told."""
    plain = all(not set(glob) & set("[]\\!") for glob in match.path)
    found = (_best(re.findall(r"[^*?/]+", glob)) for glob in match.path)
    return _any(found) if plain else frozenset()


def of_modules(match: Match) -> frozenset[str]:
    """Give words of which a text holds one where it imports what a match asks for."""
    globs = [*match.when_imports]
    if isinstance(match, ImportMatch):
        globs += match.import_
    elif isinstance(match, CallMatch | MemberMatch | DecoratorMatch):
        globs += match.from_
    return _any(map(_of_module, globs))


def _derived(match: Match) -> list[frozenset[str]]:  # noqa: C901, PLR0911 -- one case a kind
    match match:
        case TextMatch():
            return [_any(of_expression(expression) for expression in match.text)]
        case ProseMatch():
            return [_any(of_expression(expression) for expression in match.prose)]
        case ImportMatch():
            return [_any(map(_of_module, match.import_)), _any(map(_piece, match.names))]
        case CallMatch():
            return [
                _any(map(_of_name, match.call)),
                _any(map(_of_module, match.from_)),
                _any(map(_of_name, match.key)),
                _of_value(match.value),
            ]
        case MemberMatch():
            return [_any(map(_of_name, match.member)), _any(map(_of_module, match.from_))]
        case DecoratorMatch():
            return [_any(map(_of_name, match.decorator)), _any(map(_of_module, match.from_))]
        case ConfigKeyMatch():
            return [_any(map(_of_name, match.config_key)), _of_value(match.value)]
        case ManifestMatch():
            return [_any(map(_piece, match.manifest))]
        case EnvMatch():
            return [_any(map(_piece, match.env))]
        case AstMatch():
            return [_of_ast(match.ast)]
        case PathMatch():
            return []


def _of_value(expression: str | None) -> frozenset[str]:
    return of_expression(expression) if expression else frozenset()


def _any(each: Iterable[frozenset[str]]) -> frozenset[str]:
    """Join alternatives; if one of them has no word, the others say nothing."""
    found = list(each)
    return frozenset().union(*found) if found and all(found) else frozenset()


def _lowered(words: Iterable[str]) -> frozenset[str]:
    return frozenset(word.lower() for word in words)


def _best(pieces: Sequence[str]) -> frozenset[str]:
    """Take the longest piece, if it is long enough."""
    longest = max(pieces, key=len, default="")
    return _lowered([longest]) if len(longest) >= SHORTEST else frozenset()


def _piece(glob: str) -> frozenset[str]:
    return _best(_PIECE.findall(glob))


def _of_module(glob: str) -> frozenset[str]:
    """`a.b` in Python is also written `from a import b`; with `/` or `@` it is one string."""
    pieces = _PIECE.findall(glob)
    if "/" not in glob and "@" not in glob:
        pieces = [part for piece in pieces for part in piece.split(".")]
    return _best(pieces)


def _of_name(glob: str) -> frozenset[str]:
    """Take the longest part of a dotted name."""
    parts = [part for piece in _PIECE.findall(glob) for part in re.split(r"[.()\[\]]+", piece)]
    return _best([part for part in parts if part != "default"])  # an import need not say it


def of_expression(expression: str) -> frozenset[str]:
    """Words of which any match of the expression holds one; empty where there are none."""
    try:
        tree = parser.parse(expression)
    except (re.error, RecursionError, OverflowError):
        return frozenset()
    return _of_sequence(list(tree))


def _of_sequence(items: list[Any]) -> frozenset[str]:
    """Choose, among what must all be there, the set whose shortest word is the longest."""
    options: list[frozenset[str]] = []
    run = ""
    for operator, argument in items:
        if operator is sre.LITERAL:
            run += chr(argument)
            continue
        options.append(_best([run]))
        run = ""
        options.append(_of_operator(operator, argument))
    options.append(_best([run]))
    good = [option for option in options if option]
    return max(good, key=lambda option: min(map(len, option)), default=frozenset())


def _of_operator(operator: Any, argument: Any) -> frozenset[str]:
    if operator is sre.SUBPATTERN:
        return _of_sequence(list(argument[-1]))
    if operator is sre.BRANCH:
        return _any(_of_sequence(list(branch)) for branch in argument[1])
    if operator in (sre.MAX_REPEAT, sre.MIN_REPEAT) and argument[0] > 0:
        return _of_sequence(list(argument[2]))
    return frozenset()


def _of_ast(rule: Mapping[str, Any]) -> frozenset[str]:
    options = []
    for key, value in rule.items():
        if key == "pattern":
            text = value if isinstance(value, str) else str(value.get("context", ""))
            options.append(_best(_TOKEN.findall(text)))
        elif key == "regex":
            options.append(of_expression(str(value)))
        elif key in ("has", "inside", "follows", "precedes") and isinstance(value, Mapping):
            options.append(_of_ast(value))
        elif key == "all":
            options.extend(_of_ast(part) for part in value)
        elif key == "any":
            options.append(_any(_of_ast(part) for part in value))
    good = [option for option in options if option]
    return max(good, key=lambda option: min(map(len, option)), default=frozenset())

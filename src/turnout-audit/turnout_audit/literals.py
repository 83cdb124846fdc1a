r"""The words that any match of a regular expression holds.

Only what is certain is read: literal characters, groups, alternatives and repetition. The words of
`\bacme(\.send|Queue)+` are `acme`. Any other construct may match anything.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile

SHORTEST = 2
"""Letters of the shortest word that is worth searching for."""
MAX_DEPTH = 50
"""Groups within groups; what is nested deeper may be anything."""
NO_WORDS: frozenset[str] = frozenset()
_ATOM = re.compile(
    r"""\\x\{[0-9A-Fa-f]*\}|\\x[0-9A-Fa-f]{2}|\\[pP](?:\{[^}]*\}|\w)|\\[\s\S]|"""
    r"""\[\^?\]?(?:\\[\s\S]|\[:[^\]]*:\]|[^\]\\])*\]|\(\?P=\w+\)|\(\?[imsU-]+\)|[\s\S]"""
)
_GROUP = re.compile(r"\((?:\?(?:(?P<plain>:)|(?P<other>P?<\w+>|[imsU-]+:|[=!]|<[=!])))?")
_REPEAT = re.compile(r"(?:[*+?]|\{(?P<least>\d*)(?:,\d*)?\})[?+]?")
_SINGLE = re.compile(r"\[(?P<letter>[^\]\\^])\]")
_CONTROLS = {r"\n": "\n", r"\r": "\r", r"\t": "\t", r"\f": "\f", r"\v": "\v", r"\a": "\a"}


@dataclass(frozen=True)
class _Item:
    """A piece of an expression: a letter, or a part that always has one of some words."""

    spelling: str
    letter: str = ""
    words: frozenset[str] = NO_WORDS


@lru_cache(1024)
def words_of(expression: str) -> frozenset[str]:
    """Return words of which any match holds one, in lower case; empty where no word is certain."""
    items, end = _alternatives(expression, 0, 0)
    return _best_of(items) if end == len(expression) else NO_WORDS


def first_letter(expression: str) -> str:
    """Return the letter by which every match begins; empty where it is not certain."""
    items, _ = _alternatives(expression, 0, 0)
    return items[0].letter if items else ""


def longest(pieces: Iterable[str]) -> frozenset[str]:
    """Take the longest piece, if it is long enough, as a word."""
    word = max(pieces, key=len, default="")
    return frozenset([word.lower()]) if len(word) >= SHORTEST else NO_WORDS


def one_of(alternatives: Iterable[frozenset[str]]) -> frozenset[str]:
    """Join alternatives; if one of them has no word, the others say nothing."""
    sets = list(alternatives)
    return NO_WORDS.union(*sets) if sets and all(sets) else NO_WORDS


def rarest(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    """Choose, among sets that must all be there, the one whose shortest word is the longest."""
    return max(filter(None, sets), key=lambda words: min(map(len, words)), default=NO_WORDS)


def _best_of(items: Sequence[_Item]) -> frozenset[str]:
    sets: list[frozenset[str]] = []
    run = ""
    for item in items:
        if item.letter:
            run += item.letter
        else:
            sets += [longest([run]), item.words]
            run = ""
    return rarest([*sets, longest([run])])


def _alternatives(text: str, at: int, depth: int) -> tuple[list[_Item], int]:
    """Read to the end of a group, or of the text."""
    branches: list[list[_Item]] = [[]]
    while at < len(text) and text[at] != ")":
        if text[at] == "|":
            branches.append([])
            at += 1
        else:
            items, at = _repeated(text, at, depth)
            branches[-1] += items
    if len(branches) == 1:
        return branches[0], at
    same = takewhile(lambda items: len(set(items)) == 1, zip(*branches, strict=False))
    shared = [items[0] for items in same]
    endings = [branch[len(shared) :] for branch in branches]
    words = one_of(map(_best_of, endings))
    spelling = "|".join("".join(item.spelling for item in branch) for branch in endings)
    return [*shared, _Item(f"(?:{spelling})", words=words)], at


def _repeated(text: str, at: int, depth: int) -> tuple[list[_Item], int]:
    """Read a letter, a class or a group, and how often it stands there."""
    start = at
    items, at = _piece(text, at, depth)
    repeat = _REPEAT.match(text, at)
    if repeat is None:
        return items, at
    least = repeat["least"] or "0" if repeat[0][0] == "{" else "01"[repeat[0][0] == "+"]
    words = _best_of(items) if int(least) else NO_WORDS
    return [_Item(text[start : repeat.end()], words=words)], repeat.end()


def _piece(text: str, at: int, depth: int) -> tuple[list[_Item], int]:
    flags = text.startswith(("(?P=", "(?#")) or re.compile(r"\(\?[imsU-]+\)").match(text, at)
    group = None if flags else _GROUP.match(text, at)
    if group is None:
        atom = _ATOM.match(text, at)
        assert atom  # it takes any letter
        return [_atom(atom[0])], atom.end()
    items, end = _alternatives(text, group.end(), depth + 1)
    spelling = text[at : end + 1]
    if group["other"] and group["other"][-1] in "=!":
        return [_Item(spelling)], end + 1
    if depth > MAX_DEPTH:
        return [_Item(spelling)], end + 1
    inline = group["plain"] is not None
    return items if inline else [_Item(spelling, words=_best_of(items))], end + 1


def _atom(spelling: str) -> _Item:
    if single := _SINGLE.fullmatch(spelling):
        return _Item(spelling, single["letter"])
    if spelling in _CONTROLS:
        return _Item(spelling, _CONTROLS[spelling])
    if spelling.startswith(r"\x"):
        return _Item(spelling, chr(int(spelling[2:].strip("{}") or "0", 16)))
    if len(spelling) == 2 and spelling[0] == "\\" and not spelling[1].isalnum():  # noqa: PLR2004
        return _Item(spelling, spelling[1])
    if len(spelling) == 1 and spelling not in ".^$":
        return _Item(spelling, spelling)
    return _Item(spelling)

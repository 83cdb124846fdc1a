"""A segment as the finders see it: its text, and its syntax tree, parsed at first use."""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial

from turnout_audit import head, syntax
from turnout_audit.imports import Import
from turnout_audit.ruleset import SCRIPTS
from turnout_audit.source import Hit, Segment


class View:
    """A piece of text in one language."""

    def __init__(
        self,
        segment: Segment,
        query: syntax.TreeQuery | None = None,
        is_own_module: Callable[[str, str], bool] | None = None,
    ) -> None:
        self.query = query
        scripted = is_own_module is not None and segment.language in SCRIPTS
        self.is_own = partial(is_own_module, segment.path) if scripted and is_own_module else None
        self.settled = False
        """Whether the head holds all imports that the rules in question look for."""
        self.segment = segment
        self.text = segment.text
        self.language = segment.language
        self.path = segment.path

    @cached_property
    def tree(self) -> syntax.SyntaxTree | None:
        """Parse, once; None where the language has no tree."""
        tree = syntax.parse(self.text, self.language, self.query)
        if tree is not None:
            tree.is_own = self.is_own
        return tree

    @cached_property
    def head(self) -> head.Head | None:
        """Read the imports at a script's head, without its tree; None where they are unclear."""
        return head.read(self.text, self.is_own) if self.language in SCRIPTS else None

    def past_head(self, words: Iterable[str]) -> bool:
        """Whether one of these words is after the head; True where there is no head."""
        if self.head is None:
            return True
        lowered, end = self.segment.lowered, self.head.end
        return any(lowered.find(word, end) >= 0 for word in words)

    @property
    def imports(self) -> tuple[Import, ...]:
        """Return the imports: the tree's, or the head's where it holds all of them."""
        if self.settled and self.parsed is None and self.head is not None:
            return self.head.imports
        return self.tree.imports if self.tree else ()

    @property
    def parsed(self) -> syntax.SyntaxTree | None:
        """Return the tree if it has been parsed."""
        return self.__dict__.get("tree")


LONG = 2000
Finder = Callable[[View], Iterable[Hit]]


def line_of(text: str, offset: int) -> tuple[str, int]:
    """Return the line around an offset, and its start; at most a few thousand letters."""
    start = text.rfind("\n", max(0, offset - LONG), offset) + 1 or max(0, offset - LONG)
    end = text.find("\n", offset, offset + LONG)
    return text[start : end if end >= 0 else offset + LONG], start


def unquoted_hash(line: str) -> int:
    """Return the column at which a `#` comment starts in a line; its length where there is none."""
    if "#" not in line:
        return len(line)
    quote = ""
    for at, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'" and (at == 0 or not line[at - 1].isalnum()):
            quote = letter
        elif letter == "#" and (at == 0 or line[at - 1].isspace()):
            return at
    return len(line)


def groups(match: object) -> dict[str, str]:
    """Return the named groups of a match of `re` or re2."""
    named = match.groupdict()  # type: ignore[attr-defined]
    return {key: value for key, value in named.items() if value is not None}


def distinct(hits: Iterable[Hit]) -> Iterator[Hit]:
    """Leave out what stands at the same place as an earlier hit."""
    places: set[tuple[int, int]] = set()
    for hit in hits:
        if (hit.start, hit.end) not in places:
            places.add((hit.start, hit.end))
            yield hit

"""A file's text, decoded once, and the pieces of it that are read in a language of their own."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, count
from operator import add
from pathlib import Path

from turnout_audit.kinds import scope_of
from turnout_audit.model import Scope
from turnout_audit.ruleset import Language

SHOWN = 300
ALLOWS = "turnout-audit:"
"""How a comment begins that allows what stands beside it."""
SHORT = 20_000
"""Characters up to which counting lines is quicker than listing them."""
_MARKS = (
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
"""Byte-order marks, the longer ones first."""
_UNMARKED: Mapping[tuple[bool, ...], str] = {
    (True, False, True, False): "utf-16-be",
    (False, True, False, True): "utf-16-le",
    (True, True, True, False): "utf-32-be",
    (False, True, True, True): "utf-32-le",
}
"""By whether almost every first, second, third and fourth byte is NUL, as in text of ASCII."""
SAMPLE = 8192
"""Bytes by which a file's encoding is guessed."""
OFTEN, SELDOM = 0.7, 0.1
_CONTROLS = bytes({*range(32), 127} - set(b"\t\n\r\f\x1b"))
STRAY = 0.02
"""Share of control characters up to which a file counts as text."""


@dataclass(frozen=True)
class SourceText:
    """A file's text, with the places of its lines; only a line feed ends a line."""

    path: str
    text: str

    @cached_property
    def starts(self) -> Sequence[int]:
        """Return the offsets at which lines start."""
        return line_starts(self.text)

    @cached_property
    def allows(self) -> bool:
        """Say whether any comment allows anything."""
        return ALLOWS in self.text

    def line(self, offset: int) -> int:
        """Return the line of an offset, from 1."""
        if len(self.text) < SHORT:
            return self.text.count("\n", 0, offset) + 1
        return bisect_right(self.starts, offset)

    def column(self, offset: int) -> int:
        """Return the column of an offset, from 1."""
        return offset - self.start(offset) + 1

    def start(self, offset: int) -> int:
        """Return the offset at which the line around an offset starts."""
        if len(self.text) < SHORT:
            return self.text.rfind("\n", 0, offset) + 1
        return self.starts[bisect_right(self.starts, offset) - 1]

    def shown(self, offset: int) -> str:
        """Show the line around an offset without its indent, cut where it is very long."""
        start = self.start(offset)
        end = self.text.find("\n", start, start + 4 * SHOWN)
        return self.text[start : end if end >= 0 else start + 4 * SHOWN].strip()[:SHOWN]


def line_starts(text: str) -> list[int]:
    """List the offsets at which lines start."""
    lengths = accumulate(map(len, text.split("\n")), initial=0)
    return list(map(add, lengths, count()))[:-1]


@dataclass(frozen=True)
class Segment:
    """A piece of a file in one language, with the way back to the file's offsets."""

    path: str
    text: str
    language: Language
    starts: Sequence[int] = ()
    """Where this segment's lines start in its own text; empty for a whole file."""
    origins: Sequence[int] = ()
    """Where they start in the file."""
    fenced: bool = False

    @property
    def scope(self) -> Scope:
        """Return the kind of text that it is."""
        return scope_of(self.language)

    @cached_property
    def lowered(self) -> str:
        """Return the text in lower case."""
        return self.text.lower()

    def origin(self, offset: int) -> int:
        """Translate an offset of this segment into one of the file."""
        if not self.starts:
            return offset
        line = bisect_right(self.starts, offset) - 1
        return self.origins[line] + offset - self.starts[line]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """A match within a segment, in its offsets."""

    start: int
    end: int
    captured: dict[str, str] = field(default_factory=dict)


def decode(raw: bytes) -> tuple[str, bool]:
    """Decode a file's bytes; the second value says whether bytes were not valid.

    Invalid bytes become U+FFFD; the text around them is kept.
    """
    mark, encoding = encoding_of(raw)
    content = raw[len(mark) :] if mark else raw
    try:
        return content.decode(encoding), False
    except UnicodeDecodeError:
        return content.decode(encoding, "replace"), True


def encoding_of(raw: bytes) -> tuple[bytes, str]:
    """Return a file's byte-order mark and its encoding; without a mark, by where NULs stand."""
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return mark, encoding
    sample = raw[:SAMPLE]
    if b"\0" not in sample:
        return b"", "utf-8"
    shares = [part.count(0) / len(part) for part in (sample[n::4] for n in range(4)) if part]
    clear = all(share >= OFTEN or share <= SELDOM for share in shares)
    pattern = tuple(share >= OFTEN for share in shares) if clear else ()
    return b"", _UNMARKED.get(pattern, "utf-8")


def read_text(path: Path) -> str:
    """Read a file as the audit does: without a byte-order mark, with its own line ends."""
    return decode(path.read_bytes())[0]


def is_binary(raw: bytes) -> bool:
    """Say whether a file is binary: NULs that no encoding explains, among many control bytes."""
    sample = raw[:SAMPLE]
    if b"\0" not in sample or encoding_of(raw)[1] != "utf-8":
        return False
    return len(sample) - len(sample.translate(None, _CONTROLS)) > STRAY * len(sample)


def encoded(text: str, like: bytes) -> bytes:
    """Encode a text as the bytes that it was read from were."""
    mark, encoding = encoding_of(like)
    return mark + text.encode(encoding, "replace")

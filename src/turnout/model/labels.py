"""Labels: what a caller says of an event for those who look for its runs; runs hand them down."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from turnout.errors import TooLarge, WrongUse
from turnout.model.canonical import canonical_bytes
from turnout.model.text import is_storable, plain_text

MAX_TAGS: Final = 10
LONGEST_LABEL: Final = 128
"""Characters of a tag, and of a user's id."""
LARGEST_METADATA: Final = 16 * 1024
"""Bytes of the metadata, as canonical JSON."""
OWN_TAG: Final = "turnout:"
"""What tags that Turnout gives vendor runs begin with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """The labels of an event and of its runs."""

    tags: tuple[str, ...] = ()
    user_id: str | None = None
    metadata: bytes | None = None
    """An object, as canonical JSON; None: nothing."""


NO_LABELS: Final = Labels()


def read_labels(tags: Any, user_id: Any, metadata: Any) -> Labels:
    """Check labels as callers write them; WrongUse and TooLarge name the bound.

    A number is taken as a user's id, too. A tag that is there twice counts once.
    """
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise WrongUse(f"tags: give a list of texts, not a {type(tags).__name__}")
    if type(user_id) is int:
        user_id = str(user_id)
    return Labels(
        tags=_tags(tags),
        user_id=None if user_id is None else _label(user_id, "user_id"),
        metadata=None if metadata is None else _metadata(metadata),
    )


def _tags(tags: Iterable[Any]) -> tuple[str, ...]:
    distinct: dict[str, None] = {}
    for tag in tags:
        distinct[_label(tag, "tags")] = None
        if len(distinct) > MAX_TAGS:
            raise WrongUse(f"tags: an event has at most {MAX_TAGS}")
        if tag.startswith(OWN_TAG):
            raise WrongUse(f"tags: {tag!r} begins with {OWN_TAG}, as only Turnout's own tags do")
    return tuple(distinct)


def _label(value: Any, field: str) -> str:
    """Check a tag or a user's id: a text without control characters, of a bounded length."""
    if not isinstance(value, str):
        raise WrongUse(f"{field}: {value!r:.80} is no text")
    text = plain_text(value)
    if not 0 < len(text) <= LONGEST_LABEL:
        raise WrongUse(
            f"{field}: {text[:40]!r}… has {len(text):,} characters; 1 to {LONGEST_LABEL} are taken"
            if text
            else f"{field}: an empty text; 1 to {LONGEST_LABEL} characters are taken"
        )
    if not is_storable(text) or not text.isprintable():
        raise WrongUse(f"{field}: {text!r} has a control character or a lone surrogate")
    return text


def _metadata(metadata: Any) -> bytes:
    if not isinstance(metadata, dict):
        raise WrongUse(f"metadata: give a JSON object, not a {type(metadata).__name__}")
    _check_size(metadata)
    raw = canonical_bytes(metadata)
    if len(raw) > LARGEST_METADATA:
        raise _too_large(f"has {len(raw):,} bytes")
    return raw


def _check_size(metadata: Any) -> None:
    """Refuse too many values before any is written: shared ones can multiply without end."""
    budget, todo = LARGEST_METADATA, [metadata]
    while todo:
        value = todo.pop()
        budget -= 1 + (len(value) if isinstance(value, str | dict | list | tuple) else 0)
        if budget < 0:
            raise _too_large("is larger")
        if isinstance(value, dict):
            todo += [*value, *value.values()]
        elif isinstance(value, list | tuple):
            todo += value


def _too_large(size: str) -> TooLarge:
    return TooLarge(f"metadata: it {size}; at most {LARGEST_METADATA:,} bytes of JSON are taken")

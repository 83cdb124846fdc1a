"""What is put into an artifact store, and what comes back."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from turnout.errors import ArtifactMissing, TooLarge

PAGE_SIZE: Final = 1000
"""Entries in a page, unless the caller asks for fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactEntry:
    """An object without its body."""

    key: str
    size: int
    etag: str | None
    """None in the listing of a store that would have to read the body for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactBody:
    """An object's body."""

    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class IfMatch:
    """Put only over the version that has this ETag."""

    etag: str


PutMode: TypeAlias = Literal["create", "overwrite"] | IfMatch

GetResult: TypeAlias = ArtifactBody | ArtifactMissing | TooLarge
"""What became of one of many gets; a store that does not answer raises instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionSupport:
    """Which conditions of a put a store was seen to honour."""

    create: bool
    """A second `create` of a key is refused."""
    if_match: bool
    """A put over another version than the one named is refused."""
    looks_first: bool = False
    """The store refuses conditions, so a look replaces them: of two writers at the same moment
    both write."""

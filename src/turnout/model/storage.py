"""What is put into an artifact store, and what comes back."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from turnout.errors import ArtifactMissing, TooLarge

PAGE_SIZE: Final = 1000
"""As many entries come at once, where no less is asked for."""


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
    """What a store was seen to do with conditions."""

    create: bool
    """A second `create` of a key is refused."""
    if_match: bool
    """A put over another version than the one named is refused."""

"""What we ask of an artifact store: a folder, a bucket, anything that keeps bytes under keys.

A key that we write is made of safe segments (`turnout.model.keys.valid_key`), and no key is a
folder of another one: with `a/b` there is no `a`. What others wrote can be read and listed under
any `readable_key`. Another key is refused with `WrongUse`, and never listed. A body is whole or
absent, never half. An ETag names a version of an object: the MD5 of the body in lower-case hex,
without quotes, unless a bucket encrypts; so compare ETags, never compute them.

`StoreUnavailable` and `InvalidSettings` (no such bucket, refused credentials) may come from all.

Conditions are honoured by most stores and silently ignored by some; `Abilities` says which, and
nothing that Turnout promises rests on them.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

from turnout.errors import ArtifactMissing, TooLarge
from turnout.model.canonical import MAX_BYTES

PAGE: Final = 1000
"""As many entries come at once, where no less is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An object without its body."""

    key: str
    size: int
    etag: str | None
    """None in the listing of a store that would have to read the body for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An object's body."""

    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class IfMatch:
    """Put only over the version that has this ETag."""

    etag: str


PutMode: TypeAlias = Literal["create", "overwrite"] | IfMatch

Outcome: TypeAlias = Found | ArtifactMissing | TooLarge
"""What became of one of many gets; a store that does not answer raises instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a store was seen to do with conditions."""

    create: bool
    """A second `create` of a key is refused."""
    if_match: bool
    """A put over another version than the one named is refused."""


class Gets(Protocol):
    """Reads one object, or many."""

    async def get(self, key: str, *, max_bytes: int = MAX_BYTES) -> Found:
        """Read a body. `ArtifactMissing`; `TooLarge` before more than `max_bytes` are held."""
        ...

    def get_many(
        self, keys: Iterable[str], *, max_bytes: int = MAX_BYTES
    ) -> AsyncIterator[tuple[str, Outcome]]:
        """Read many bodies, a bounded number at a time, in the order of the keys.

        `keys` is consumed as reading goes on, so it may be endless. What is missing or too large
        is given as that error and stops nothing.
        """
        ...


class Heads(Protocol):
    """Looks at an object without reading it."""

    async def head(self, key: str) -> Stored:
        """Look. `ArtifactMissing`."""
        ...


class Puts(Protocol):
    """Writes objects."""

    async def put(self, key: str, body: bytes, *, mode: PutMode = "create") -> str:
        """Write a body and give its ETag.

        `create`: `ArtifactExists` where something is there. `IfMatch`: `ArtifactChanged` where
        another version, or nothing, is there. Readers see the old body or the new one.
        """
        ...


class Lists(Protocol):
    """Lists keys, sorted, in pages."""

    def pages(
        self, prefix: str = "", *, after: str = "", most: int = PAGE
    ) -> AsyncIterator[Sequence[Stored]]:
        """List the keys that start with `prefix` and sort behind `after`, in order of the keys.

        At most `most` come at a time (1 to 1,000); never an empty page.
        """
        ...

    def folders(self, prefix: str = "") -> AsyncIterator[Sequence[str]]:
        """List the names directly below `prefix` (empty or ending in `/`) that hold keys.

        In the order of their keys, which is the order of the names with `/` at their ends. A store
        with real folders also lists those that hold nothing, or are named as no key can be.
        """
        ...


class Deletes(Protocol):
    """Removes objects."""

    async def delete(self, key: str) -> None:
        """Remove an object; where there is none, there is nothing to do."""
        ...


class ArtifactStore(Gets, Heads, Puts, Lists, Deletes, Protocol):
    """All of it."""

    async def aclose(self) -> None:
        """Let go of connections and threads; the store is not used afterwards."""
        ...

"""What we ask of an artifact store: a folder, a bucket, anything that keeps bytes under keys.

A key that we write is made of safe segments (`turnout.model.keys.valid_key`), and no key is a
folder of another one: with `a/b` there is no `a`. What others wrote can be read and listed under
any `readable_key`. Another key is refused with `WrongUse`, and never listed. A body is whole or
absent, never half. An ETag names a version of an object: the MD5 of the body in lower-case hex,
without quotes, unless a bucket encrypts; so compare ETags, never compute them.

`StoreUnavailable` and `InvalidSettings` (no such bucket, refused credentials) may come from all.

Conditions are honoured by most stores, refused by some, and silently ignored by others;
`ConditionSupport` says which, and no promise of Turnout depends on them.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Protocol

from turnout.model.canonical import MAX_BYTES
from turnout.model.storage import PAGE_SIZE, ArtifactBody, ArtifactEntry, GetResult, PutMode


class ReadsArtifacts(Protocol):
    """Reads one object, or many."""

    async def get(self, key: str, *, max_bytes: int = MAX_BYTES) -> ArtifactBody:
        """Read a body. `ArtifactMissing`; `TooLarge` before more than `max_bytes` are held."""
        ...

    def get_many(
        self, keys: Iterable[str], *, max_bytes: int = MAX_BYTES
    ) -> AsyncIterator[tuple[str, GetResult]]:
        """Read many bodies, a bounded number at a time, in the order of the keys.

        `keys` is consumed as reading goes on, so it may be endless. What is missing or too large
        is given as that error and stops nothing.
        """
        ...


class LooksAtArtifacts(Protocol):
    """Looks at an object without reading it."""

    async def head(self, key: str) -> ArtifactEntry:
        """Read the size and the ETag of an object. `ArtifactMissing`."""
        ...


class PutsArtifacts(Protocol):
    """Writes objects."""

    async def put(self, key: str, body: bytes, *, mode: PutMode = "create") -> str:
        """Write a body and return its ETag.

        `create`: `ArtifactExists` where something is there. `IfMatch`: `ArtifactChanged` where
        another version, or nothing, is there. Readers see the old body or the new one.
        """
        ...


class ListsArtifacts(Protocol):
    """Lists keys, sorted, in pages."""

    def pages(
        self, prefix: str = "", *, after: str = "", limit: int = PAGE_SIZE
    ) -> AsyncIterator[Sequence[ArtifactEntry]]:
        """List the keys that start with `prefix` and sort behind `after`, in order of the keys.

        At most `limit` come at a time (1 to 1,000); never an empty page.
        """
        ...

    def folders(self, prefix: str = "") -> AsyncIterator[Sequence[str]]:
        """List the names directly below `prefix` (empty or ending in `/`) that hold keys.

        In the order of their keys, which is the order of the names with `/` at their ends. A store
        with real folders also lists empty ones, and ones whose names are not valid in keys.
        """
        ...


class DeletesArtifacts(Protocol):
    """Removes objects."""

    async def delete(self, key: str) -> None:
        """Remove an object; where there is none, there is nothing to do."""
        ...


class ArtifactStore(
    ReadsArtifacts, LooksAtArtifacts, PutsArtifacts, ListsArtifacts, DeletesArtifacts, Protocol
):
    """An artifact store with all of these methods."""

    @property
    def looks_first(self) -> bool:
        """Whether the store was seen to refuse conditions, so that a look replaces them.

        Of two writers at the same moment both write then, and the later body stays.
        """
        ...

    async def aclose(self) -> None:
        """Close connections and threads; the store is not used afterwards."""
        ...


ArtifactScheme = Callable[[str, Mapping[str, str]], Callable[[], ArtifactStore]]
"""Makes a store of a URL and the environment's settings: an entry point `turnout.artifact_stores`.

It reads both at once, and names all faults in one `InvalidSettings`; what it returns opens it.
"""

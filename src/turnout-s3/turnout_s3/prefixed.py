"""A narrower view of a store: what lies below a prefix."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace

from turnout.model.canonical import MAX_BYTES
from turnout.model.keys import check_key, check_prefix, check_readable
from turnout.model.storage import PAGE_SIZE, ArtifactBody, ArtifactEntry, GetResult, PutMode
from turnout.ports.artifact_store import ArtifactStore


class PrefixedStore:
    """A store whose keys all lie below one prefix of another store."""

    def __init__(self, store: ArtifactStore, prefix: str) -> None:
        self._store = store
        self._prefix = check_key(prefix) + "/"

    def __repr__(self) -> str:
        return f"{self._store!r} below {self._prefix}"

    @property
    def looks_first(self) -> bool:
        """Whether a look replaces the conditions of a put."""
        return self._store.looks_first

    async def get(self, key: str, *, max_bytes: int = MAX_BYTES) -> ArtifactBody:
        """Read a body."""
        return await self._store.get(self._readable(key), max_bytes=max_bytes)

    async def get_many(
        self, keys: Iterable[str], *, max_bytes: int = MAX_BYTES
    ) -> AsyncIterator[tuple[str, GetResult]]:
        """Read many bodies."""
        full_keys = map(self._readable, keys)
        async for key, result in self._store.get_many(full_keys, max_bytes=max_bytes):
            yield key.removeprefix(self._prefix), result

    async def head(self, key: str) -> ArtifactEntry:
        """Read the size and the ETag of an object."""
        return self._without_prefix(await self._store.head(self._readable(key)))

    async def put(self, key: str, body: bytes, *, mode: PutMode = "create") -> str:
        """Write a body."""
        return await self._store.put(self._key(key), body, mode=mode)

    async def pages(
        self, prefix: str = "", *, after: str = "", limit: int = PAGE_SIZE
    ) -> AsyncIterator[Sequence[ArtifactEntry]]:
        """List keys."""
        below = self._prefix + check_prefix(prefix)
        full_after = self._prefix + check_prefix(after) if after else ""
        async for page in self._store.pages(below, after=full_after, limit=limit):
            yield [self._without_prefix(entry) for entry in page]

    async def folders(self, prefix: str = "") -> AsyncIterator[Sequence[str]]:
        """List names directly below a prefix."""
        async for page in self._store.folders(self._prefix + check_prefix(prefix)):
            yield page

    async def delete(self, key: str) -> None:
        """Remove an object."""
        await self._store.delete(self._key(key))

    async def aclose(self) -> None:
        """Close the store that this one is a view of."""
        await self._store.aclose()

    def _key(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _readable(self, key: str) -> str:
        return self._prefix + check_readable(key)

    def _without_prefix(self, entry: ArtifactEntry) -> ArtifactEntry:
        return replace(entry, key=entry.key.removeprefix(self._prefix))

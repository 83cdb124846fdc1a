"""An async artifact store over a client that blocks, by a small pool of threads."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import Final, Protocol, TypeAlias, TypeVar

from turnout.errors import ArtifactMissing, TooLarge, TurnoutError
from turnout.model.canonical import MAX_BYTES
from turnout.model.keys import check_key, check_prefix, check_readable, readable_key
from turnout.model.storage import PAGE_SIZE, ArtifactBody, ArtifactEntry, GetResult, PutMode

_Result = TypeVar("_Result")
_Batch: TypeAlias = list[tuple[str, GetResult | None]]

BATCH_BYTES: Final = 4 * 1024 * 1024
"""A batch stops reading after this many bytes, so that large bodies do not fill the memory."""


class Blocking(Protocol):
    """A store whose calls block; keys and prefixes have been checked before."""

    @property
    def threads(self) -> int:
        """How many calls to make at the same time."""
        ...

    @property
    def batch(self) -> int:
        """How many objects one job of a thread reads."""
        ...

    @property
    def prefetch(self) -> int:
        """How many batches are read ahead of the reader."""
        ...

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """The exceptions that its client raises."""
        ...

    @property
    def looks_first(self) -> bool:
        """Whether a look replaces the conditions of a put, which the store refuses."""
        ...

    def translated(self, error: Exception, key: str, mode: PutMode | None) -> TurnoutError:
        """Translate an error of the client; mode: that of a put."""
        ...

    def get(self, key: str, max_bytes: int) -> ArtifactBody: ...  # noqa: D102 - as the Protocol's
    def head(self, key: str) -> ArtifactEntry: ...  # noqa: D102
    def put(self, key: str, body: bytes, mode: PutMode) -> str: ...  # noqa: D102
    def pages(self, prefix: str, after: str, limit: int) -> Iterator[Sequence[ArtifactEntry]]: ...  # noqa: D102
    def folders(self, prefix: str) -> Iterator[Sequence[str]]: ...  # noqa: D102
    def delete(self, key: str) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class ThreadedStore:
    """An `ArtifactStore` over a blocking one. May be used from one event loop."""

    def __init__(self, blocking: Blocking) -> None:
        self._blocking = blocking
        self._pool = ThreadPoolExecutor(blocking.threads, thread_name_prefix="artifacts")

    def __repr__(self) -> str:
        return repr(self._blocking)

    @property
    def looks_first(self) -> bool:
        """Whether a look replaces the conditions of a put."""
        return self._blocking.looks_first

    async def get(self, key: str, *, max_bytes: int = MAX_BYTES) -> ArtifactBody:
        """Read a body."""
        check_readable(key)
        return await self._run(key, lambda: self._blocking.get(key, max_bytes))

    async def get_many(
        self, keys: Iterable[str], *, max_bytes: int = MAX_BYTES
    ) -> AsyncIterator[tuple[str, GetResult]]:
        """Read many bodies in the order of the keys, ahead of the reader by a few batches."""
        waiting: deque[asyncio.Future[_Batch]] = deque()
        remaining = iter(keys)
        try:
            while True:
                while len(waiting) < self._blocking.prefetch and (batch := self._next(remaining)):
                    waiting.append(self._start_batch(batch, max_bytes))
                if not waiting:
                    return
                for key, result in await waiting.popleft():
                    yield (
                        key,
                        result if result is not None else await self._get_result(key, max_bytes),
                    )
        finally:
            for future in waiting:
                future.cancel()

    async def head(self, key: str) -> ArtifactEntry:
        """Read the size and the ETag of an object."""
        check_readable(key)
        return await self._run(key, lambda: self._blocking.head(key))

    async def put(self, key: str, body: bytes, *, mode: PutMode = "create") -> str:
        """Write a body."""
        check_key(key)
        return await self._run(key, lambda: self._blocking.put(key, body, mode), mode)

    async def pages(
        self, prefix: str = "", *, after: str = "", limit: int = PAGE_SIZE
    ) -> AsyncIterator[Sequence[ArtifactEntry]]:
        """List keys."""
        check_prefix(prefix)
        check_prefix(after)
        async for page in self._pages_of(
            prefix, self._blocking.pages(prefix, after, min(limit, PAGE_SIZE))
        ):
            yield [entry for entry in page if readable_key(entry.key)]

    async def folders(self, prefix: str = "") -> AsyncIterator[Sequence[str]]:
        """List names directly below a prefix."""
        check_prefix(prefix if not prefix or prefix.endswith("/") else f"//{prefix}")
        async for page in self._pages_of(prefix, self._blocking.folders(prefix)):
            yield page

    async def delete(self, key: str) -> None:
        """Remove an object; a missing one is removed already."""
        check_key(key)
        with suppress(ArtifactMissing):
            await self._run(key, lambda: self._blocking.delete(key))

    async def aclose(self) -> None:
        """Close the client and end the threads."""
        await self._run("", self._blocking.close)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(
        self, key: str, call: Callable[[], _Result], mode: PutMode | None = None
    ) -> _Result:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, translated, self._blocking, key, call, mode)

    async def _pages_of(
        self, prefix: str, pages: Iterator[Sequence[_Result]]
    ) -> AsyncIterator[Sequence[_Result]]:
        while (page := await self._run(prefix or "/", lambda: next(pages, None))) is not None:
            if page:
                yield page

    def _next(self, remaining: Iterator[str]) -> list[str]:
        return [check_readable(key) for key in islice(remaining, self._blocking.batch)]

    def _start_batch(self, batch: list[str], max_bytes: int) -> asyncio.Future[_Batch]:
        def read() -> _Batch:
            return list(self._within_budget(batch, max_bytes))

        return asyncio.get_running_loop().run_in_executor(self._pool, read)

    def _within_budget(
        self, batch: list[str], max_bytes: int
    ) -> Iterator[tuple[str, GetResult | None]]:
        """Read a batch; the result is None for keys after the bytes of the batch are used up."""
        budget = BATCH_BYTES
        for key in batch:
            result = self._result(key, max_bytes) if budget > 0 else None
            budget -= len(result.body) if isinstance(result, ArtifactBody) else 0
            yield key, result

    async def _get_result(self, key: str, max_bytes: int) -> GetResult:
        return await self._run(key, lambda: self._result(key, max_bytes))

    def _result(self, key: str, max_bytes: int) -> GetResult:
        try:
            return translated(self._blocking, key, lambda: self._blocking.get(key, max_bytes))
        except (ArtifactMissing, TooLarge) as error:
            return error


def translated(
    blocking: Blocking, key: str, call: Callable[[], _Result], mode: PutMode | None = None
) -> _Result:
    """Call a client, and translate its error; mode: that of a put."""
    try:
        return call()
    except blocking.errors as error:
        # Not chained: a client's error may quote a request, with its secrets.
        raise blocking.translated(error, key, mode) from None

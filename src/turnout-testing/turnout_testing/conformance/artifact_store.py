"""The promises of an artifact store, as a class of tests that every backend subclasses.

A backend gives the fixture `store`, fresh and empty, and says in `abilities` which conditions it
is known to honour. That the other conditions
are not honoured is asserted too, so a store that begins to honour one must declare it.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from hashlib import md5
from typing import ClassVar

import pytest

from turnout.errors import (
    ArtifactChanged,
    ArtifactExists,
    ArtifactMissing,
    TooLarge,
    WrongUse,
)
from turnout.model.storage import ArtifactBody, ArtifactEntry, ConditionSupport, IfMatch, PutMode
from turnout.ports.artifact_store import ArtifactStore

UNREADABLE = ("", "/", "a//b", "/a", "a/", "..", "a/../b", "./a", "a\\b", "a\n", "~a", "a" * 300)
UNSAFE = ("a b", "a~", "ä", "a:b", "a%2Fb", "a+b", "a?b")


class ArtifactStoreContract:
    """Subclass it, name it `Test…`, and give the fixture `store`."""

    abilities: ClassVar[ConditionSupport] = ConditionSupport(create=True, if_match=True)
    """The conditions that the backend is known to honour."""

    replaces_whole: ClassVar[bool] = True
    """Whether a reader never sees half of a body that is being replaced."""

    @pytest.fixture
    def store(self) -> ArtifactStore:
        """Give an empty store; the backend overrides it."""
        raise NotImplementedError

    async def test_what_is_put_can_be_got(self, store: ArtifactStore) -> None:
        """A body comes back byte for byte, with the ETag that the put gave."""
        body = bytes(range(256)) * 40
        etag = await store.put("runs/r1/status.json", body)
        assert await store.get("runs/r1/status.json") == ArtifactBody(body=body, etag=etag)

    async def test_an_empty_body_is_a_body(self, store: ArtifactStore) -> None:
        """No bytes are something else than no object."""
        await store.put("empty", b"")
        assert (await store.get("empty")).body == b""

    async def test_the_etag_is_the_md5(self, store: ArtifactStore) -> None:
        """ETags are hex without quotes, the same from put, get and head."""
        etag = await store.put("a", b"body")
        head = await store.head("a")
        expected = md5(b"body", usedforsecurity=False).hexdigest()
        assert {etag, (await store.get("a")).etag, head.etag} == {expected}
        assert (head.key, head.size) == ("a", 4)

    async def test_a_missing_object_is_named(self, store: ArtifactStore) -> None:
        """Get and head of nothing say which key it is."""
        await store.put("a/b", b"1")
        for key in ("nothing/here.json", "a", "a/b/c"):
            with pytest.raises(ArtifactMissing, match=key):
                await store.get(key)
            with pytest.raises(ArtifactMissing, match=key):
                await store.head(key)

    async def test_a_body_that_is_too_large_is_not_read(self, store: ArtifactStore) -> None:
        """The limit is inclusive."""
        await store.put("a", b"x" * 1000)
        assert len((await store.get("a", max_bytes=1000)).body) == 1000
        with pytest.raises(TooLarge, match="1,000 bytes; at most 999"):
            await store.get("a", max_bytes=999)

    async def test_overwrite_replaces(self, store: ArtifactStore) -> None:
        """The last put wins, whatever was there."""
        first = await store.put("a", b"1", mode="overwrite")
        second = await store.put("a", b"2", mode="overwrite")
        assert first != second
        assert await store.get("a") == ArtifactBody(body=b"2", etag=second)

    async def test_create_refuses_what_is_there(self, store: ArtifactStore) -> None:
        """Write-once, where the store honours it; else the put is done."""
        await store.put("a", b"1")
        if self.abilities.create:
            with pytest.raises(ArtifactExists, match="a is there"):
                await store.put("a", b"2")
        else:
            await store.put("a", b"2")
        body = b"1" if self.abilities.create else b"2"
        assert (await store.get("a")).body == body

    async def test_one_of_many_creates_wins(self, store: ArtifactStore) -> None:
        """Of concurrent creates exactly one is accepted, and its body is what is there."""
        bodies = [f"{number}".encode() for number in range(8)]
        results = await asyncio.gather(
            *(store.put("a", body) for body in bodies), return_exceptions=True
        )
        winners = [
            body for body, result in zip(bodies, results, strict=True) if isinstance(result, str)
        ]
        assert (await store.get("a")).body in winners
        assert len(winners) == (1 if self.abilities.create else 8)
        assert all(isinstance(result, str | ArtifactExists) for result in results)

    async def test_a_put_over_the_named_version_is_done(self, store: ArtifactStore) -> None:
        """The ETag of the last put, get or head names the version."""
        etag = await store.put("a", b"1")
        etag = await store.put("a", b"2", mode=IfMatch(etag))
        await store.put("a", b"3", mode=IfMatch(etag))
        assert (await store.get("a")).body == b"3"

    async def test_a_put_over_another_version_is_refused(self, store: ArtifactStore) -> None:
        """If-match, where the store honours it; else the put is done."""
        old = await store.put("a", b"1")
        await store.put("a", b"2", mode="overwrite")
        refused = await _refused(store, "a", IfMatch(old))
        assert refused is self.abilities.if_match
        assert (await store.get("a")).body == (b"2" if refused else b"changed")

    async def test_a_put_over_a_version_of_nothing_is_refused(self, store: ArtifactStore) -> None:
        """If-match of a missing object writes nothing, where the store honours it."""
        refused = await _refused(store, "gone", IfMatch("0" * 32))
        assert refused is self.abilities.if_match
        assert (await listed(store) == []) is refused

    async def test_one_of_many_if_matches_wins(self, store: ArtifactStore) -> None:
        """Of concurrent puts over one version exactly one is accepted."""
        etag = await store.put("a", b"0")
        results = await asyncio.gather(
            *(store.put("a", f"{n}".encode(), mode=IfMatch(etag)) for n in range(1, 9)),
            return_exceptions=True,
        )
        winners = sum(isinstance(result, str) for result in results)
        assert winners == (1 if self.abilities.if_match else 8)
        assert all(isinstance(result, str | ArtifactChanged) for result in results)

    async def test_a_reader_sees_a_whole_body(self, store: ArtifactStore) -> None:
        """While a body is replaced, readers get the old one or the new one.

        A backend that cannot do that must at least end with the last one whole.
        """
        bodies = [bytes([letter]) * 60_000 for letter in b"abcdef"]
        await store.put("a", bodies[0], mode="overwrite")

        async def write() -> None:
            """Write one body after the other."""
            for body in bodies:
                await store.put("a", body, mode="overwrite")

        async def read() -> None:
            """Read bodies as they are written."""
            for _ in range(6):
                body = (await store.get("a")).body
                assert body in bodies or not self.replaces_whole

        await asyncio.gather(write(), read(), read())
        assert (await store.get("a")).body == bodies[-1]

    async def test_a_deleted_object_is_gone(self, store: ArtifactStore) -> None:
        """It is neither got nor listed, and can be created again."""
        await store.put("a/b", b"1")
        await store.delete("a/b")
        assert await listed(store) == []
        assert await _names(store.folders()) == []
        await store.put("a/b", b"2")
        assert (await store.get("a/b")).body == b"2"

    async def test_deleting_nothing_is_no_error(self, store: ArtifactStore) -> None:
        """A delete may come twice."""
        await store.delete("never/there")

    async def test_keys_are_listed_in_their_order(self, store: ArtifactStore) -> None:
        """By code point, so `a-b` comes before `a/b`, and `B` before `a`."""
        keys = ["a/b", "a-b/c", "a.b", "B", "a/B/c", "a0", "a=b/x", "z_/1", "a/b.c", "0"]
        await _fill(store, keys)
        assert await listed(store) == sorted(keys)

    async def test_a_prefix_is_the_start_of_a_key(self, store: ArtifactStore) -> None:
        """It may end in the middle of a name."""
        await _fill(store, ["runs/ab/1", "runs/abc/1", "runs/b/1", "run", "other/runs/a"])
        assert await listed(store, "runs/ab") == ["runs/ab/1", "runs/abc/1"]
        assert await listed(store, "runs/ab/") == ["runs/ab/1"]
        assert await listed(store, "run") == ["run", "runs/ab/1", "runs/abc/1", "runs/b/1"]
        assert await listed(store, "runs/ab/1") == ["runs/ab/1"]
        assert await listed(store, "nothing/") == []

    async def test_a_listing_goes_on_behind_a_key(self, store: ArtifactStore) -> None:
        """`after` is exclusive and need not be there."""
        keys = ["a/1", "a/2", "a/20", "b-c/1", "b/1", "b/2", "c"]
        await _fill(store, keys)
        ordered = sorted(keys)
        for after in ("a/1", "a/2", "a/3", "b", "b-c/1", "b/1", "c"):
            expected = [key for key in ordered if key > after]
            assert await listed(store, after=after) == expected
        assert await listed(store, "b/", after="b/1") == ["b/2"]

    async def test_a_long_listing_comes_in_pages(self, store: ArtifactStore) -> None:
        """Each key once, in order, at most a page at a time."""
        keys = [f"many/{number:04d}" for number in range(25)]
        await _fill(store, keys)
        pages = [page async for page in store.pages("many/", limit=10)]
        assert [stored.key for page in pages for stored in page] == keys
        assert all(0 < len(page) <= 10 for page in pages)
        assert all(stored.size == 1 for page in pages for stored in page)

    async def test_folders_are_listed_without_what_is_in_them(self, store: ArtifactStore) -> None:
        """Names directly below the prefix, each once, ordered as their keys are."""
        await _fill(store, ["runs/a/1", "runs/a/2/3", "runs/a-dryrun/1", "runs/b/1", "runs/top"])
        assert await _names(store.folders("runs/")) == ["a-dryrun", "a", "b"]
        assert await _names(store.folders("runs/a/")) == ["2"]
        assert await _names(store.folders()) == ["runs"]
        assert await _names(store.folders("none/")) == []

    async def test_many_are_got_in_the_order_of_the_keys(self, store: ArtifactStore) -> None:
        """What is missing or too large is given as that, and stops nothing."""
        keys = [f"k/{number}" for number in range(40)]
        await _fill(store, keys)
        await store.put("large", b"x" * 100)
        requested = [*reversed(keys), "large", "missing", keys[0]]
        pairs = [pair async for pair in store.get_many(iter(requested), max_bytes=50)]
        assert [key for key, _ in pairs] == requested
        bodies = [result.body for _, result in pairs if isinstance(result, ArtifactBody)]
        assert bodies == [b"1"] * 41
        assert isinstance(pairs[40][1], TooLarge)
        assert isinstance(pairs[41][1], ArtifactMissing)

    async def test_many_large_bodies_are_got(self, store: ArtifactStore) -> None:
        """More bytes than are read ahead at a time come in the same order."""
        bodies = [bytes([48 + number]) * 1_500_000 for number in range(5)]
        for number, body in enumerate(bodies):
            await store.put(f"large/{number}", body)
        bodies_read = [body async for _, body in store.get_many(f"large/{n}" for n in range(5))]
        assert [body.body for body in bodies_read if isinstance(body, ArtifactBody)] == bodies

    async def test_reading_many_can_be_left_early(self, store: ArtifactStore) -> None:
        """Keys are consumed as reading goes on, so an endless supply is no trouble."""
        await store.put("a", b"1")
        endless = iter(lambda: "a", "never")
        count = 0
        reading = store.get_many(endless)
        async for _ in reading:
            count += 1
            if count == 5:
                break
        await _close(reading)
        assert (await store.get("a")).body == b"1"

    async def test_an_unsafe_key_is_not_written(self, store: ArtifactStore) -> None:
        """Nothing but safe segments is put or deleted."""
        for key in (*UNREADABLE, *UNSAFE):
            with pytest.raises(WrongUse):
                await store.put(key, b"1")
            with pytest.raises(WrongUse):
                await store.delete(key)

    async def test_a_key_of_others_can_be_asked_for(self, store: ArtifactStore) -> None:
        """We would not have written it, but it may be there; here it is not."""
        for key in UNSAFE:
            with pytest.raises(ArtifactMissing):
                await store.get(f"x/{key}")
            with pytest.raises(ArtifactMissing):
                await store.head(f"x/{key}")

    async def test_a_key_that_leads_out_is_not_read(self, store: ArtifactStore) -> None:
        """Nothing outside the store, whatever is done with the key."""
        for key in UNREADABLE:
            with pytest.raises(WrongUse):
                await store.get(key)
            with pytest.raises(WrongUse):
                await store.head(key)
            with pytest.raises(WrongUse):
                _ = [pair async for pair in store.get_many([key])]

    async def test_a_prefix_that_leads_out_is_refused(self, store: ArtifactStore) -> None:
        """A listing never leaves the store."""
        for prefix in ("../", "a/../", "/", "a//", "a\n", "~tmp/"):
            with pytest.raises(WrongUse):
                _ = [page async for page in store.pages(prefix)]
            with pytest.raises(WrongUse):
                _ = [page async for page in store.folders(prefix)]

    async def test_every_safe_character_is_kept(self, store: ArtifactStore) -> None:
        """`=XX` is no escape to a store; nothing is decoded on the way."""
        keys = sorted(["a=2F/b", "=", "a=2B", "_.-=", "a..b", ".hidden/x", "-"])
        await _fill(store, keys)
        assert await listed(store) == keys
        for key in keys:
            assert (await store.get(key)).body == b"1"


async def listed(store: ArtifactStore, prefix: str = "", *, after: str = "") -> list[str]:
    """Give all keys of a listing."""
    pages: list[Sequence[ArtifactEntry]] = [page async for page in store.pages(prefix, after=after)]
    return [stored.key for page in pages for stored in page]


async def _names(pages: AsyncIterator[Sequence[str]]) -> list[str]:
    return [name async for page in pages for name in page]


async def _fill(store: ArtifactStore, keys: Sequence[str]) -> None:
    for first in range(0, len(keys), 100):
        await asyncio.gather(*(store.put(key, b"1") for key in keys[first : first + 100]))


async def _refused(store: ArtifactStore, key: str, mode: PutMode) -> bool:
    try:
        await store.put(key, b"changed", mode=mode)
    except ArtifactChanged:
        return True
    return False


async def _close(reading: AsyncIterator[object]) -> None:
    close = getattr(reading, "aclose", None)
    if close is not None:
        await close()

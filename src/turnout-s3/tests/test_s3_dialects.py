"""A document is written on every store that speaks S3, in whichever dialect."""

import asyncio
import itertools
import logging
from collections.abc import Iterator
from operator import attrgetter

import pytest
from turnout_operator.doctor.conditions import probe
from turnout_s3.boto3_bucket import Boto3Bucket
from turnout_s3.conditions import PAUSES, ConditionalBucket
from turnout_s3.obstore_bucket import ObstoreBucket
from turnout_s3.prefixed import PrefixedStore
from turnout_s3.settings import s3_settings
from turnout_testing.conformance.artifact_store import listed

from tests.s3_dialects import DIALECTS, Dialect, serving
from turnout.errors import ArtifactChanged, ArtifactExists, StoreUnavailable
from turnout.model.storage import IfMatch
from turnout.ports.artifact_store import ArtifactStore
from turnout.stores.artifacts import open_store

_number = itertools.count()
EXAMPLE = next(dialect for dialect in DIALECTS if dialect.name == "amazon before 2024")


def settings(endpoint: str, client: str) -> dict[str, str]:
    """The environment that reaches a server."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "TURNOUT_ARTIFACTS_CLIENT": client,
    }


@pytest.fixture(scope="module", params=DIALECTS, ids=attrgetter("name"))
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """A row of the table."""
    assert isinstance(request.param, Dialect)
    return request.param


@pytest.fixture(scope="module", params=["boto3", "obstore"])
def bucket(dialect: Dialect, request: pytest.FixtureRequest) -> Iterator[ArtifactStore]:
    """A bucket in that dialect, through each client."""
    with serving(dialect) as endpoint:
        opened = open_store("s3://bucket", settings(endpoint, request.param))
        yield opened
        asyncio.run(opened.aclose())


@pytest.fixture
def store(bucket: ArtifactStore) -> ArtifactStore:
    """An empty store in the bucket."""
    return PrefixedStore(bucket, f"test-{next(_number)}")


async def test_a_create_leaves_the_document(store: ArtifactStore) -> None:
    """`ArtifactExists` is never answered for what is not there; what is written can be read."""
    keys = [f"runs/r{number}/manifest.json" for number in range(6)]
    results = await asyncio.gather(
        *(store.put(key, key.encode()) for key in keys), return_exceptions=True
    )
    assert all(isinstance(result, str | ArtifactExists) for result in results)
    assert [(await store.get(key)).body for key in keys] == [key.encode() for key in keys]
    assert await listed(store) == keys


async def test_a_create_leaves_what_is_there(dialect: Dialect, store: ArtifactStore) -> None:
    """Where the store keeps the condition, or a look keeps it."""
    await store.put("a", b"1", mode="overwrite")
    if dialect.support.create:
        with pytest.raises(ArtifactExists, match="a is there already"):
            await store.put("a", b"2")
    else:
        await store.put("a", b"2")
    assert (await store.get("a")).body == (b"1" if dialect.support.create else b"2")


async def test_a_put_over_a_version(dialect: Dialect, store: ArtifactStore) -> None:
    """One of the version that is there is done, one of another version is not."""
    first = await store.put("a", b"1", mode="overwrite")
    second = await store.put("a", b"2", mode="overwrite")
    if dialect.support.if_match:
        with pytest.raises(ArtifactChanged, match=f"not the version {first}"):
            await store.put("a", b"3", mode=IfMatch(first))
    if dialect.etags:
        await store.put("a", b"4", mode=IfMatch(second))
        assert (await store.get("a")).body == b"4"


async def test_the_probe_tells_what_a_store_keeps(dialect: Dialect, store: ArtifactStore) -> None:
    """So that the weaker promise can be shown."""
    assert await probe(store) == dialect.support
    assert await listed(store) == []


@pytest.mark.parametrize("client", ["boto3", "obstore"])
async def test_a_weaker_promise_is_logged_once(
    client: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning a store, not one a document."""
    caplog.set_level(logging.WARNING)
    with serving(EXAMPLE) as endpoint:
        store = open_store("s3://bucket", settings(endpoint, client))
        assert not store.looks_first
        for key in ("a", "b", "c"):
            await store.put(key, b"1")
        assert store.looks_first
        await store.aclose()
    actions = [getattr(record, "action", None) for record in caplog.records]
    assert actions.count("artifact_store_looks_first") == 1


@pytest.mark.parametrize("client", [Boto3Bucket, ObstoreBucket])
def test_a_store_that_stays_busy_is_unavailable(
    client: type[Boto3Bucket] | type[ObstoreBucket],
) -> None:
    """To be tried again later; it is not taken for a document that is there."""
    busy = Dialect(name="", source="", busy=(409, "ConditionalRequestConflict"), busy_puts=99)
    pauses: list[float] = []
    with serving(busy) as endpoint:
        address = s3_settings("s3://bucket", settings(endpoint, ""))
        bucket = ConditionalBucket(client(address), pauses.append)
        with pytest.raises(StoreUnavailable, match="answers ConditionalRequestConflict for a"):
            bucket.put("a", b"1", "create")
        bucket.close()
    assert len(pauses) == len(PAUSES)
    assert all(PAUSES[n] <= pause <= 2 * PAUSES[n] for n, pause in enumerate(pauses))

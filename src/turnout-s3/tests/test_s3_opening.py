"""Opening a bucket says what is wrong with the settings, and never shows a secret."""

from pathlib import Path
from typing import Any

import pytest
from turnout_s3.prefixed import PrefixedStore
from turnout_testing.conformance.artifact_store import listed

from tests.servers import S3Server, free_port
from turnout.errors import InvalidSettings, StoreUnavailable, TurnoutError, WrongUse
from turnout.model.storage import ArtifactBody
from turnout.ports.artifact_store import ArtifactStore
from turnout.stores.artifacts import open_store
from turnout.stores.artifacts.opening import store_opener
from turnout.stores.artifacts.views import only_shadows

SECRET = "wJalrXUtnFEMI-secret"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIA-key", "AWS_SECRET_ACCESS_KEY": SECRET}


@pytest.fixture(params=["boto3", "obstore"])
def client_settings(request: pytest.FixtureRequest) -> dict[str, str]:
    """The setting that names each client."""
    return {"TURNOUT_ARTIFACTS_CLIENT": request.param}


@pytest.fixture(params=["moto", "rclone"])
def server(request: pytest.FixtureRequest) -> S3Server:
    """Each server that is at hand."""
    running: S3Server = request.getfixturevalue(f"{request.param}_server")
    return running


@pytest.mark.parametrize(
    ("url", "settings", "says"),
    [
        ("s3://", {}, "names no bucket"),
        ("s3://key:pass@bucket", {}, "credentials go into AWS_"),
        ("s3://bucket?key=pass", {}, "write s3://bucket/prefix"),
        ("s3://bucket", {"AWS_ACCESS_KEY_ID": "a"}, "set both or neither"),
        ("s3://bucket", {"AWS_ENDPOINT_URL": "localhost:9000"}, "is not http://host:port"),
        ("s3://bucket", {"AWS_ENDPOINT_URL": "http://a:pass@b"}, "AWS_ENDPOINT_URL"),
        ("s3://bucket", {"TURNOUT_ARTIFACTS_CLIENT": "minio"}, "not one of boto3, obstore"),
    ],
)
def test_wrong_settings_are_named(url: str, settings: dict[str, str], says: str) -> None:
    """With what to write instead, and without what was written."""
    with pytest.raises(InvalidSettings, match=says) as caught:
        store_opener(url, settings)
    assert "pass" not in str(caught.value)


def test_all_faults_come_at_once() -> None:
    """Nobody fixes one to learn of the next."""
    with pytest.raises(InvalidSettings) as caught:
        open_store("s3://", {"AWS_ENDPOINT_URL": "x", "AWS_ACCESS_KEY_ID": "a"})
    assert str(caught.value).count(":") >= 3


def test_a_bad_prefix_is_refused() -> None:
    """A prefix is made of safe segments, like a key."""
    with pytest.raises(WrongUse, match="not the start of a key"):
        open_store("s3://bucket/a b/../c", KEYS)


async def test_a_server_that_is_down_is_unavailable(client_settings: dict[str, str]) -> None:
    """To be tried again; the address is named, the secret is not."""
    endpoint = f"http://127.0.0.1:{free_port()}"
    settings = {**KEYS, "AWS_ENDPOINT_URL": endpoint, **client_settings}
    store = open_store("s3://bucket/some/prefix", settings)
    for call in calls(store):
        with pytest.raises(StoreUnavailable, match=endpoint) as caught:
            await call
        assert_hidden(caught.value, store)


async def test_refused_credentials_are_a_matter_of_settings(
    client_settings: dict[str, str], rclone_server: S3Server
) -> None:
    """Not to be tried again; the variables are named, the secret is not."""
    bucket = rclone_server.make_bucket()
    settings = {**rclone_server.settings, **KEYS, **client_settings}
    store = open_store(f"s3://{bucket}", settings)
    for call in calls(store):
        with pytest.raises(InvalidSettings, match="AWS_SECRET_ACCESS_KEY") as caught:
            await call
        assert_hidden(caught.value, store)


async def test_a_missing_bucket_is_a_matter_of_settings(
    client_settings: dict[str, str], server: S3Server
) -> None:
    """It is not taken for a missing artifact, where the server says which is missing."""
    settings = {**server.settings, **client_settings}
    store = open_store("s3://not-there", settings)
    with pytest.raises(InvalidSettings, match="there is no bucket 'not-there'"):
        await store.get("a")
    with pytest.raises(InvalidSettings, match="there is no bucket 'not-there'"):
        await listed(store)


async def test_documents_of_others_are_read(
    client_settings: dict[str, str], server: S3Server
) -> None:
    """A team's own names may have blanks, colons and letters of any language."""
    bucket = server.make_bucket()
    keys = sorted(["a/a b.json", "a/2026-01-01T00:00:00/ä%2F.json", "a/#1?+&=.json", "a/ї~.json"])
    server.put(bucket, {key: key.encode() for key in keys})
    settings = {**server.settings, **client_settings}
    store = open_store(f"s3://{bucket}", settings)
    assert await listed(store, "a/") == keys
    found = [pair async for pair in store.get_many(keys)]
    assert [(key, getattr(got, "body", got)) for key, got in found] == [
        (key, key.encode()) for key in keys
    ]


async def test_a_prefix_keeps_two_stores_apart(
    client_settings: dict[str, str], rclone_server: S3Server
) -> None:
    """Keys are those below the prefix; nothing outside is seen."""
    bucket = rclone_server.make_bucket()
    settings = {**rclone_server.settings, **client_settings}
    one, two = (open_store(f"s3://{bucket}/team/{name}", settings) for name in ("a", "ab"))
    await one.put("runs/r1/x", b"1")
    await two.put("runs/r2/x", b"2")
    assert await listed(one) == ["runs/r1/x"]
    assert await listed(open_store(f"s3://{bucket}", settings)) == [
        "team/a/runs/r1/x",
        "team/ab/runs/r2/x",
    ]


async def test_views_can_be_stacked(tmp_path: Path) -> None:
    """A shadow's view of a store below a prefix."""
    store = open_store(str(tmp_path))
    view = only_shadows(PrefixedStore(store, "team/one"))
    await view.put("runs/r1-dryrun/a", b"1")
    assert await listed(view) == ["runs/r1-dryrun/a"]
    assert await listed(store) == ["team/one/runs/r1-dryrun/a"]
    found = [pair async for pair in view.get_many(["runs/r1-dryrun/a"])]
    assert [(key, getattr(got, "body", None)) for key, got in found] == [("runs/r1-dryrun/a", b"1")]
    assert isinstance(found[0][1], ArtifactBody)


def calls(store: ArtifactStore) -> list[Any]:
    """One of each, not yet awaited."""
    return [store.get("a"), store.put("a", b"1"), store.head("a"), listed(store)]


def assert_hidden(error: TurnoutError, store: ArtifactStore) -> None:
    """Neither the error, nor what caused it, nor the store shows the secret."""
    chain: BaseException | None = error
    while chain is not None:
        assert SECRET not in str(chain)
        chain = chain.__cause__
    assert SECRET not in repr(store)
